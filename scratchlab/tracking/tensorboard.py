"""Curves, pictures and tables for TensorBoard, in the run's folder ``tensorboard``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchlab.errors import MissingPackageError
from scratchlab.registry import option, register
from scratchlab.tracking.contract import RunInfo, Tracker

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

FOLDER = "tensorboard"


@register("tracker", "tensorboard", needs=("tensorboard",))
class TensorBoard(Tracker):
    """Write TensorBoard's event files; a resumed run continues its curves where it left off."""

    @dataclass(frozen=True)
    class Config:
        flush_seconds: int = option(30, "seconds until new points reach the disk", min=1)

    config: Config

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._writer: SummaryWriter | None = None
        self._step = 0

    def start(self, run: RunInfo) -> None:
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError as error:
            raise MissingPackageError("tensorboard", "The tracker tensorboard") from error
        folder = run.folder / FOLDER
        again = folder.exists() and any(folder.iterdir())
        # What was written after the checkpoint will come again: the readers are told to drop it.
        self._writer = SummaryWriter(
            log_dir=str(folder),
            purge_step=run.resumed_from + 1 if again else None,
            flush_secs=self.config.flush_seconds,
        )
        self._step = run.resumed_from

    def log(self, step: int, scalars: Mapping[str, float], timing: Mapping[str, float]) -> None:
        if self._writer is None:
            return
        self._step = step
        for name, value in scalars.items():
            self._writer.add_scalar(name, float(value), step)
        for name, value in timing.items():
            self._writer.add_scalar(f"timing/{name}", float(value), step)

    def flush(self) -> None:
        if self._writer is not None:
            self._writer.flush()

    def image(self, step: int, name: str, path: Path) -> None:
        if self._writer is None:
            return
        import numpy as np
        from PIL import Image

        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        self._writer.add_image(name, pixels, step, dataformats="HWC")

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        if self._writer is not None:
            self._writer.add_text(name, _markdown(columns, rows), self._step)

    def finish(self, status: str) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    def line(cells: Sequence[Any]) -> str:
        texts = ("" if c is None else str(c).replace("|", "\\|").replace("\n", " ") for c in cells)
        return f"| {' | '.join(texts)} |"

    return "\n".join([line(columns), line(["---"] * len(columns)), *map(line, rows)])
