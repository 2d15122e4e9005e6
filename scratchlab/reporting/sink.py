"""Where evaluators put what they make: a run's folder, or nowhere."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from scratchlab.evaluation.records import FOLDER, Records
from scratchlab.figures.style import png
from scratchlab.reporting.tables import write_table
from scratchlab.run.atomic import write_bytes
from scratchlab.tracking.contract import Tracker

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


class FolderSink:
    """Write into ``folder``: tables/NAME.{csv,md}, plots/NAME.png and outputs/NAME.jsonl.

    Every file is whole or not there. A ``tracker`` is shown the same tables and pictures, at
    ``step``. Without ``pictures`` none are drawn.
    """

    def __init__(
        self,
        folder: Path,
        tracker: Tracker | None = None,
        step: int = 0,
        *,
        pictures: bool = True,
    ) -> None:
        self.folder = folder
        self._pictures = pictures
        self._tracker = tracker
        self._step = step

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        write_table(self.folder / "tables", _checked(name), columns, rows)
        if self._tracker is not None:
            self._tracker.table(name, columns, rows)

    def figure(self, name: str, draw: Callable[..., Any], *drawn: Any) -> None:
        if not self._pictures:
            return
        path = self.folder / "plots" / f"{_checked(name)}.png"
        write_bytes(path, png(draw(*drawn)))
        if self._tracker is not None:
            self._tracker.image(self._step, name, path)

    def outputs(self, records: Records) -> dict[str, Any]:
        file = f"{FOLDER}/{_checked(records.name)}.jsonl"
        lines = (json.dumps(r, ensure_ascii=False, allow_nan=False) + "\n" for r in records.lines())
        content = "".join(lines).encode("utf-8", "replace")
        write_bytes(self.folder / file, content)
        if records.cut and self._tracker is not None:
            self._tracker.message(f"{file} holds {records.cut}")
        return {
            "file": file,
            "sha256": hashlib.sha256(content).hexdigest(),
            "data": records.data(),
            **({"cut": records.cut} if records.cut else {}),
            **({"of": len(records.ids)} if len(records.kept) < len(records.ids) else {}),
        }


class PictureSink(FolderSink):
    """Pictures alone, of what was measured before."""

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """It is there."""

    def outputs(self, records: Records) -> dict[str, Any]:
        """They are there."""
        return {}


class NullSink:
    """Keep nothing (for evaluations between epochs)."""

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Forget the table."""

    def figure(self, name: str, draw: Callable[..., Any], *drawn: Any) -> None:
        """Forget the picture."""

    def outputs(self, records: Records) -> dict[str, Any]:
        """Forget what was said."""
        return {}


def _checked(name: str) -> str:
    if not FILE_NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot be a file's name")
    return name
