"""Several runs in one picture."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scratchlab.evaluation.contract import Measurement
from scratchlab.figures.bars import Bar, bars_figure
from scratchlab.figures.style import colour
from scratchlab.reporting.comparison import Compared, write_comparison
from scratchlab.reporting.comparison_pictures import curves_figure
from scratchlab.reporting.results import write_results


def row(label: str, *folders: Path) -> Compared:
    return Compared(label=label, folders=folders)


def run(folder: Path, losses: Sequence[float], step: int = 1) -> Path:
    lines: list[dict[str, Any]] = [
        {"step": step * (i + 1), "epoch": i + 1, "train/loss": loss}
        for i, loss in enumerate(losses)
    ]
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(e) + "\n" for e in lines))
    return folder


def test_curves_of_estimators_count_epochs_and_leave_out_models_made_in_one_step(
    tmp_path: Path,
) -> None:
    rows = [
        row("MLP", run(tmp_path / "a0", [3.0, 2.0, 1.0]), run(tmp_path / "a1", [5.0, 4.0, 2.0])),
        row("forest", run(tmp_path / "b", [0.2])),
    ]
    figure = curves_figure("wine", rows, "train/loss")
    assert figure is not None
    (axis,) = figure.axes
    assert [line.get_label() for line in axis.lines] == ["MLP"]
    assert list(axis.lines[0].get_ydata()) == [4.0, 3.0, 1.5]
    assert axis.get_xlabel() == "epochs"
    assert axis.get_ylabel() == "loss ↓"


def test_curves_of_trained_networks_count_updates_and_name_the_unit(tmp_path: Path) -> None:
    rows = [row("gpt", run(tmp_path / "a", [3.0, 2.0], step=50))]
    figure = curves_figure("text", rows, "train/loss")
    assert figure is not None
    (axis,) = figure.axes
    assert axis.get_xlabel() == "updates of the weights"
    assert axis.get_ylabel() == "loss (nats per target) ↓"


def test_no_picture_is_made_of_single_points(tmp_path: Path) -> None:
    assert curves_figure("text", [row("forest", run(tmp_path / "a", [3.0]))], "train/loss") is None


def test_a_row_keeps_its_colour_where_another_has_no_line(tmp_path: Path) -> None:
    rows = [
        row("5-gram", run(tmp_path / "a", [3.0])),
        row("LSTM", run(tmp_path / "b", [3.0, 2.0], step=50)),
    ]
    figure = curves_figure("text", rows, "train/loss")
    assert figure is not None
    assert figure.axes[0].lines[0].get_color() == colour(1)


def measured(folder: Path, *measurements: Measurement) -> Path:
    write_results(folder, measurements)
    return folder


def test_one_seed_keeps_the_spread_that_its_evaluator_gave(tmp_path: Path) -> None:
    half = {"spread": "95 % interval, half width"}
    rows = []
    for name, value in (("before", 21.4), ("after", 28.3)):
        score = Measurement("rouge1", value, "%", spread=3.3, settings=half)
        rows.append(row(name, measured(tmp_path / name, score)))
    write_comparison(tmp_path / "all", "summaries", rows)
    assert "28.30 ± 3.30" in (tmp_path / "all/tables/comparison.md").read_text()
    lines = list(csv.DictReader((tmp_path / "all/tables/comparison.csv").open()))
    assert [line["std"] for line in lines] == ["", ""]  # no second seed, so no deviation over seeds
    assert {line["spread_meaning"] for line in lines} == {"± 95 % interval, half width"}


def test_with_several_seeds_the_spread_is_the_deviation_over_them(tmp_path: Path) -> None:
    folders = [
        measured(tmp_path / str(value), Measurement("rouge1", value, "%", spread=9.0))
        for value in (20.0, 22.0)
    ]
    write_comparison(tmp_path / "all", "summaries", [row("after", *folders)])
    assert "21 ± 1" in (tmp_path / "all/tables/comparison.md").read_text()


def test_bars_of_bytes_are_in_the_unit_of_the_largest(tmp_path: Path, monkeypatch: Any) -> None:
    drawn: list[tuple[list[Bar], str]] = []

    def draw(bars: Sequence[Bar], label: str, *more: str) -> Any:
        drawn.append((list(bars), label))
        return bars_figure(bars, label, *more)

    monkeypatch.setattr("scratchlab.reporting.comparison_pictures.bars_figure", draw)
    rows = [
        row(name, measured(tmp_path / name, Measurement("size", value, "bytes", "lower")))
        for name, value in (("small", 2**19), ("large", 3 * 2**20))
    ]
    write_comparison(tmp_path / "all", "sizes", rows)
    ((bars, label),) = drawn
    assert [bar.value for bar in bars] == [0.5, 3.0]
    assert label == "size (MiB) ↓"


def test_of_the_rows_of_a_choice_the_one_that_validates_best_is_marked(tmp_path: Path) -> None:
    def validated(name: str, losses: Sequence[float], accuracy: float) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        lines = [{"step": i, "epoch": i, "val/loss": loss} for i, loss in enumerate(losses, 1)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(e) + "\n" for e in lines))
        write_results(folder, [Measurement("accuracy", accuracy, split="test")])
        return folder

    # "b" is best in the test and "a" in validation (its second epoch); "other" is no candidate.
    a = Compared("a", [validated("a0", [0.9, 0.2, 0.7], 0.5)], choice="rate")
    b = Compared("b", [validated("b0", [0.5, 0.4], 0.9)], choice="rate")
    other = Compared("other", [validated("c0", [0.1], 0.7)])
    found = write_comparison(tmp_path / "out", "rates", [a, b, other])
    _, columns, rows, _ = found.tables[0]
    assert columns[-2:] == ("least val/loss ↓", "chosen by it")
    assert [line[-2:] for line in rows] == [("0.2000", "yes"), ("0.4000", ""), ("", "")]
    assert json.loads((tmp_path / "out" / "choices.json").read_text()) == {
        "rate": {"by": "least val/loss", "tried": {"a": 0.2, "b": 0.4}, "chosen": "a"}
    }
    # While one candidate has not ended, nothing is chosen.
    unfinished = [a, Compared("b", [], choice="rate")]
    rows = write_comparison(tmp_path / "x", "rates", unfinished).tables[0][2]
    assert [line[-1] for line in rows] == ["", ""]


SHARE = {"low": 0.0, "high": 13.3, "interval": "95 % interval (Wilson)"}


def test_intervals_that_are_not_symmetric_keep_their_ends_and_each_sign_is_explained_once(
    tmp_path: Path,
) -> None:
    rows = [
        row(
            name,
            measured(
                tmp_path / name,
                Measurement("exact_match", value, "%", **SHARE),  # type: ignore[arg-type]
                Measurement("bleu", 20 + value, spread=0.2, settings={"spread": "half"}),
            ),
        )
        for name, value in (("before", 0.0), ("after", 5.0))
    ]
    found = write_comparison(tmp_path / "all", "knowledge", rows)
    text = (tmp_path / "all/tables/comparison.md").read_text()
    assert "0.00 [0.00, 13.30]" in text and "25.0 ± 0.2" in text
    assert text.count("[ ] 95 % interval (Wilson)") == text.count("± half") == 1
    assert found.tables[0].notes == ["[ ] 95 % interval (Wilson)", "± half"]
    lines = list(csv.DictReader((tmp_path / "all/tables/comparison.csv").open()))
    assert [(line["low"], line["high"]) for line in lines if line["metric"] == "exact_match"] == [
        ("0.0", "13.3")
    ] * 2
    assert lines[0]["spread_meaning"] == "[ ] 95 % interval (Wilson)"


def test_a_count_that_no_seed_changes_has_no_deviation(tmp_path: Path) -> None:
    folders = [
        measured(tmp_path / str(seed), Measurement("parameters", 4096.0, better="lower"))
        for seed in range(3)
    ]
    found = write_comparison(tmp_path / "all", "sizes", [row("net", *folders)])
    assert found.tables[0].rows[0][1] == "4,096" and found.tables[0].notes == []


def test_a_column_has_one_number_of_decimals(tmp_path: Path) -> None:
    rows = [
        row(name, measured(tmp_path / name, Measurement("perplexity", value, better="lower")))
        for name, value in (("a", 62.5), ("b", 67.0), ("c", 3.7))
    ]
    found = write_comparison(tmp_path / "all", "models", rows)
    assert [line[1] for line in found.tables[0].rows] == ["62.50", "67.00", "3.70"]


def test_perplexities_of_other_tokens_are_said_not_to_compare_and_not_drawn_together(
    tmp_path: Path,
) -> None:
    rows = []
    for name, tokens in (("a", "char"), ("b", "words")):
        like = f"python_docs | tokenizer={tokens}"
        score = Measurement("perplexity", 9.0, "per token", "lower", compares=like)
        same = Measurement("bits_per_character", 2.0, compares="python_docs")
        rows.append(row(name, measured(tmp_path / name, score, same)))
    found = write_comparison(tmp_path / "all", "tokens", rows)
    (note,) = found.tables[0].notes
    assert note.startswith("not all rows compare in perplexity (a: python_docs | tokenizer=char;")
    drawn = sorted(p.name for p in (tmp_path / "all/plots").iterdir())
    assert drawn == ["bars_bits_per_character.png"]


def test_curves_of_unlike_losses_give_way_to_a_figure_that_all_have(tmp_path: Path) -> None:
    rows = []
    for name in ("linear", "mlp_regressor"):
        folder = tmp_path / name
        folder.mkdir()
        entries = [{"step": i, "epoch": i, "val/loss": 9 / i, "val/rmse": 3 / i} for i in (1, 2)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(e) + "\n" for e in entries))
        config = {"task": {"name": "regression"}, "trainer": {"name": "fit"}}
        config |= {"model": {"name": name, "scale_target": True}, "dataset": {"name": "diabetes"}}
        (folder / "config.yaml").write_text(json.dumps(config))
        rows.append(row(name, measured(folder, Measurement("rmse", 50.0, better="lower"))))
    found = write_comparison(tmp_path / "all", "two", rows)
    (line,) = found.missing
    assert "curves of val/loss would show different things" in line and "val/rmse is drawn" in line
    assert (tmp_path / "all/plots/curves_val_rmse.png").exists()
    assert not (tmp_path / "all/plots/curves_val_loss.png").exists()


def test_the_table_says_in_which_precision_the_runs_were_trained(tmp_path: Path) -> None:
    rows = []
    for name, precision in (("a", "float32"), ("b", "bfloat16")):
        folder = measured(tmp_path / name, Measurement("accuracy", 0.5))
        (folder / "checkpoints/last").mkdir(parents=True)
        state = json.dumps({"state": {"precision": precision}})
        (folder / "checkpoints/last/state.json").write_text(state)
        rows.append(row(name, folder))
    alike = write_comparison(tmp_path / "one", "seeds", rows[:1])
    assert alike.tables[0].notes == ["trained in float32"]
    apart = write_comparison(tmp_path / "two", "seeds", rows)
    assert apart.tables[0].notes == ["trained in float32: a; bfloat16: b"]


def test_of_many_scores_of_classes_those_that_say_the_same_are_drawn_only_on_request(
    tmp_path: Path,
) -> None:
    names = ("accuracy", "f1_macro", "f1_weighted", "recall_macro")
    rows = [
        row(n, measured(tmp_path / n, *(Measurement(m, v) for m in names)))
        for n, v in (("a", 0.9), ("b", 0.8))
    ]

    def drawn(name: str, *metrics: str) -> list[str]:
        write_comparison(tmp_path / name, "classes", rows, metrics=metrics)
        return sorted(p.stem for p in (tmp_path / name / "plots").iterdir())

    assert drawn("all") == ["bars_accuracy", "bars_f1_macro"]
    assert drawn("asked", "recall_macro") == ["bars_recall_macro"]


def test_a_row_over_folds_says_so(tmp_path: Path) -> None:
    folders = []
    for fold, share in enumerate((0.5, 0.75, 0.7)):
        folder = tmp_path / f"fold{fold}"
        folder.mkdir()
        folders.append(measured(folder, Measurement("accuracy", share, better="higher")))
    one = tmp_path / "one"
    one.mkdir()
    rows = [
        Compared("ten", folders, over="folds"),
        row("one", measured(one, Measurement("accuracy", 0.6, better="higher"))),
    ]
    write_comparison(tmp_path / "out", "folds", rows)
    lines = (tmp_path / "out/tables/comparison.md").read_text().splitlines()
    assert lines[0].split("|")[-2].strip() == "runs" and "± 0.13" in lines[2]
    assert "± standard deviation of 3 folds, around their mean" in lines
    write_comparison(tmp_path / "folds", "folds", rows[:1])
    head = (tmp_path / "folds/tables/comparison.md").read_text().splitlines()[0]
    assert head.split("|")[-2].strip() == "folds"
