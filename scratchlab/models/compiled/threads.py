"""A compiled function on torch's own threads.

torch's products wait for their work in the threads of an OpenMP library. A second set of threads
beside them would fight them for the processor, so the function is handed to that same library.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any, NamedTuple

import torch

WORK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Team(NamedTuple):
    """Addresses of what a thread may ask: which it is, of how many, to wait for the others."""

    number: int
    size: int
    wait: int


@functools.cache
def team() -> Team | None:
    """Of the library whose threads :func:`run` takes; None: torch has another one."""
    if _team() is None:
        return None
    library = ctypes.CDLL(None)
    names = ("omp_get_thread_num", "omp_get_num_threads", "GOMP_barrier")
    if not all(hasattr(library, name) for name in names):
        return None
    found = (ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0 for name in names)
    return Team(*found)


@functools.cache
def _team() -> Any:
    """``GOMP_parallel`` of the library that torch has loaded; None: torch has another one."""
    try:
        team = ctypes.CDLL(None).GOMP_parallel
    except (AttributeError, OSError, TypeError):
        return None
    team.argtypes = [WORK, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    team.restype = None
    return team


def run(work: Any, arguments: ctypes.Structure, worth_it: bool) -> None:
    """Call ``work`` (a ``WORK``) with the address of its arguments, on every thread if that is
    worth it. What a thread is to do it takes from a count among the arguments, or from its number
    (:func:`team`)."""
    parallel, threads = _team(), torch.get_num_threads() if worth_it else 1
    if parallel is None or threads == 1:
        work(ctypes.addressof(arguments))
    else:
        parallel(work, ctypes.addressof(arguments), threads, 0)
