"""What a run records of itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scratchlab.errors import UserError
from scratchlab.run.manifest import peak_memory_bytes, read_manifest

MEASURE = "from scratchlab.run.manifest import peak_memory_bytes; print(peak_memory_bytes())"


def test_peak_memory_is_the_processs_own_and_not_its_parents() -> None:
    before = peak_memory_bytes()
    held = np.ones(300 << 17)  # 300 MiB
    assert peak_memory_bytes() >= max(before, held.nbytes)
    child = subprocess.run(
        [sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True
    )
    assert 1 << 20 < int(child.stdout) < 200 << 20


@pytest.mark.parametrize("text", ["", "[" * 9000, "[]", '{"resumed": [1]}', '{"data": 3}'])
def test_a_damaged_manifest_is_named_and_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "manifest.json"
    assert read_manifest(path) == read_manifest(path, whole=True) == {}
    path.write_text(text)
    with pytest.warns(UserWarning, match=r"manifest\.json.*is not known"):
        assert read_manifest(path) == {}
    with pytest.raises(UserError, match=r"manifest\.json"):
        read_manifest(path, whole=True)
