"""The figures of the documentation are those of the records, and runs can be recorded."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from scratchlab.commands import suite, train
from scratchlab.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
TINY = ["model=logistic", "dataset=wine_cultivars", "model.epochs=2", "threads=1"]


@pytest.fixture(scope="module")
def results() -> ModuleType:
    spec = importlib.util.spec_from_file_location("results", ROOT / "scripts" / "results.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_table_of_the_readme_and_the_pages_is_that_of_its_record(results: ModuleType) -> None:
    made = results.pages(ROOT)
    assert {ROOT / "README.md", ROOT / "docs/results.md", ROOT / "docs/gpu.md"} <= set(made)
    for path, text in made.items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: python scripts/results.py"
    assert len((ROOT / "README.md").read_bytes()) <= 10_000


def test_another_figure_in_a_record_is_another_figure_in_the_readme(
    results: ModuleType, tmp_path: Path
) -> None:
    shutil.copy(ROOT / "README.md", tmp_path)
    shutil.copytree(ROOT / "docs/results", tmp_path / "docs/results")
    record = tmp_path / "docs/results/quantization.json"
    record.write_text(record.read_text().replace('"24.7"', '"99.9"'))
    made = results.pages(tmp_path)
    assert "99.9" in made[tmp_path / "README.md"] and "24.7" not in made[tmp_path / "README.md"]
    assert made[tmp_path / "docs/results.md"].count("99.9") == 1
    record.unlink()
    with pytest.raises(KeyError, match="quantization"):
        results.pages(tmp_path)


def test_a_finished_run_and_a_finished_suite_are_recorded_without_running_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    place = [f"output_dir={tmp_path / 'outputs'}", "name=mine", "run_id=one-seed0", "resume=true"]
    words = [*TINY, *place]
    assert train.main([*words, "seed=0"]) == 0
    before = (tmp_path / "outputs/mine/one-seed0/results.json").stat().st_mtime_ns
    assert train.main([*words, "seed=0", "--record", "kept"]) == 0
    run = json.loads((tmp_path / "kept/mine.json").read_text())
    accuracy = {f["name"]: f["value"] for f in run["figures"]}["accuracy"]
    (table,) = run["tables"]
    shown = next(row[1] for row in table["rows"] if row[0] == "accuracy ↑")
    assert float(shown.split()[0]) == pytest.approx(accuracy, abs=1e-3)
    (tmp_path / "mine.yaml").write_text(
        f"runs:\n  one: {{label: logistic, overrides: {json.dumps(TINY[:3])}}}\n"
    )
    said = ["mine.yaml", "threads=1", f"output_dir={tmp_path / 'outputs'}", "--record", "kept"]
    assert suite.main(said) == 0
    assert "0 to do" in capfd.readouterr().err
    assert (tmp_path / "outputs/mine/one-seed0/results.json").stat().st_mtime_ns == before
    record = json.loads((tmp_path / "kept/mine.json").read_text())
    figure = next(f for f in record["figures"] if f["metric"] == "accuracy")
    assert (figure["run"], figure["values"], figure["n"]) == ("logistic", [accuracy], 1)
    assert record["command"] == "scratchlab suite mine.yaml threads=1"
    assert (record["transcribed"], record["seeds"]) == (False, [0])
    assert record["data"][0]["name"] == "wine_cultivars" and record["data"][0]["sha256"]
    assert record["made_on"][0]["packages"]["numpy"] and record["made_on"][0]["machine"]["cores"]
    assert str(tmp_path) not in json.dumps([run, record])


def test_a_record_without_a_folder_wants_that_of_the_documentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no folder docs/results here"):
        train.main([*TINY, "--record"])
    assert list(tmp_path.iterdir()) == []
