"""What is said of a metric in a row: its mean, and how far that is from the first row's."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Tested:
    """A difference: its interval and p, how both were found, and p corrected for many tests."""

    low: float | None = None
    high: float | None = None
    interval: str = ""
    p: float | None = None
    test: str = ""
    corrected: float | None = None

    @property
    def chance(self) -> float | None:
        """p, corrected where it was."""
        return self.p if self.corrected is None else self.corrected


@dataclass(frozen=True)
class Figure:
    """A metric of a row: its mean over the runs, and how far it is from that of the first row.

    The difference is tested three times: over ``examples`` (these models, other examples), over
    ``seeds`` (the same data, other seeds) and over ``folds`` (other data: ``data`` says whether
    those are folds, or splits that seeds have drawn). A run has ``n`` examples. ``note`` says why
    examples are not paired.
    """

    row: str
    metric: str
    unit: str
    better: str
    value: float
    values: tuple[float, ...]
    n: int | None
    low: float | None = None
    high: float | None = None
    interval: str = ""
    data: str = ""
    seeds_std: float | None = None
    folds_std: float | None = None
    difference: float | None = None
    examples: Tested = field(default_factory=Tested)
    seeds: Tested = field(default_factory=Tested)
    folds: Tested = field(default_factory=Tested)
    note: str = ""

    @property
    def chance(self) -> float | None:
        """The p that counts: the largest over seeds and folds, else that over examples."""
        runs = [t.chance for t in (self.seeds, self.folds) if t.chance is not None]
        return max(runs) if runs else self.examples.chance

    @property
    def verdict(self) -> str:
        """better, worse or "" (no difference is shown)."""
        if self.chance is None or self.chance >= 0.05 or not self.difference or not self.better:
            return ""
        return "better" if (self.difference > 0) == (self.better == "higher") else "worse"
