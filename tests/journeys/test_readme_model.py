"""The README's way to add a model, as written there, from a package of one's own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def code_block(text: str, language: str, first_line: str) -> str:
    """The fenced block of README.md that begins with ``first_line``."""
    blocks = re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)
    return next(b for b in blocks if b.startswith(first_line))


def test_the_model_of_the_readme_trains_as_it_is_written(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    package = tmp_path / "site" / "window_lm.py"
    package.parent.mkdir()
    package.write_text(code_block(readme, "python", '"""A feed-forward'), encoding="utf-8")
    info = tmp_path / "site" / "window_lm-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: window-lm\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[scratchlab.parts]\nwindow_lm = window_lm\n")
    yaml = tmp_path / "configs" / "model" / "window_lm.yaml"
    yaml.parent.mkdir(parents=True)
    yaml.write_text(code_block(readme, "yaml", "# @package _global_"), encoding="utf-8")
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat\nthe dog sat on the log\n" * 40, encoding="utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "scratchlab", "train", "model=window_lm", "model.window=3"),
            *("--config-dir", str(tmp_path / "configs"), f"output_dir={tmp_path / 'outputs'}"),
            *(
                "dataset=text_file",
                f"dataset.paths=[{text}]",
                "trainer.max_steps=3",
                "threads=1",
                "dataset.test_fraction=0.1",
                "dataset.block_size=16",
            ),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(package.parent)},
    )
    assert done.returncode == 0, done.stderr
    assert "perplexity" in done.stdout
    assert (tmp_path / "outputs/window_lm-text_file/latest/results.json").is_file()
