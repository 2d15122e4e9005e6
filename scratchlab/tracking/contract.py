"""The small protocol behind which the console, files, TensorBoard and W&B stand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar


@dataclass(frozen=True)
class RunInfo:
    """What a tracker learns when a run begins or goes on.

    ``resumed_from`` is the optimizer step of the checkpoint that the run goes on from (0 at the
    start): what was logged after it will be logged again, and must not stand twice.
    ``metrics_bytes`` is the length of metrics.jsonl there. ``total_steps`` may be None.
    """

    name: str
    run_id: str
    folder: Path
    config: Mapping[str, Any] = field(default_factory=dict)
    total_steps: int | None = None
    resumed_from: int = 0
    metrics_bytes: int = 0


class Tracker(ABC):
    """Registered as ``@register("tracker", NAME)``; built as ``cls(config)``, then ``start``ed."""

    registered_name: ClassVar[str] = ""
    essential = False
    """Whether the run is worth nothing without it: what it raises ends the training."""

    def __init__(self, config: Any) -> None:
        self.config = config

    @abstractmethod
    def start(self, run: RunInfo) -> None:
        """Open files and connections."""

    @abstractmethod
    def log(self, step: int, scalars: Mapping[str, float], timing: Mapping[str, float]) -> None:
        """``scalars`` are equal in equal runs; ``timing`` (seconds, tokens/s) is not."""

    def flush(self) -> None:  # noqa: B027 - nothing to do is a fair default
        """Bring everything logged so far to disk (called before a checkpoint is written)."""

    def progress(self, step: int, epoch: float, scalars: Mapping[str, float]) -> None:  # noqa: B027
        """A sign of life between two logs (``scalars``: tokens/s, loss); may be dropped."""

    def message(self, text: str) -> None:  # noqa: B027
        """A line for the person who watches."""

    def image(self, step: int, name: str, path: Path) -> None:  # noqa: B027
        """A picture that was written to ``path``."""

    def table(  # noqa: B027
        self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> None:
        """A finished table (results, samples)."""

    def remark(self, text: str) -> None:
        """A line below the table that was shown last."""
        self.message(text)

    @abstractmethod
    def finish(self, status: str) -> None:
        """``done``, ``stopped`` or ``failed``: close everything."""
