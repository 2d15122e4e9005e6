"""What is shipped is what is in the tree, and every YAML file in it can be used."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from scratchlab.config.compose import compose
from scratchlab.errors import ConfigError
from scratchlab.registry import section_parts
from scratchlab.studies.suite_file import load_suite

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
# Groups whose files are composed by themselves, and what else a choice of theirs needs.
PRIMARY = ("train.yaml", "eval.yaml")
STUDIES = ("suite", "sweep")


def config_files() -> list[Path]:
    return sorted(p.relative_to(CONFIGS) for p in CONFIGS.rglob("*.yaml"))


def test_every_folder_with_modules_is_a_package() -> None:
    """setup.py ships the packages that it finds, so a folder without __init__.py would be lost."""
    bare = {p.parent for p in ROOT.glob("scratchlab/**/*.py")} - {
        p.parent for p in ROOT.glob("scratchlab/**/__init__.py")
    }
    assert not bare


def model_for(group: str, name: str) -> list[str]:
    """The words that a choice needs beside itself: a model (and trainer) that it goes with."""
    part = section_parts(group).get(name) if group != "experiment" else None
    tasks = part.facts.get("tasks") or (part.facts.get("task"),) if part else (None,)
    models = section_parts("model")
    for model, its in models.items():
        if (CONFIGS / "model" / f"{model}.yaml").is_file() and (
            tasks[0] is None or set(tasks) & set(its.facts.get("tasks", tasks))
        ):
            return [f"model={model}"]
    return ["model=transformer_mt"]  # a misfit: only the options can be checked


def composed(path: Path) -> None:
    """Compose one file with what it needs; options that only a user can give are not its fault."""
    group, name = (path.parts[0], path.stem) if len(path.parts) > 1 else ("", path.stem)
    if group in STUDIES:
        return
    if path.name in PRIMARY:
        words = ["model=transformer_mt"]
    elif group in ("model", "experiment"):
        words = [f"{group}={name}"]
    else:
        value = f"[{name}]" if group in ("evaluator", "tracker", "method") else name
        words = [*model_for(group, name), f"{group}={value}"]
    try:
        config = compose(words).config
    except ConfigError as error:
        left = [f for f in error.faults if not f.misfit]
        assert not left, f"{path}: {error}"
        return
    if group and group not in ("model", "experiment"):
        section = config[group]
        chosen = section.get(name) if group in ("evaluator", "tracker", "method") else section
        assert chosen, f"{path} sets nothing"


def test_every_yaml_file_composes() -> None:
    files = config_files()
    groups = {p.parts[0] for p in files if len(p.parts) > 1}
    assert len(files) >= 50 and {"model", "dataset", "optimizer", "evaluator"} <= groups
    checked = 0
    for path in files:
        if path.parts[0] in STUDIES:
            if path.parts[0] == "suite":
                assert load_suite(path.stem, None).runs, path
        else:
            composed(path)
        checked += 1
    assert checked == len(list(CONFIGS.rglob("*.yaml")))


@pytest.mark.slow
def test_a_wheel_holds_every_package_and_every_yaml_file(tmp_path: Path) -> None:
    names = ("scratchlab", "configs", "pyproject.toml", "README.md", "LICENSE")
    source = tmp_path / "source"
    source.mkdir()
    for name in names:  # a copy: building leaves folders behind
        subprocess.run(["cp", "-r", str(ROOT / name), str(source)], check=True)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", str(tmp_path), str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    shipped = set(zipfile.ZipFile(wheel).namelist())
    for path in config_files():
        assert f"scratchlab/configs/{path.as_posix()}" in shipped
    for module in ROOT.glob("scratchlab/**/*.py"):
        assert module.relative_to(ROOT).as_posix() in shipped
    assert "scratchlab/py.typed" in shipped
