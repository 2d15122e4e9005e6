"""Every command block of README.md and docs/: verbs, keys, choices and scripts are there."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from scratchlab.cli import VERBS
from scratchlab.commands.compare import KEYS as COMPARE_KEYS
from scratchlab.commands.compare import read_words
from scratchlab.commands.report import KEYS as REPORT_KEYS
from scratchlab.config.compose import compose
from scratchlab.exercises.checking.solution import find_exercise
from scratchlab.registry import find
from scratchlab.studies.suite_file import load_suite

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(bash|console)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
SHELL = ("source", "echo", "eval", "pip", "head", "ls", "cd", "printf", "cat", "cut")
STUDY_WORDS = ("workers", "threads", "seeds", "name", "output_dir")  # a suite's own


def lines(text: str) -> Iterator[str]:
    """The command lines of a page's blocks; of a console's those behind $."""
    for language, block in BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            if language == "bash" or line.startswith("$ "):
                yield line.removeprefix("$ ")


def commands(line: str) -> Iterator[list[str]]:
    """The commands of a line, one after the other or joined by pipes, without assignments."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, "&&"]:
        if word in ("&&", "|", "||", ";"):
            if words:
                yield words
            words = []
        elif words or not re.fullmatch(r"[A-Z_]+=.*", word):
            words.append(word)


def run(verb: str, *words: str) -> int:
    module = importlib.import_module(f"scratchlab.commands.{VERBS[verb][0]}")
    code: int = module.main(list(words))
    return code


def parts_of(run_folder: str) -> tuple[str, str]:
    """The model and the data set that a run's name tells: outputs/MODEL-DATASET/…, or RUN."""
    path = Path(run_folder).parts
    model, _, dataset = (path[1] if path[0] == "outputs" else "gpt-python_docs").partition("-")
    return find("model", model).name, find("dataset", dataset).name


def made(run_folder: str) -> str:
    """A run folder of this name, with its configuration."""
    config = Path(run_folder, "config.yaml")
    if not config.is_file():
        words = [f"{g}={part}" for g, part in zip(("model", "dataset"), parts_of(run_folder))]
        config.parent.mkdir(parents=True)
        content = compose(words, config_dir="configs").config
        config.write_text(yaml.safe_dump(content), encoding="utf-8")
    return run_folder


def check(verb: str, words: list[str], own: list[str]) -> None:
    """Raise whatever the command would be refused for before it loads anything."""
    if "--record" in words:
        words = words[: words.index("--record")]
    if any(part in word for part in own for word in words) and "--config-dir" not in words:
        words = [*words, "--config-dir", "configs"]
    if verb in ("eval", "predict") or (verb == "verify" and "=" not in words[0]):
        options = [w for w in words[1:] if verb != "predict" or "=" in w]  # others are texts
        parts_of(words[0])
        if options:
            assert run(verb, made(words[0]), *options, "--cfg", "job") == 0
    elif verb == "suite":
        if words:
            load_suite(words[0], None)
        if [w for w in words[1:] if w.partition("=")[0] not in STUDY_WORDS]:
            assert run(verb, *words, "--dry-run") == 0
    elif verb == "data" and words[0] in ("describe", "check", "get"):
        find("dataset", words[1])
    elif verb == "exercise":
        check_exercise(words)
    elif verb == "compare":
        assert read_words(words, COMPARE_KEYS, "").runs
    elif verb == "report":
        assert read_words(words, REPORT_KEYS, "").runs
    elif verb in ("list", "data") or "--help" in words:
        assert run(verb, *[w for w in words if w != "--config-dir" or verb == "list"]) == 0
    elif verb == "train" and any(w.startswith("resume=") for w in words):
        parts_of(words[0].partition("=")[2])
    elif "--cfg" in words or "--dry-run" in words:
        assert run(verb, *words) == 0
    else:
        assert run(verb, *words, "--cfg", "job") == 0


def check_exercise(words: list[str]) -> None:
    """Files are named after their exercises; what follows ``use FILE`` is another command."""
    way, names = words[0], [Path(word).stem for word in words[1:]]
    if way == "use":
        facts = find_exercise(names[0]).facts
        assert "use" in facts
        verb, rest = ("train", words[2:]) if "=" in words[2] else (words[2], words[3:])
        check(verb, rest, [])
    elif way == "list":
        assert run("exercise", "list") == 0
    else:
        assert way in ("start", "check", "hint")
        assert [find_exercise(name) for name in names if name != "*" and not name.isdigit()]


def test_every_command_of_the_documentation_is_accepted(
    own_parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    best = Path("outputs/gpt-python_docs-sweep/configs/experiment/best.yaml")  # a sweep's
    best.parent.mkdir(parents=True)
    best.write_text("# @package _global_\ndefaults:\n  - override /model: gpt\n", encoding="utf-8")
    seen: set[tuple[str, ...]] = set()
    refused: list[str] = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        wrong = "error: " in text  # a page that shows what a mistake leads to
        for line in lines(text):
            for words in commands(line):
                if tuple(words) in seen:
                    continue
                seen.add(tuple(words))
                try:
                    if words[0] == "scratchlab":
                        check(words[1], words[2:], own_parts)
                    elif words[0] in ("bash", "python"):
                        script = ROOT / words[1]
                        found = script.read_text(encoding="utf-8")
                        assert all(w in found for w in words[2:] if w.startswith("--")), line
                    else:
                        assert words[0] in SHELL, f"{words[0]}: not known to this test"
                except Exception as error:
                    if not (wrong and "transfomer_mt" in line):
                        refused.append(f"{page.name}: {line}\n    {error}")
    assert not refused, "\n".join(refused)
    assert len(seen) > 40
