"""Freed memory stays with the process, or goes back to the system: measured from outside."""

from __future__ import annotations

import subprocess
import sys

import pytest

MEASURE = """
import sys
from pathlib import Path
import numpy as np
from scratchlab.training import allocator

def held():  # anonymous memory: the system may take back pages of files at any time
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) // 1024

assert sys.argv[1] == "nothing" or getattr(allocator, sys.argv[1])()
big = np.ones(30 << 20, dtype=np.uint8)
del big  # from now on glibc takes blocks up to this size from its heap, if nothing is set
# 80 blocks of 1 MiB with a small one on top of each, that stays: holes, not one free end. (Small as
# 60 KiB: still of the heap, and too large for the holes that were there before.)
blocks, small = [], []
for _ in range(80):
    blocks.append(np.ones(1 << 20, dtype=np.uint8))
    small.append(np.ones(60 << 10, dtype=np.uint8))
full = held()
blocks.clear()
print(full - held())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the settings are glibc's")
@pytest.mark.parametrize(
    ("setting", "given_back"),
    [("nothing", False), ("keep_freed_memory", False), ("return_freed_memory", True)],
)
def test_freed_blocks(setting: str, given_back: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, setting], capture_output=True, text=True, check=True
    )
    returned = int(done.stdout)  # MiB of the 80 that were freed
    assert returned > 70 if given_back else returned < 10
