"""The process at the other end of :mod:`.workers`.

It is told ``{"count": KIND}``, counts the words of all texts and says how often each occurs when an
empty text comes; or ``{"encode": TOKENIZER}``, and answers each text with its ids (uint32); or
``{"encode_lines": TOKENIZER}``, and answers each text with the number of its lines, the number of
ids of each, and their ids (int32).
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from array import array
from collections.abc import Iterator

import numpy as np

from scratchlab.data.tokenizers.files import from_json
from scratchlab.data.tokenizers.learning import counted
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
        if "encode_lines" in task:
            tokenizer = from_json(task["encode_lines"], "the worker")
            for text in texts():
                lines = [tokenizer.encode(line) for line in text.split("\n")]
                answer = array("i", [len(lines), *map(len, lines)])
                for ids in lines:
                    answer.extend(ids)
                send(answers, answer.tobytes())
            return
        tokenizer = from_json(task["encode"], "the worker")
        for text in texts():
            send(answers, np.array(tokenizer.encode(text), dtype=np.uint32).tobytes())
