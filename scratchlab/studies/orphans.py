"""A run that was started by a suite or sweep does not outlive it.

The parent may be killed without a chance to say so (SIGKILL, out of memory). On Linux the kernel
then signals each child at once. Elsewhere, and should that signal be lost, each child looks for its
parent once a second and, left alone, asks itself to stop, as a signal from outside would: the run
saves a checkpoint and ends.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

PARENT = "SCRATCHLAB_PARENT"
SECONDS_BETWEEN_LOOKS = 1.0
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def end_with_parent() -> None:
    """Watch the process that the environment names as parent; without one do nothing."""
    named = os.environ.pop(PARENT, "")
    if not named.isdigit():
        return
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    threading.Thread(target=_watch, args=(int(named),), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os.kill(os.getpid(), signal.SIGTERM)
