"""Keep freed memory instead of giving it back to the system after every step.

Training allocates and frees the same large tensors again and again. The C library returns large
blocks to the system at once; the next step then pays for fresh pages, each cleared by the kernel.
On small CPU models that is several percent of a step. With the two settings below freed blocks stay
with the process (its memory stays at its peak, which training reaches again in the next step).
"""

from __future__ import annotations

import ctypes
import sys

# parameter numbers of mallopt(3) in glibc's malloc.h
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3


def keep_freed_memory(top_pad: int = 64 << 20) -> bool:
    """Tell glibc to keep freed memory; False (and nothing happens) with any other C library."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    wanted = ((_TRIM_THRESHOLD, 2**31 - 1), (_MMAP_THRESHOLD, 1 << 30), (_TOP_PAD, top_pad))
    taken = [mallopt(parameter, value) == 1 for parameter, value in wanted]
    return all(taken)
