"""A run that was started by a suite or sweep does not outlive it.

The parent may be killed without a chance to say so (SIGKILL, out of memory). Each child therefore
looks for its parent once a second and, left alone, asks itself to stop, as a signal from outside
would: the run saves a checkpoint and ends.
"""

from __future__ import annotations

import os
import signal
import threading
import time

PARENT = "SCRATCHLAB_PARENT"
SECONDS_BETWEEN_LOOKS = 1.0


def end_with_parent() -> None:
    """Watch the process that the environment names as parent; without one do nothing."""
    named = os.environ.pop(PARENT, "")
    if named.isdigit():
        threading.Thread(target=_watch, args=(int(named),), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os.kill(os.getpid(), signal.SIGTERM)
