"""``scratchlab compare`` on runs whose outputs are known."""

from __future__ import annotations

import csv
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import t, ttest_ind

from scratchlab.cli import main
from scratchlab.errors import UserError
from scratchlab.evaluation.contract import Measurement
from scratchlab.reporting.compare.comparing import Comparison, compare
from scratchlab.reporting.compare.costs import front
from scratchlab.reporting.compare.runs import base_of, rows_of
from scratchlab.reporting.compare.suites import against_first, write_differences
from scratchlab.reporting.scores import Compared
from scratchlab.run.atomic import write_json
from tests.support.commands import environment
from tests.support.outputs import by, make_run

NAMES = ["cat", "dog", "owl"]


def classifier(
    path: Path,
    accuracy: float,
    *,
    seed: int = 0,
    n: int = 200,
    fold: int | None = None,
    drawn: int = 0,
    **more: Any,
) -> Path:
    """A run that is right in so many of the cases; easy ones are easy for all."""
    rng = np.random.default_rng(seed + 17)
    data = np.random.default_rng(drawn if fold is None else fold)
    truth, hard = data.integers(0, 3, n), data.random(n)
    right = hard + rng.normal(0, 0.08, n) < accuracy
    said = np.where(right, truth, (truth + 1) % 3)
    records = {
        "predictions": {
            "expected": [NAMES[i] for i in truth],
            "said": [NAMES[i] for i in said],
            "nats": np.where(right, 0.1, 2.0) + rng.random(n) / 10,
        }
    }
    folds = {} if fold is None else {"folds": 3, "fold": fold}
    config = {"seed": seed, "model": {"name": "mlp"}, "optimizer": None, **more}
    config["dataset"] = {"name": "digits", **folds}
    figures = [
        Measurement("accuracy", 0.0, examples=by("predictions", "share"), compares="digits"),
        Measurement(
            "log_loss",
            0.0,
            "nats",
            "lower",
            examples=by("predictions", "mean", column="nats"),
            compares="digits",
        ),
        Measurement("training_time", 10 * accuracy, "s", "lower", timing=True),
        Measurement("peak_memory", 1e6, "bytes", "lower", timing=True),
    ]
    return make_run(
        path, records, figures, config=config, manifest={"parameters": int(1000 * accuracy)}
    )


def compared(*words: Any, base: str | None = None, **options: Any) -> Comparison:
    rows, first = base_of(rows_of(list(map(str, words))), base)
    return compare(rows, first, **options)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    good = classifier(tmp_path / "digits/good", 0.9, model={"name": "mlp", "hidden": [64]})
    weak = classifier(tmp_path / "digits/weak", 0.7, model={"name": "mlp", "hidden": [8]})
    return good, weak


def test_two_runs_stand_beside_each_other(two: tuple[Path, Path]) -> None:
    found = compared(*two)
    assert found.differing == {"model.hidden": [[64], [8]]}
    base, weak = (f for f in found.figures if f.metric == "accuracy")
    assert (base.row, weak.row, base.difference) == ("good", "weak", None)
    assert weak.difference == pytest.approx(weak.value - base.value) and weak.difference < -0.1
    assert weak.examples.low < weak.difference < weak.examples.high < 0  # type: ignore[operator]
    assert weak.examples.test == "McNemar's exact test" and weak.examples.p < 1e-4  # type: ignore
    assert base.low < base.value < base.high  # type: ignore[operator]
    assert weak.verdict == "worse" and weak.seeds.p is None is weak.folds.p
    loss = found.figure(found.rows[1], "log_loss")
    assert loss is not None and loss.verdict == "worse" and loss.difference > 0  # type: ignore
    assert any("one run a row" in note for note in found.notes)
    turned = compared(*two, base="weak")
    figure = turned.figure(turned.rows[1], "accuracy")
    assert figure is not None and figure.difference == pytest.approx(-weak.difference)


