"""Keep freed memory instead of giving it back to the system after every step, or give it back.

Training allocates and frees the same large tensors again and again. The C library returns large
blocks to the system at once; the next step then pays for fresh pages, each cleared by the kernel.
On small CPU models that is several percent of a step. With ``keep_freed_memory`` freed blocks stay
with the process (its memory stays at its peak, which training reaches again in the next step).
"""

from __future__ import annotations

import ctypes
import sys

# parameter numbers of mallopt(3) in glibc's malloc.h
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3


def keep_freed_memory(top_pad: int = 64 << 20) -> bool:
    """Tell glibc to keep freed memory; False (and nothing happens) with any other C library."""
    return _set(trim=2**31 - 1, mmap=1 << 30, top_pad=top_pad)


def return_freed_memory(larger_than: int = 64 << 10) -> bool:
    """Tell glibc to give freed blocks of that many bytes back at once; False as above.

    Then a process holds hardly more than its tensors need at a time: without either setting, blocks
    below 32 MiB share a heap whose holes stay with the process (a third of the memory of a LoRA
    training).
    """
    return _set(trim=larger_than, mmap=larger_than, top_pad=0)


def _set(*, trim: int, mmap: int, top_pad: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    wanted = ((_TRIM_THRESHOLD, trim), (_MMAP_THRESHOLD, mmap), (_TOP_PAD, top_pad))
    taken = [mallopt(parameter, value) == 1 for parameter, value in wanted]
    return all(taken)
