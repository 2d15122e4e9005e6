"""A large text cut into words and pieces in several processes: the same counts, the same ids.

Python cuts on one core only, so each worker is a process of its own (:mod:`.worker`). It is told in
JSON what to do, is sent texts one by one, and answers in bytes; few texts are on their way at once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

from scratchlab.errors import UserError

LARGE = 16 << 20  # characters of a text from which on starting workers is worth it
LARGE_PIECE = 1 << 18  # characters of a text that is worth sending
MOST_WORKERS = 8
# The folder that holds this package, behind everything else: it may not be installed.
SERVE = f"""
import sys
sys.path.append({str(Path(__file__).resolve().parents[3])!r})
from scratchlab.data.tokenizers.worker import serve
serve()
"""


def threads() -> int:
    """How many cores may be used: those of ``threads=…``, else all."""
    return int(os.environ.get("RAYON_NUM_THREADS") or os.cpu_count() or 1)


def worth_it(texts: Iterable[str]) -> tuple[bool, Iterator[str]]:
    """Whether workers are worth starting for these texts, and the texts."""
    texts, held, size = iter(texts), [], 0
    while threads() > 1 and size < LARGE and (text := next(texts, None)) is not None:
        held.append(text)
        size += len(text)
    return size >= LARGE and size >= LARGE_PIECE * len(held), chain(held, texts)


def lines_together(texts: Sequence[str]) -> list[str] | None:
    """Many short texts as pieces that are worth sending, each text a line of one; None: workers are
    not worth starting, or a text has lines of its own."""
    if threads() == 1 or sum(map(len, texts)) < LARGE or any("\n" in text for text in texts):
        return None
    pieces, held, size = [], [], 0
    for text in texts:
        held.append(text)
        size += len(text)
        if size > LARGE_PIECE:
            pieces.append("\n".join(held))
            held, size = [], 0
    if held and pieces:  # an empty piece would be no question
        pieces[-1] += "\n" + "\n".join(held)
    return pieces


def send(stream: IO[bytes], content: bytes) -> None:
    """Write bytes behind their number."""
    stream.write(len(content).to_bytes(8, "little") + content)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes:
    """What :func:`send` wrote; EOFError at the end of the stream."""
    content = stream.read(int.from_bytes(head, "little")) if (head := stream.read(8)) else None
    if content is None:
        raise EOFError
    return content


class Workers:
    """Processes that all do ``task`` to texts; they end with the block of ``with``."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        self.count = min(threads(), MOST_WORKERS)
        self._task = json.dumps(task).encode()

    def __enter__(self) -> Workers:
        command, pipe = [sys.executable, "-P", "-c", SERVE], subprocess.PIPE
        alone = {**os.environ, "RAYON_NUM_THREADS": "1"}
        self._all = [
            subprocess.Popen(command, stdin=pipe, stdout=pipe, env=alone) for _ in range(self.count)
        ]
        self._free: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        for worker in self._all:
            self._send(worker, self._task)
            self._free.put(worker)
        self._pool = ThreadPoolExecutor(self.count)
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        for worker in self._all:
            if any(error):
                worker.kill()
            worker.communicate()

    def map(self, texts: Iterable[str]) -> Iterator[bytes]:
        """The answer to each text, in their order."""
        waiting: deque[Future[bytes]] = deque()
        for text in texts:
            waiting.append(self._pool.submit(self._ask, text.encode("utf-8", "surrogatepass")))
            if len(waiting) > 2 * self.count:
                yield waiting.popleft().result()
        for answer in waiting:
            yield answer.result()

    def last_words(self) -> Iterator[bytes]:
        """What each worker has to say in the end."""
        for worker in self._all:
            self._send(worker, b"")
            yield self._receive(worker)

    def _ask(self, content: bytes) -> bytes:
        if not content:
            return b""
        worker = self._free.get()
        try:
            self._send(worker, content)
            return self._receive(worker)
        finally:
            self._free.put(worker)

    @staticmethod
    def _send(worker: subprocess.Popen[bytes], content: bytes) -> None:
        assert worker.stdin is not None
        try:
            send(worker.stdin, content)
        except OSError as error:
            raise _ended() from error

    @staticmethod
    def _receive(worker: subprocess.Popen[bytes]) -> bytes:
        assert worker.stdout is not None
        try:
            return receive(worker.stdout)
        except (OSError, EOFError) as error:
            raise _ended() from error


def _ended() -> UserError:
    return UserError(
        "a process that cuts the text into tokens has ended", "Is there memory left? Try threads=1."
    )