def test_the_screen_and_the_files_tell_the_same(
    two: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "written"
    assert main(["compare", *map(str, two), "metric=accuracy", f"--out={out}"]) == 0
    shown = capsys.readouterr().out
    assert "accuracy: best in good (0." in shown.partition("What differs")[0]
    assert "Shown to be worse than good: weak (-0." in shown.partition("What differs")[0]
    for text in ("model.hidden", "accuracy ↑", "difference to good", "Pareto front", "<0.0001"):
        assert text in shown
    assert "log loss" not in shown
    content = json.loads((out / "compare.json").read_text())
    rows = list(csv.DictReader((out / "compare.csv").open(encoding="utf-8")))
    (figure,) = [f for f in content["figures"] if f["row"] == "weak"]
    assert float(rows[1]["difference"]) == figure["difference"]
    assert float(rows[1]["p"]) == figure["examples"]["p"] and rows[0]["difference"] == ""
    assert "| accuracy ↑" in (out / "compare.md").read_text(encoding="utf-8")
    single = tmp_path / "one.json"
    assert main(["compare", *map(str, two), "--out", str(single)]) == 0 and single.is_file()
    assert json.loads(single.read_text())["pareto_fronts"]["accuracy"]["parameters"] == [
        "good",
        "weak",
    ]


def test_seeds_share_a_row_and_stand_apart_from_examples(tmp_path: Path) -> None:
    for seed in range(3):
        classifier(tmp_path / f"x/a-seed{seed}", 0.9, seed=seed, optimizer={"lr": 1})
        classifier(tmp_path / f"x/b-seed{seed}", 0.8, seed=seed + 10, optimizer={"lr": 2})
    found = compared(*sorted((tmp_path / "x").iterdir()))
    assert [row.label for row in found.rows] == ["a", "b"]
    assert found.differing == {"optimizer.lr": [1, 2]}
    _, other = (f for f in found.figures if f.metric == "accuracy")
    assert len(other.values) == 3 and other.folds_std is None
    assert other.seeds_std == pytest.approx(np.std(other.values, ddof=1))
    assert other.seeds.p == pytest.approx(0.1) and other.seeds.low < other.difference  # type: ignore
    assert other.examples.test == "paired bootstrap of t" and other.examples.p < 0.01  # type: ignore
    assert other.verdict == ""  # three seeds a side cannot show it
    assert any("no p over seeds below 0.1" in note for note in found.notes)
    together = compared(*(tmp_path / f"x/a-seed{seed}" for seed in range(3)))
    assert len(together.rows) == 3 and together.differing == {}  # the seeds are what is compared


def test_folds_are_compared_in_pairs(tmp_path: Path) -> None:
    for fold in range(3):
        for name, share in (("a", 0.9), ("b", 0.8)):
            classifier(tmp_path / f"x/{name}-seed0-fold{fold}", share, fold=fold, optimizer=share)
    found = compared(*sorted((tmp_path / "x").iterdir()), metrics=["accuracy"])
    assert [(row.label, len(row.runs)) for row in found.rows] == [("a", 3), ("b", 3)]
    _, other = found.figures
    apart = np.subtract(other.values, found.figures[0].values)
    error = np.sqrt(apart.var(ddof=1) * (1 / 3 + 1 / 2))  # a fold in three is half of the rest
    assert other.folds.p == pytest.approx(2 * t.sf(-apart.mean() / error, 2))
    assert other.folds.low == pytest.approx(apart.mean() - t.ppf(0.975, 2) * error)
    assert other.data == "folds" and other.examples.p < 0.01  # type: ignore[operator]
    assert other.seeds.p is None and other.seeds_std is None


def test_seeds_of_folds_are_paired_by_both_and_vary_apart(tmp_path: Path) -> None:
    for seed, fold in itertools.product(range(4), range(3)):
        for name, share in (("a", 0.9), ("b", 0.8)):
            path = tmp_path / f"x/{name}-seed{seed}-fold{fold}"
            classifier(path, share, seed=seed + 50 * (name == "b"), fold=fold, optimizer=share)
    found = compared(*sorted((tmp_path / "x").iterdir()), metrics=["accuracy"])
    _, other = found.figures
    values = {name: np.zeros((4, 3)) for name in "ab"}
    for row in found.rows:
        for run in row.runs:
            seed, fold = run.repeat
            values[row.label][seed % 50, fold or 0] = run.figures["accuracy"][1].value
    a, b = values["a"], values["b"]
    assert other.seeds_std == pytest.approx(np.sqrt(b.var(axis=0, ddof=1).mean()))
    assert other.folds_std == pytest.approx(b.mean(axis=0).std(ddof=1))
    welch = ttest_ind(b.mean(axis=1), a.mean(axis=1), equal_var=False).confidence_interval()
    assert (other.seeds.low, other.seeds.high) == pytest.approx(tuple(welch))
    assert other.seeds.p == pytest.approx(2 / 70)  # all seeds of one row above all of the other
    apart = b.mean(axis=0) - a.mean(axis=0)
    error = np.sqrt(apart.var(ddof=1) * (1 / 3 + 1 / 2))
    assert other.folds.p == pytest.approx(2 * t.sf(-apart.mean() / error, 2))
    assert other.chance == max(other.seeds.p, other.folds.p)  # type: ignore[type-var]
    shutil.rmtree(tmp_path / "x/b-seed3-fold2")
    left = compared(*sorted((tmp_path / "x").iterdir()), metrics=["accuracy"])
    assert "b: seed 53 lacks a fold and is left out over seeds" in left.notes
    assert left.figures[1].seeds.p == pytest.approx(1 / 35)


def test_seeds_that_divide_the_data_are_compared_in_pairs_and_not_by_examples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(4):
        for name, share in (("a", 0.9), ("b", 0.8)):
            classifier(
                tmp_path / f"x/{name}-seed{seed}", share, seed=seed, drawn=seed, optimizer=name
            )
    paths = sorted((tmp_path / "x").iterdir())
    found = compared(*paths, metrics=["accuracy"])
    base, other = found.figures
    assert other.data == "splits" and not other.note and other.examples.p is None
    assert base.low is None and other.seeds_std is None and other.seeds.p is None
    apart = np.subtract(other.values, base.values)
    error = np.sqrt(apart.var(ddof=1) * (1 / 4 + 0.1 / 0.9))
    half = t.ppf(0.975, 3) * error
    assert other.folds.high == pytest.approx(apart.mean() + half)
    assert other.folds.p == pytest.approx(2 * t.sf(-apart.mean() / error, 3))
    assert other.verdict == "worse"
    assert main(["compare", *map(str, paths), "metric=accuracy"]) == 0
    shown = capsys.readouterr().out
    assert "± over" in shown and "each seed divides the data anew" in shown
    shutil.rmtree(paths[-1])
    fewer = compared(*paths[:-1], metrics=["accuracy"])
    assert "b lacks seed 3: b is compared in the others" in fewer.notes
    assert fewer.figures[1].difference == pytest.approx(apart[:3].mean())


def test_a_suite_gives_all_its_finished_runs(tmp_path: Path) -> None:
    suite = tmp_path / "suite"
    for name, share in (("a", 0.9), ("b", 0.8), ("c", 0.8)):
        classifier(suite / f"{name}-seed0", share, optimizer=name)
    (suite / "c-seed0/status.json").write_text('{"status": "failed"}')
    names = ("a-seed0", "b-seed0", "c-seed0", "../../elsewhere", "d-seed0")
    write_json(suite / "runs.json", [{"name": name, "status": "done"} for name in names])
    found = compared(suite)
    assert [row.label for row in found.rows] == ["a", "b"]
    assert compared(suite, base="b-seed0").base.label == compared(suite, base="b").base.label == "b"
    with pytest.raises(UserError, match="several runs"):
        base_of(rows_of([str(suite / "a-seed0")]), str(suite))
    # What the suite calls them, if that can be shown.
    entries = [{"name": "a-seed0", "label": "the first"}, {"name": "b-seed0", "label": "\x1b[2J"}]
    write_json(suite / "runs.json", entries)
    assert [row.label for row in compared(suite).rows] == ["the first", "b"]
    assert compared(suite, base="b-seed0").base.label == "b"
    other = classifier(tmp_path / "alone/one", 0.7, optimizer="d")
    labels = [row.label for row in compared(suite, other).rows]
    assert labels == ["suite/the first", "suite/b", "alone"]


def test_a_name_that_no_folder_can_have_is_that_of_no_run() -> None:
    for word in ("a" * 3000, "outputs/" + "é" * 200):
        with pytest.raises(UserError, match=r"there is no run .*characters"):
            rows_of([word])


def test_many_rows_are_corrected_for_their_number(tmp_path: Path) -> None:
    paths = [classifier(tmp_path / f"x/{i}", 0.85, seed=i, optimizer=i) for i in range(5)]
    found = compared(*paths, metrics=["accuracy"])
    p = [f.examples.p for f in found.figures[1:]]
    corrected = [f.examples.corrected for f in found.figures[1:]]
    assert all(a >= b for a, b in zip(corrected, p, strict=True))  # type: ignore[operator]
    assert min(corrected) == pytest.approx(min(1, 4 * min(p)))  # type: ignore
    assert any("corrected for all rows" in note for note in found.notes)


def test_rows_that_nothing_beats_lie_on_the_front() -> None:
    points = [(0.9, -10.0), (0.8, -5.0), (0.7, -7.0), (0.9, -12.0), (None, -1.0), (0.8, -5.0)]
    assert front(points) == [True, True, False, False, False, True]


def refused(*words: Any, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["compare", *map(str, words)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "Traceback" not in said
    return said


def test_what_cannot_be_compared_is_refused_in_one_answer(
    two: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, weak = two
    assert "is no run" in refused(good, tmp_path, capsys=capsys)
    assert "there is no run" in refused(good, tmp_path / "nowhere", capsys=capsys)
    assert "Did you mean 'accuracy'" in refused(good, weak, "metric=acuracy", capsys=capsys)
    assert "Did you mean 'metric'" in refused(good, weak, "metrc=accuracy", capsys=capsys)
    assert "nothing to compare good with" in refused(good, capsys=capsys)
    assert "no such test" in refused(good, weak, "test=t", capsys=capsys)
    assert "ends in .xls" in refused(good, weak, "--out", "x.xls", capsys=capsys)
    assert "--out needs a path" in refused(good, weak, "--out", capsys=capsys)
    assert "unknown flag" in refused(good, weak, "--loud", capsys=capsys)
    assert "which runs?" in refused("metric=accuracy", capsys=capsys)
    assert "a run's name is empty" in refused(good, "", capsys=capsys)
    fewer = classifier(tmp_path / "digits/fewer", 0.9, n=150)
    said = refused(good, fewer, capsys=capsys)
    assert "it has 150 examples, there 200 (example 150 is in one only)" in said
    other = classifier(tmp_path / "digits/other", 0.9, drawn=5)
    assert "example 1 expects 'owl', there 'dog'" in refused(good, other, capsys=capsys)


def test_outputs_that_were_changed_by_hand_are_refused(
    two: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    good, weak = two
    path = weak / "outputs/predictions.jsonl"
    content = path.read_text(encoding="utf-8")
    path.write_text(content.replace('"said": "cat"', '"said": "owl"', 1), encoding="utf-8")
    said = refused(good, weak, capsys=capsys)
    assert "was changed since it was written" in said and f"scratchlab eval {weak}" in said
    path.unlink()
    assert "predictions.jsonl is gone" in refused(good, weak, capsys=capsys)


def edited(run: Path, change: Any) -> None:
    content = json.loads((run / "results.json").read_text())
    for one in content:
        change(one)
    (run / "results.json").write_text(json.dumps(content))


def test_runs_without_outputs_are_told_how_to_make_them(
    two: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    good, weak = two
    edited(weak, lambda one: one.pop("examples"))
    said = refused(good, weak, capsys=capsys)
    assert f"weak: {weak} kept no outputs (scratchlab eval {weak} makes them)" in said
    evaluation = classifier(weak / "evaluations/2026-01-01_00-00-00", 0.7)
    config = (weak / "config.yaml").read_text()
    (evaluation / "config.yaml").write_text(config)
    found = compared(good, weak)
    figure = found.figure(found.rows[1], "accuracy")
    assert figure is not None and figure.examples.p is not None  # those of the evaluation


def test_figures_of_whole_runs_are_not_asked_for_outputs(
    two: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *map(str, two), "metric=training_time,peak_memory"]) == 0
    shown = capsys.readouterr().out
    assert "scratchlab eval" not in shown and "training time, peak memory: of whole runs" in shown
    for run in two:
        content = json.loads((run / "results.json").read_text())
        content.append(content[0] | {"name": "weight_error", "value": 0.5, "examples": {}})
        (run / "results.json").write_text(json.dumps(content))
    assert main(["compare", *map(str, two), "metric=accuracy,weight_error"]) == 0
    shown = capsys.readouterr().out
    assert "weight error: of whole runs" in shown and "scratchlab eval" not in shown
    edited(two[1], lambda one: one.update(examples={}))  # a run of before
    assert main(["compare", *map(str, two), "metric=accuracy,weight_error"]) == 2
    assert f"scratchlab eval {two[1]} makes them" in capsys.readouterr().err


def test_a_metric_that_one_run_lacks_is_named(
    two: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    good, weak = two
    content = json.loads((weak / "results.json").read_text())
    (weak / "results.json").write_text(json.dumps(content[1:]))
    assert "weak did not measure accuracy" in refused(good, weak, "metric=accuracy", capsys=capsys)
    assert main(["compare", str(good), str(weak)]) == 0
    assert "accuracy" not in capsys.readouterr().out.partition("Costs")[0]


def test_other_settings_of_a_metric_are_not_paired(
    two: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    good, weak = two
    for key, value, message in (
        ("split", "val", "measured on the split val, there test"),
        ("compares", "mnist", "its data are mnist, there digits"),
        ("compares", "digits | words", ""),
    ):
        edited(weak, lambda one, key=key, value=value: one.update({key: value}))
        said = refused(good, weak, capsys=capsys) if message else ""
        assert message in said
        edited(weak, lambda one: one.update(split="test", compares="digits"))
    edited(weak, lambda one: one["examples"].update(factor=100.0))
    assert "scored with factor=100.0, there None" in refused(good, weak, capsys=capsys)


def test_results_that_are_not_what_the_outputs_give_are_told(two: tuple[Path, Path]) -> None:
    edited(two[1], lambda one: one.update(value=0.99))
    found = compared(*two, metrics=["accuracy"])
    assert any("results.json says accuracy 0.99, its outputs give" in n for n in found.notes)


def test_a_file_of_outputs_is_looked_for_in_its_run_alone(
    two: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    good, weak = two
    edited(weak, lambda one: one["examples"].update(file="../../../etc/passwd"))
    assert "is no file of outputs" in refused(good, weak, capsys=capsys)


def test_no_model_is_needed(two: tuple[Path, Path]) -> None:
    code = (
        "import sys; from scratchlab.cli import main; "
        f"code = main(['compare', {str(two[0])!r}, {str(two[1])!r}]); "
        "sys.exit(code or ('torch' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment()},
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_suite_ends_in_the_paired_differences_of_its_rows(tmp_path: Path) -> None:
    folders = {
        name: [
            classifier(tmp_path / f"{name}-seed{s}", share, seed=s, optimizer=name) for s in (0, 1)
        ]
        for name, share in (("a", 0.9), ("b", 0.75), ("c", 0.9))
    }
    rows = [Compared(f"row {name}", paths) for name, paths in folders.items()]
    found = against_first(rows, ["training_time", "accuracy"])
    assert found is not None
    shown = write_differences(tmp_path / "suite", found)
    assert shown.title == "Paired differences to row a"
    assert [row[:2] for row in shown.rows] == [["accuracy ↑", "row b"], ["", "row c"]]
    assert "value" not in shown.columns and shown.rows[0][2].startswith("-0.1")
    written = (tmp_path / "suite/tables/differences.md").read_text(encoding="utf-8")
    assert "row b" in written and (tmp_path / "suite/tables/differences.csv").is_file()
    assert against_first(rows[:1], []) is None
    for path in folders["a"]:
        edited(path, lambda one: one.pop("examples"))
    assert against_first(rows, ["accuracy"]) is None
