"""People's files are handed to the process that runs them, and its reports come back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scratchlab.exercises.checking.solution import Solution

SECONDS = 10.0
"""Of computing that a file has for all its cases."""

# Children are forked: no library may have threads by then. One thread each is also fair to both
# sides where speed is compared.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
# The folder that holds this package, behind everything else: it may not be installed. The folder
# that the command is given in, full of files named as libraries might be, is not looked into.
WORK = f"""
import sys
sys.path.append({str(Path(__file__).resolve().parents[3])!r})
from scratchlab.exercises.checking.worker import main
main()
"""


def reports(solutions: Sequence[Solution], seconds: float = SECONDS) -> Iterator[dict[str, Any]]:
    """The report of each file (:func:`.worker.checked`), one after the other as they come."""
    files = [
        {"path": str(s.path), "source": s.source, "sha256": s.sha256, "exercise": s.exercise}
        for s in solutions
    ]
    with subprocess.Popen(
        [sys.executable, "-P", "-c", WORK],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **ONE_THREAD},
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps({"files": files, "seconds": seconds}).encode())
            process.stdin.close()
            for line in process.stdout:
                yield json.loads(line)
        except BaseException:  # also where nobody wants the next report
            process.terminate()
            raise
    if process.returncode:
        raise RuntimeError(f"the process that checks exercises ended with {process.returncode}")
