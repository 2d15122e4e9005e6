"""The example files of docs/your-data.md are read as the page says."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scratchlab.commands import data

ROOT = Path(__file__).resolve().parents[2]
FILE = re.compile(r"^`([\w.]+)`:\n\n```text\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
LINE = re.compile(r"^(?:scratchlab data check|cut) .*$", flags=re.MULTILINE)
KINDS = {
    "parallel_text", "text_file", "table", "text_classification", "instructions", "documents",
    "document_questions",
}  # fmt: skip


def test_every_example_file_is_read_without_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs/your-data.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for name, text in FILE.findall(page):
        Path(name).write_text(text, encoding="utf-8")
    generator = np.random.default_rng(0)
    for label in ("oak", "birch"):
        Path("leaves", label).mkdir(parents=True)
        for number in range(10):
            pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(f"leaves/{label}/{number}.png")
    checked = set()
    for line in LINE.findall(page):
        if line.startswith("cut"):
            subprocess.run(line, shell=True, check=True)
            continue
        words = shlex.split(line)[2:]
        assert data.main(words) == 0, line
        assert f"{words[1]} was read without a fault" in capsys.readouterr().out
        checked.add(words[1])
    assert checked == KINDS | {"image_folder"}
