"""Metrics as text, one JSON object a line: what plots, tables and other programs read."""

from __future__ import annotations

import json
import logging
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchlab.errors import UserError, system_reason
from scratchlab.registry import register
from scratchlab.run.atomic import flush_folder, open_to_append, write_bytes, write_error
from scratchlab.tracking.contract import RunInfo, Tracker

METRICS = "metrics.jsonl"
TIMINGS = "timings.jsonl"
LOGGER = logging.getLogger(__name__)


@register("tracker", "jsonl")
class Jsonl(Tracker):
    """Write metrics.jsonl and timings.jsonl into the run folder, one JSON object a line.

    metrics.jsonl is equal byte for byte in equal runs; timings.jsonl holds what is not. A line is
    ``{"step": 100, "epoch": 1.5, "train/loss": 3.25, …}``. Floats are written so that reading gives
    the very same number back; NaN and infinity, which JSON lacks, become null.
    """

    essential = True

    @dataclass(frozen=True)
    class Config:
        """The files have fixed names, since other parts of the run read them."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._metrics: _Lines | None = None
        self._timings: _Lines | None = None

    def start(self, run: RunInfo) -> None:
        run.folder.mkdir(parents=True, exist_ok=True)
        metrics, timings = run.folder / METRICS, run.folder / TIMINGS
        _cut(metrics, run.metrics_bytes)
        _drop_steps_after(timings, run.resumed_from)
        self._metrics, self._timings = _Lines(metrics), _Lines(timings)
        flush_folder(run.folder)

    def log(self, step: int, scalars: Mapping[str, float], timing: Mapping[str, float]) -> None:
        if self._metrics is None or self._timings is None:
            return
        if scalars:
            self._metrics.append(format_line(step, scalars))
        if timing:
            self._timings.append(format_line(step, timing))

    def flush(self) -> None:
        for lines in (self._metrics, self._timings):
            if lines is not None:
                lines.sync()

    def finish(self, status: str) -> None:
        try:
            self.flush()
        except (UserError, OSError) as error:
            if status == "done":
                raise
            LOGGER.warning("what was logged last is lost: %s", error)  # it will be logged again
        finally:
            for lines in (self._metrics, self._timings):
                if lines is not None:
                    lines.close()
            self._metrics = self._timings = None


def format_line(step: int, values: Mapping[str, float]) -> bytes:
    """One line with its newline: ``step`` first, then ``epoch`` if there is one, then the rest."""
    entry: dict[str, Any] = {"step": int(step)}
    if "epoch" in values:
        entry["epoch"] = _plain(values["epoch"])
    entry.update((name, _plain(value)) for name, value in values.items())
    return json.dumps(entry, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def read_lines(path: Path, *, whole: bool = False) -> list[dict[str, Any]]:
    """The entries of a metrics.jsonl or timings.jsonl; a torn last line is left out.

    So is a damaged one, with a warning, or (``whole``: figures are made of them) a UserError.
    """
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
        entry = _entry(line)
        if entry is not None:
            found.append(entry)
        elif line.endswith(b"\n"):  # else it was torn when a process was killed
            where = f"{path}, line {number}, is damaged"
            if whole:
                raise UserError(where, "Restore the file, or make the run again.")
            warnings.warn(f"{where} and left out", stacklevel=1)
    return found


class _Lines:
    """A file that only ever holds whole lines: a line that could not be written is taken back.

    It waits in memory and is tried again with each line that follows. :meth:`sync` raises if lines
    still wait, so that no checkpoint is written that the file does not agree with.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # Unbuffered: a line is one system call, so a killed process leaves it whole or not at all.
        self._file = open_to_append(path)
        self._waiting: list[bytes] = []

    def append(self, line: bytes) -> None:
        waited = bool(self._waiting)
        self._waiting.append(line)
        try:
            self._write()
        except OSError as error:
            if not waited:
                reason = system_reason(error)
                LOGGER.warning("%s cannot be written now (%s): lines wait", self._path, reason)

    def _write(self) -> None:
        start = os.fstat(self._file.fileno()).st_size
        try:
            rest = b"".join(self._waiting)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            os.ftruncate(self._file.fileno(), start)
            raise
        self._waiting.clear()

    def sync(self) -> None:
        try:
            self._write()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise write_error(self._path, error) from error
        if os.fstat(self._file.fileno()).st_nlink == 0:
            raise UserError(f"{self._path} was removed while the run wrote to it")

    def close(self) -> None:
        self._file.close()


def _plain(value: float) -> int | float | None:
    """A Python number from whatever counts as one (NumPy's and torch's scalars among them)."""
    if isinstance(value, int):
        return value
    number = float(value)
    return number if math.isfinite(number) else None


def _cut(path: Path, length: int) -> None:
    """Shorten metrics.jsonl to what it held at the checkpoint that the run goes on from."""
    size = path.stat().st_size if path.exists() else 0
    if size > length:
        with open_to_append(path) as file:
            os.ftruncate(file.fileno(), length)
            os.fsync(file.fileno())
    elif size < length:
        # Never filled up: a gap of zero bytes would make the file unreadable.
        LOGGER.warning("%s lacks %d bytes that it held at the checkpoint", path, length - size)
        if path.exists():
            write_bytes(path, b"".join(line for line, _ in _parsed(path.read_bytes())))


def _drop_steps_after(path: Path, step: int) -> None:
    """Forget timings that will be measured again (all of them if the run starts anew)."""
    if not path.exists():
        return
    data = path.read_bytes()
    kept = b"".join(line for line, entry in _parsed(data) if entry["step"] <= step and step > 0)
    if kept != data:
        write_bytes(path, kept)


def _parsed(data: bytes) -> list[tuple[bytes, dict[str, Any]]]:
    """The whole lines of ``data`` and what they say; the first damaged one ends the list."""
    found: list[tuple[bytes, dict[str, Any]]] = []
    for line in data.splitlines(keepends=True):
        entry = _entry(line)
        if entry is None:
            break
        found.append((line, entry))
    return found


def _entry(line: bytes) -> dict[str, Any] | None:
    """What a line says: numbers by name, a step among them; None if it is damaged or torn."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if (
        not line.endswith(b"\n")
        or not isinstance(entry, dict)
        or type(entry.get("step")) is not int
    ):
        return None
    return entry if all(v is None or isinstance(v, int | float) for v in entry.values()) else None


def curve(entries: Sequence[Mapping[str, Any]], name: str) -> tuple[list[float], list[float]]:
    """Steps and values of a metric in the entries of metrics.jsonl, without what is no number."""
    points = [(e["step"], e[name]) for e in entries if isinstance(e.get(name), int | float)]
    return [p[0] for p in points], [p[1] for p in points]


def counts_epochs(entries: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the steps of a run are epochs, as those of estimators are (whose loss is their own
    kind of loss, not always nats per target)."""
    return bool(entries) and all(e.get("epoch") == e["step"] for e in entries)
