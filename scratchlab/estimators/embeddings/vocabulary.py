"""The words that get vectors, how often each is read, and how noise is drawn among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scratchlab.errors import UserError
from scratchlab.estimators.embeddings.text import LEFT_OUT, LINE_END, Text

NOISE_POWER = 0.75


@dataclass(frozen=True)
class Words:
    """Words by falling frequency. ``counts`` [words]: in the training text."""

    words: list[str]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, text: Text, min_count: int, punctuation: bool) -> Words:
        """Those that occur ``min_count`` times; UserError if there are none.

        Without ``punctuation``, what has no letter or digit in it is left out as well.
        """
        counts = text.counts()
        if not punctuation:
            signs = [i for i, t in enumerate(text.tokens) if not any(c.isalnum() for c in t)]
            counts[signs] = 0
        kept = np.flatnonzero(counts >= max(1, min_count))
        if len(kept) == 0:
            most = int(counts.argmax()) if len(counts) else 0
            known = f"the most frequent one, {text.tokens[most]!r}, occurs {counts[most]:,} times"
            raise UserError(
                f"min_count={min_count} leaves no word of the training text: "
                + (known if len(counts) and counts[most] else "it has no words"),
                "Lower model.min_count (and dataset.min_frequency), or give more text.",
            )
        kept = kept[np.argsort(-counts[kept], kind="stable")]
        return cls([text.tokens[i] for i in kept.tolist()], counts[kept])

    def __len__(self) -> int:
        return len(self.words)

    def table(self, text: Text) -> NDArray[np.int32]:
        """Of each id of a text the number of its word, ``LEFT_OUT`` or ``LINE_END``."""
        numbers = {word: number for number, word in enumerate(self.words)}
        found = [numbers.get(token, LEFT_OUT) for token in text.tokens]
        for special, value in ((text.unknown, LEFT_OUT), (text.line_end, LINE_END)):
            if special is not None:
                found[special] = value
        return np.array(found, dtype=np.int32)

    def keep(self, sample: float) -> NDArray[np.float32]:
        """The share of each word's occurrences that is read (sub-sampling of frequent words).

        √(t/f) + t/f of a word with share f of the text, as word2vec.c computes it; the paper
        (Mikolov et al. 2013b, section 2.3) has √(t/f). ``sample`` 0 reads everything.
        """
        if sample <= 0:
            return np.ones(len(self), dtype=np.float32)
        share = np.maximum(self.counts, 1) / max(1, self.counts.sum())
        return np.minimum(1, np.sqrt(sample / share) + sample / share).astype(np.float32)

    def noise(self) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """The noise distribution, counts to the power 0.75, as Walker's alias table."""
        return alias_table(self.counts.astype(np.float64) ** NOISE_POWER)


def alias_table(
    weights: Sequence[float] | NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Walker's alias table: a column is drawn evenly, and kept with its ``share``, else ``other``.

    Both [n]; drawing costs two random numbers whatever n is.
    """
    scaled = np.asarray(weights, dtype=np.float64)
    scaled = scaled * len(scaled) / scaled.sum()
    share, other = np.ones(len(scaled)), np.arange(len(scaled))
    small = np.flatnonzero(scaled < 1).tolist()
    large = np.flatnonzero(scaled >= 1).tolist()
    while small and large:
        poor, rich = small.pop(), large.pop()
        share[poor], other[poor] = scaled[poor], rich
        scaled[rich] -= 1 - scaled[poor]
        (small if scaled[rich] < 1 else large).append(rich)
    return share.astype(np.float32), other.astype(np.int32)
