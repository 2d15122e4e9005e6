"""The README's way to add a model, as written there, from a package of one's own, in every verb."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scratchlab import registry
from scratchlab.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def code_block(text: str, language: str, first_line: str) -> str:
    """The fenced block of README.md that begins with ``first_line``."""
    blocks = re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)
    return next(b for b in blocks if b.startswith(first_line))


def forget_foreign_parts() -> None:
    registry._foreign_parts.cache_clear()
    registry._all_foreign_parts.cache_clear()
    importlib.invalidate_caches()
    sys.modules.pop("window_lm", None)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The package and the YAML of the README, installed; the words that every verb is given."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    site = tmp_path / "site"
    info = site / "window_lm-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "window_lm.py").write_text(code_block(readme, "python", '"""A feed-forward'))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: window-lm\nVersion: 1.0\n")
    declared = code_block(readme, "toml", '[project.entry-points."scratchlab.parts"]')
    lines = declared.replace('[project.entry-points."scratchlab.parts"]', "[scratchlab.parts]")
    (info / "entry_points.txt").write_text(lines.replace('"', ""))
    yaml = tmp_path / "configs" / "model" / "window_lm.yaml"
    yaml.parent.mkdir(parents=True)
    yaml.write_text(code_block(readme, "yaml", "# @package _global_"), encoding="utf-8")
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat\nthe dog sat on the log\n" * 40, encoding="utf-8")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))  # of the processes that sweeps and suites start
    monkeypatch.chdir(tmp_path)
    forget_foreign_parts()
    yield [
        "dataset=text_file",
        f"dataset.paths=[{text}]",
        "dataset.test_fraction=0.1",
        "dataset.block_size=16",
        "model.d_model=8",
        "model.d_hidden=8",
        "trainer.max_steps=3",
        "threads=1",
        f"cache_dir={tmp_path / 'cache'}",
    ]
    forget_foreign_parts()


def run(verb: str, *words: str) -> int:
    module = importlib.import_module(f"scratchlab.commands.{verb}")
    code: int = module.main(list(words))
    return code


@pytest.mark.slow
def test_the_model_of_the_readme_works_in_every_verb(
    package: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    own = ["--config-dir", "configs"]
    assert run("list", "model", "window_lm", *own) == 0
    assert "model.window=8 " in capfd.readouterr().out
    assert run("train", "model=window_lm", "model.window=3", "run_id=one", *own, *package) == 0
    assert "perplexity" in capfd.readouterr().out
    folder = "outputs/window_lm-text_file/one"
    assert run("eval", folder) == 0
    assert "perplexity" in capfd.readouterr().out
    assert run("predict", folder, "the cat", "decoding.max_new_tokens=4") == 0
    assert len(capfd.readouterr().out.split()) >= 2
    words = [w for w in package if w != "threads=1"]
    assert run("inspect", "model=window_lm", *own, *words) == 0
    sweep = ["model.window=2,4", "sweep.workers=1", "name=tuned"]
    assert run("sweep", "model=window_lm", *sweep, *own, *package) == 0
    capfd.readouterr()
    (tmp_path / "mine.yaml").write_text(
        "description: windows\nruns:\n  small: {overrides: [model.window=2]}\n"
        "metrics: [perplexity]\n"
        f"overrides: [model=window_lm, {', '.join(repr(w) for w in package[:-2])}]\n"
    )
    assert run("suite", "mine.yaml", "threads=1", f"cache_dir={tmp_path / 'cache'}", *own) == 0
    assert "small" in capfd.readouterr().out


def test_a_model_that_only_has_what_the_readme_names_generates_and_is_quantized_with_a_word(
    package: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["model=window_lm", "--config-dir", "configs", *package]
    with pytest.raises(UserError) as error:
        run("inspect", *[w for w in words if not w.startswith("threads")], "method=nf4")
    assert "Layers: layer, out." in str(error.value)
    nf4 = ["method=nf4", "method.nf4.targets=[layer]"]
    assert run("inspect", *[w for w in words if not w.startswith("threads")], *nf4) == 0
    said = capfd.readouterr().out
    assert "Matrices that stay floats" in said and "embedding" in said
