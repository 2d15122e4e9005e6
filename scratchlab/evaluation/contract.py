"""What an evaluator gets and what it gives back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from scratchlab.data.contract import Dataset
from scratchlab.evaluation.records import Column, Records


@dataclass
class Measurement:
    """One figure with everything that changes its meaning.

    ``settings`` holds for example the BLEU signature, the unit, context and stride of a perplexity,
    the batch and length of a latency. ``spread`` is a standard deviation or the half width of a
    confidence interval that is symmetric (``settings`` says which); ``low`` and ``high`` are the
    ends of one that need not be, ``interval`` says how it was found. Figures may be ranked
    together where ``compares`` (data, and after a bar the tokens or the loss) is the same or not
    known (:mod:`scratchlab.evaluation.comparable`). ``examples`` says how the figure is made again
    from what was kept of each example (:meth:`EvaluationContext.keep`); once that is written it has
    the file, its hash and that of the data. ``timing`` marks figures that depend on the machine's
    mood: they are kept apart, so that the rest of two equal runs is equal bit for bit.
    """

    name: str
    value: float
    unit: str = ""
    better: Literal["higher", "lower", ""] = "higher"
    spread: float | None = None
    n: int | None = None
    split: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    timing: bool = False
    low: float | None = None
    high: float | None = None
    interval: str = ""
    compares: str = ""
    examples: dict[str, Any] = field(default_factory=dict)

    @property
    def meaning(self) -> str:
        """What stands behind ± or between brackets; empty if nothing does."""
        if self.low is not None and self.high is not None:
            return f"[ ] {self.interval or '95 % interval'}"
        if self.spread is None:
            return ""
        return f"± {self.settings.get('spread', 'spread within the run')}"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Sink(Protocol):
    """Where tables, pictures and what was said to each example go: a run folder, or nowhere."""

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None: ...

    def figure(self, name: str, draw: Callable[..., Any], *drawn: Any) -> None:
        """The picture ``draw(*drawn)``: only made where pictures are kept."""

    def outputs(self, records: Records) -> dict[str, Any]:
        """Write what was said to each example; the file with its hashes, empty where none is."""


@dataclass
class EvaluationContext:
    """All that an evaluator may use. ``model`` is in ``eval()`` mode on ``device``.

    ``decoder`` generates (None where the task has nothing to generate). ``memo`` keeps what several
    evaluators share, such as the translations of a split: ``context.once(key, make)``.
    ``quick`` is set for the evaluations between epochs: greedy decoding, no pictures.
    ``folder``: where results are written, if they are.
    ``adapted`` is the model with its methods, where it was assembled from a configuration.
    """

    model: Any
    dataset: Dataset
    task: Any  # a Task; None of an estimator, which has a loss of its own
    split: str
    device: Any
    sink: Sink
    decoder: Any = None
    batch_size: int = 64
    seed: int = 0
    quick: bool = False
    limit: int | None = None
    folder: Path | None = None
    adapted: Any = None
    memo: dict[Any, Any] = field(default_factory=dict)
    records: dict[str, Records] = field(default_factory=dict)

    def keep(
        self,
        name: str,
        *,
        ids: Sequence[int] | None = None,
        given: Column | None = None,
        expected: Column | None = None,
        said: Column | None = None,
        **scores: Any,
    ) -> Records:
        """Keep what the model said to each example in ``outputs/NAME.jsonl``.

        ``ids`` are places in the split (None: its first examples); all other columns have a value
        for each of them: what was ``given`` and ``expected``, what the model ``said``, and scores.
        Evaluators that look at the same outputs add their columns to one file.
        """
        columns: dict[str, Any] = {"given": given, "expected": expected, "said": said, **scores}
        count = next((len(values) for values in columns.values() if values is not None), 0)
        records = Records(name, range(count) if ids is None else ids)
        known = self.records.setdefault(name, records)
        if known.ids != records.ids:
            raise ValueError(f"outputs/{name} was kept of other examples before")
        known.add(columns)
        return known

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self.memo:
            self.memo[key] = make()
        return self.memo[key]


class Evaluator(ABC):
    """Registered as ``@register("evaluator", NAME, tasks=(…))``; built as ``cls(config)``.

    What it fits is told by facts (:mod:`scratchlab.config.evaluators`) before anything is loaded.

    Scores must not depend on the evaluation's batch size.
    """

    def __init__(self, config: Any) -> None:
        self.config = config

    def check(self, dataset: Dataset) -> None:  # noqa: B027
        """UserError if what it reads beside the data set is not there or not right; asked before
        anything is trained."""

    @abstractmethod
    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        """Measure; write tables, pictures and samples into ``context.sink``."""
