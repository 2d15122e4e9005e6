"""Streams of chance of the data: each is a pure function of its seed and what it is for."""

from __future__ import annotations

import numpy as np

ORDER_STREAM, DROPOUT_STREAM, SUBSET_STREAM, SPLIT_STREAM = range(4)


def generator(*key: int) -> np.random.Generator:
    """A random stream that depends on the integers of ``key`` and on nothing else."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([abs(k) for k in key])))
