"""How often words stand near each other, counted in blocks; what does not fit goes to files."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scratchlab.estimators.embeddings.text import LINE_END, Text
from scratchlab.run.temporary import use_own_folder

BLOCK = 1 << 19  # ids that are counted at once

Keys = NDArray[np.int64]
Counts = NDArray[np.float64]
Run = tuple[Keys, Counts]


class Cooccurrence:
    """Pairs of words with their counts, in shards of at most about ``most`` pairs.

    A pair at a distance of k words counts 1/k (Pennington et al. 2014, section 4.2). Counts are
    symmetric, so a pair is kept once, the smaller number first. Words that are left out of the
    vocabulary are taken out before distances are measured; no pair reaches over the end of a line.
    """

    def __init__(
        self, text: Text, table: NDArray[np.int32], words: int, window: int, most: int
    ) -> None:
        self.words = words
        self._folder: Path | None = None
        self._files = 0
        held: list[Run] = []
        spilled: list[Run] = []
        for run in _runs(text, table, words, window):
            held.append(run)
            if sum(len(keys) for keys, _ in held) > most:
                held = [_merged(held)]
                if len(held[0][0]) > most // 2:
                    spilled.append(self._to_disk(*held.pop()))
        if held:
            spilled.append(_merged(held))
        self.shards = spilled if len(spilled) < 2 else self._parted(spilled, most)

    def __len__(self) -> int:
        return sum(len(keys) for keys, _ in self.shards)

    def pairs(self, shard: int) -> tuple[NDArray[np.int32], NDArray[np.int32], Counts]:
        """Both directions of each pair of a shard: word, other word, count [pairs]."""
        keys, counts = self.shards[shard]
        i, j = (part.astype(np.int32) for part in np.divmod(keys, self.words))
        apart = i != j
        return (
            np.concatenate([i, j[apart]]),
            np.concatenate([j, i[apart]]),
            np.concatenate([counts, counts[apart]]),
        )

    def _parted(self, runs: list[Run], most: int) -> list[Run]:
        """The runs merged one range of keys at a time."""
        total = sum(len(keys) for keys, _ in runs)
        sample = np.sort(np.concatenate([keys[:: max(1, len(keys) // 10_000)] for keys, _ in runs]))
        borders = sample[np.linspace(0, len(sample) - 1, total // most + 2).astype(int)[1:-1]]
        ends = [*borders.tolist(), np.iinfo(np.int64).max]
        shards, begins = [], [0] * len(runs)
        for end in ends:
            stops = [int(np.searchsorted(keys, end)) for keys, _ in runs]
            part = [(k[a:b], c[a:b]) for (k, c), a, b in zip(runs, begins, stops)]
            if any(len(k) for k, _ in part):
                shards.append(self._to_disk(*_merged(part)))
            begins = stops
        return shards

    def _to_disk(self, keys: Keys, counts: Counts) -> Run:
        """The arrays as files that are mapped into memory; they go with this object."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(dir=use_own_folder()))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        mapped = []
        for name, array in (("keys", keys), ("counts", counts)):
            path = self._folder / f"{name}-{self._files}.npy"
            np.save(path, array, allow_pickle=False)
            mapped.append(np.load(path, mmap_mode="r", allow_pickle=False))
        self._files += 1
        return mapped[0], mapped[1]


def _runs(text: Text, table: NDArray[np.int32], words: int, window: int) -> Iterator[Run]:
    """The pairs of each block, sorted; those over the border of two blocks belong to the second."""
    before, lines_before = np.empty(0, np.int32), np.empty(0, np.int64)
    line = 0
    for _, ids in text.blocks(0, len(text), BLOCK):
        block = table[ids]
        lines = line + np.cumsum(block == LINE_END)
        line = int(lines[-1]) if len(lines) else line
        kept = block >= 0
        sequence = np.concatenate([before, block[kept]])
        its_lines = np.concatenate([lines_before, lines[kept]])
        new = len(before)  # pairs whose second word is one of the block
        keys, counts = [], []
        for distance in range(1, min(window, len(sequence) - 1) + 1):
            first = max(0, new - distance)
            a, b = sequence[first : len(sequence) - distance], sequence[first + distance :]
            same = its_lines[first : len(sequence) - distance] == its_lines[first + distance :]
            a, b = a[same].astype(np.int64), b[same]
            keys.append(np.minimum(a, b) * words + np.maximum(a, b))
            counts.append(np.full(len(a), 1 / distance))
        if keys:
            yield _merged(list(zip(keys, counts)))
        before, lines_before = sequence[-window:], its_lines[-window:]


def _merged(runs: list[Run]) -> Run:
    """Sorted distinct keys with the sums of their counts."""
    keys = np.concatenate([k for k, _ in runs])
    counts = np.concatenate([c for _, c in runs])
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    firsts = np.flatnonzero(np.diff(keys, prepend=-1))
    return keys[firsts], np.add.reduceat(counts[order], firsts) if len(firsts) else counts
