"""Machine code for the newest tokens, written in Python and compiled by numba.

A step of generation has a row or a few, and hardly any arithmetic: it should wait for its weights
to be read and for nothing else. What torch takes to call some fifty operations a block is as much
again, or several times that for small models. Here all blocks are one call.

``operations.py`` says what a list of operations is, ``listing.py`` writes down a model as one and
``stack.py`` has it done. ``program.py`` is the function that does it, with ``loops.py``,
``products.py`` (``multiplications.py``), ``attention.py`` and ``tokens.py``; they are written with
registers of 16 numbers (``vectors.py``, ``memory.py``, ``intrinsics.py``). ``threads.py`` runs it
on torch's own threads, and ``fitting.py`` knows where that can be and pays off. Nothing here is
needed: without numba or on another processor the layers are called one by one, and give the same
but for rounding: with weights in fewer bits, for that of activations too.
"""

from __future__ import annotations

import functools
from importlib.util import find_spec

import torch


def has_registers() -> bool:
    """Whether the processor has the registers of 512 bits that the loops are written for."""
    return torch.backends.cpu.get_cpu_capability() == "AVX512"


@functools.cache
def has_dots() -> bool:
    """Whether each lane of a register adds four products of bytes at once (VNNI)."""
    from llvmlite import binding

    return bool(binding.get_host_cpu_features().get("avx512vnni"))


@functools.cache
def is_here() -> bool:
    """Whether loops can be compiled: the processor has the registers, and numba is installed."""
    return has_registers() and find_spec("numba") is not None
