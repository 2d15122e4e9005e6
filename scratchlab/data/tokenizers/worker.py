"""The process at the other end of :mod:`.workers`.

It is told ``{"count": KIND}``, counts the words of all texts and says how often each occurs when an
empty text comes; or ``{"encode": TOKENIZER}``, and answers each text with its ids (uint32).
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Iterator

import numpy as np

from scratchlab.data.tokenizers.files import from_json
from scratchlab.data.tokenizers.learned import counted
from scratchlab.data.tokenizers.workers import receive, send


def serve() -> None:
    """Do what is asked until nothing more comes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who asks decides
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    task = json.loads(receive(asked))

    def texts() -> Iterator[str]:
        while content := receive(asked):
            yield content.decode("utf-8", "surrogatepass")
            if "count" in task:
                send(answers, b"")

    with contextlib.suppress(EOFError, BrokenPipeError):
        if "count" in task:
            counts = counted(texts(), task["count"], lines=True)
            send(answers, json.dumps(counts).encode())
            return
        tokenizer = from_json(task["encode"], "the worker")
        for text in texts():
            send(answers, np.array(tokenizer.encode(text), dtype=np.uint32).tobytes())
