"""Benches record what they measured, and the pages of the documentation show it."""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from scratchlab.run.decisions import Load
from tests.support.commands import ROOT, environment

BENCHES = sorted(p for p in (ROOT / "scripts").glob("bench_*.py") if p.stem != "bench_report")
LOAD = "cores in use by other processes before"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def report() -> ModuleType:
    return script("bench_report")


@pytest.fixture(autouse=True)
def idle(report: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "machine_load", lambda: Load(0.1, 2))


def bench(report: ModuleType, fails: bool = False) -> None:
    """What a script does."""
    parser = report.bench_parser("Seconds of one thing\nbeside another.\n\nMore words.")
    beside = ["numpy", "no-such-package"]
    with report.measuring(parser, beside, elsewhere=True) as (_, found):
        with found.table("all sizes", "tool", "kind", "time (ms) ↓", "share (%)") as table:
            table.row("ours", "small", report.Spread([3.0, 1.0, 2.0]), 12.345678)
            table.row("ours", "large", report.Spread(range(1001, 1010)), None)
        if fails:
            raise RuntimeError("in the middle")


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["scripts/bench_things.py", *words])


def test_a_bench_shows_its_table_and_its_record_makes_a_page(
    report: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    call(monkeypatch, "--threads", "1", "--record", str(tmp_path / "results"))
    bench(report)
    shown = capsys.readouterr()
    assert "all sizes" in shown.out and "2.00 [1.00, 3.00]" in shown.out and LOAD in shown.out
    path = tmp_path / "results/bench_things.json"
    assert f"recorded: {path}" in shown.err
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    assert record["command"] == "python scripts/bench_things.py --threads 1"
    assert (record["transcribed"], record["seeds"], record["data"]) == (False, [], [])
    (made,) = record["made_on"]
    assert made["machine"]["cores"] and made["packages"]["numpy"] and "git" in made
    assert record["description"].startswith("Seconds of one thing beside another (numpy ")
    (table,) = record["tables"]
    assert table["rows"] == [
        ["ours", "small", "2.00 [1.00, 3.00]", "12.3"],
        ["ours", "large", "1,005 [1,003, 1,007]", ""],
    ]
    meaning, load = table["notes"]
    assert meaning == (
        "[ ] lowest and highest of time (ms) ↓; [ ] quartiles of time (ms) ↓; "
        "medians of 3 to 9 measurements"
    )
    assert LOAD in load and load.endswith(" after")
    figure = record["figures"][0]
    assert (figure["row"], figure["column"]) == ("ours, small", "time (ms) ↓")
    assert (figure["value"], figure["values"]) == (2.0, [3.0, 1.0, 2.0])
    assert str(tmp_path) not in json.dumps(record)
    results = script("results")
    page = results.page(results.read_records(tmp_path / "results"))
    assert "### bench_things" in page and "**all sizes**\n\n| tool | kind  |" in page
    assert "| ours | small |" in page and LOAD in page
    line = results.made_on(record)
    assert line.startswith("*`python scripts/bench_things.py --threads 1` · ")
    assert f" · {made['machine']['processor']} · {made['machine']['cores']} cores" in line
    assert "seed" not in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--quick", "--record", "here"], "--record: what --quick measures is not worth keeping"),
        (["--record"], "--record: there is no folder docs/results here"),
        (["--record", "file/below"], "file is no folder that can be written to"),
    ],
)
def test_what_cannot_be_recorded_is_refused_before_anything_is_measured(
    report: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    call(monkeypatch, *words)
    with pytest.raises(SystemExit) as end:
        bench(report)
    shown = capsys.readouterr()
    assert end.value.code == 2 and shown.err.startswith("error: ") and said in shown.err
    assert shown.out == "" and [p.name for p in tmp_path.iterdir()] == ["file"]


def test_nothing_is_recorded_while_others_use_the_machine(
    report: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(report, "machine_load", lambda: Load(1.5, 2))
    call(monkeypatch, "--record", str(tmp_path))
    with pytest.raises(SystemExit):
        bench(report)
    assert "the machine is not idle (1.5 of 2 cores" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_bench_that_fails_records_nothing(
    report: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(monkeypatch, "--record", str(tmp_path))
    with pytest.raises(RuntimeError, match="in the middle"):
        bench(report, fails=True)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_a_line(
    report: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call(monkeypatch)
    with pytest.raises(SystemExit) as end, report.measuring(report.bench_parser("A bench.")):
        importlib.import_module("no_such_package.inside")
    assert end.value.code == 2
    assert "needs the package no_such_package" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("path", BENCHES, ids=[path.stem for path in BENCHES])
def test_every_bench_runs(path: Path, tmp_path: Path) -> None:
    variables = {**environment(), "SCRATCHLAB_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, str(path), "--quick"],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert LOAD in done.stdout
