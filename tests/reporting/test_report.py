"""``scratchlab report`` on runs whose outputs are known."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchlab.cli import main
from scratchlab.evaluation.contract import Measurement
from scratchlab.reporting.compare.comparing import compare
from scratchlab.reporting.compare.outputs import Reader
from scratchlab.reporting.compare.runs import rows_of
from scratchlab.reporting.compare.tables import options_table
from scratchlab.reporting.report.curves import charts_of, log_ticks, thinned, ticks
from scratchlab.reporting.report.page import inert, write_study_page
from scratchlab.reporting.report.pictures import PNG, pictures_of
from scratchlab.reporting.report.samples import samples_of, scores_of, word_f1
from scratchlab.reporting.search import Search, Tried, write_trials
from scratchlab.reporting.tables import from_markdown, markdown
from scratchlab.run.atomic import write_json
from tests.support.commands import environment
from tests.support.outputs import by, make_run

WORDS = ["the", "old", "cat", "sees", "a", "small", "dog", "near", "our", "red", "house", "today"]
BAD = "a </script><script>alert(1)</script> <img src=https://example.org/x.png> & end"


def translator(path: Path, right: float, *, n: int = 40, drawn: int = 0, **more: Any) -> Path:
    """A run that translates so many words rightly; its first example is awkward."""
    data, rng = np.random.default_rng(drawn), np.random.default_rng(int(right * 1000))
    given = [" ".join(data.choice(WORDS, size=4 + i % 9)) for i in range(n)]
    expected = [text.upper() for text in given]
    said = [" ".join(w if rng.random() < right else "x" for w in text.split()) for text in expected]
    given[0], said[0] = BAD, BAD
    records = {"translations": {"given": given, "expected": expected, "said": said}}
    how = by("translations", "chrf", lowercase=False, char_order=6, word_order=0)
    figures = [
        Measurement("chrf", 0.0, better="higher", examples=how, compares="words"),
        Measurement("parameters", 1000.0, better="lower"),
    ]
    config = {"model": {"name": "mt", "right": right}, **more}
    about = {
        "command": ["scratchlab", "train", "model=mt", "note=two words"],
        "machine": {"processor": "a processor"},
        "data": {"sha256": {"train": "0123abcd"}},
    }
    make_run(path, records, figures, config=config, manifest=about)
    lines = [
        {"step": i, "train/loss": 9 / (i + 1) + right, "lr": 1e-3, "val/loss": 2.0 - i / 500}
        for i in range(0, 500, 5)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (path / "metrics.jsonl").write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    return [translator(tmp_path / "mt" / name, q) for name, q in (("weak", 0.4), ("good", 0.9))]


class Parsed(HTMLParser):
    """The elements of a page with their attributes, what its scripts hold, and what is read."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text: list[str] = []
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.text.append(data)

    @property
    def data(self) -> Any:
        return json.loads(self.scripts[0])


def test_a_page_tells_what_differs_what_is_better_and_how_it_was_made(
    two: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", *map(str, two)]) == 0
    path = two[0] / "report.html"
    assert f"written: {path}" in capsys.readouterr().err
    page = Parsed(path.read_text(encoding="utf-8"))
    text = " ".join(page.text)
    assert "2 settings in 2 runs, each compared with weak" in text
    assert re.search(r"Shown to be better than weak: good \(\+\d", text)
    known = json.loads((two[1] / "results.json").read_text(encoding="utf-8"))[0]["examples"]
    assert len(known["sha256"]) == 64 and known["sha256"] in page.text
    for part in ("model.right", "0.4", "a processor", "0123abcd", "'note=two words'"):
        assert part in text
    assert f"scratchlab report {two[0]} {two[1]}" in text
    assert [one["title"] for one in page.data["charts"]][:2] == [
        "loss (validation)",
        "loss (training)",
    ]
    tags = [tag for tag, _ in page.elements]
    lines = [a for t, a in page.elements if t == "path" and a.get("d", "").count("L") > 10]
    assert len(lines) == 6  # two runs in three charts, drawn without the script
    assert tags.count("article") == 8
    assert tags.count("caption") == tags.count("table") >= 4
    assert all(a.get("scope") in ("col", "row") for t, a in page.elements if t == "th")
    known = page.data["samples"][0]
    assert known["rows"] == ["weak", "good"] and len(known["examples"]) == 40
    figures = page.data["comparison"]["figures"]
    assert {one["verdict"] for one in figures if one["difference"] is not None} == {"better"}


def test_texts_of_a_run_are_inert_and_nothing_is_loaded_from_elsewhere(
    two: list[Path], tmp_path: Path
) -> None:
    assert main(["report", *map(str, two), f"out={tmp_path / 'page.html'}"]) == 0
    written = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Parsed(written)
    assert len(page.scripts) == 2 and "alert(1)" not in page.scripts[1]
    said = [s for one in page.data["samples"][0]["examples"] for s in one["said"]]
    assert said.count(BAD) == 2
    assert not [t for t, a in page.elements if t == "img"]
    for tag, attributes in page.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:")), (tag, name, value)
        assert not [name for name in attributes if name.startswith("on")]
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv"))
    assert policy is not None and policy.startswith("default-src 'none'")
    assert "url(" not in written and "@import" not in written


def test_the_script_that_is_allowed_is_the_one_that_is_there(two: list[Path]) -> None:
    import base64
    import hashlib

    main(["report", str(two[0])])
    page = Parsed((two[0] / "report.html").read_text(encoding="utf-8"))
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv"))
    assert policy is not None and f"script-src 'sha256-{digest}'" in policy


def test_json_in_a_page_cannot_end_its_element() -> None:
    text = inert({"a": "</ScRiPt><!--\u2028 &amp;"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": "</ScRiPt><!--\u2028 &amp;"}


def test_one_run_is_reported_alone(two: list[Path]) -> None:
    assert main(["report", str(two[1])]) == 0
    text = " ".join(Parsed((two[1] / "report.html").read_text(encoding="utf-8")).text)
    assert "good: 1 run." in text and "difference to" not in text


def test_only_a_report_is_overwritten_and_no_link_is_followed(
    two: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine.html"
    out.write_text("<p>mine</p>")
    assert main(["report", str(two[0]), f"out={out}"]) == 2
    assert "is not overwritten" in capsys.readouterr().err
    assert out.read_text() == "<p>mine</p>"
    link = tmp_path / "link.html"
    link.symlink_to(out)
    assert main(["report", str(two[0]), f"out={link}"]) == 2
    assert "nothing is written through links" in capsys.readouterr().err
    assert main(["report", str(two[0])]) == main(["report", *map(str, two)]) == 0
    assert main(["report", str(two[0]), f"out={tmp_path}"]) == 0
    assert (tmp_path / "report.html").is_file()


def test_what_cannot_be_reported_is_one_clear_line(
    two: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def problem(*words: object) -> str:
        assert main(["report", *map(str, words)]) == 2
        assert not list(tmp_path.rglob("*.html"))
        return capsys.readouterr().err

    assert "which runs?" in problem()
    assert "there is no run 'nowhere'" in problem("nowhere", f"output_dir={tmp_path}")
    assert "is no run" in problem(tmp_path / "mt" / "weak" / "outputs")
    assert "Did you mean 'out'" in problem(two[0], "outt=x.html")
    assert "out=PATH names one file" in problem(two[0], "out=")
    assert "out=PATH names one file" in problem(two[0], "out=x.html", "--out", "y.html")
    assert "there is no such test" in problem(*two, "test=luck")
    assert "blue" in problem(*two, "metric=blue")
    assert "metric='blue' was not measured" in problem(two[0], "metric=blue")
    other = translator(tmp_path / "other" / "run", 0.6, drawn=5)
    assert "its data are others" in problem(two[0], other)
    file = two[1] / "outputs" / "translations.jsonl"
    file.write_text(file.read_text(encoding="utf-8").replace("CAT", "COW"), encoding="utf-8")
    assert "was changed since it was written" in problem(*two)
    assert "was changed since it was written" in problem(two[1])


def test_twenty_runs_are_a_page_of_few_megabytes_made_in_seconds(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    for i in range(20):
        run = translator(tmp_path / "mt" / f"run{i:02}", 0.3 + i / 40, n=400)
        (run / "plots").mkdir()
        for name in ("attention", "confusion"):
            content = PNG + noise.bytes(115_000)
            (run / "plots" / f"{name}.png").write_bytes(content)
    runs = [str(path) for path in sorted((tmp_path / "mt").iterdir())]
    started = time.process_time()
    out = tmp_path / "page.html"
    assert main(["report", *runs, f"out={out}"]) == 0
    assert time.process_time() - started < 10
    assert out.stat().st_size < 5_000_000
    page = Parsed(out.read_text(encoding="utf-8"))
    pictures = [a["alt"] for t, a in page.elements if t == "img"]
    assert len(pictures) == 20 and all("attention" in str(alt) for alt in pictures)
    text = " ".join(page.text)
    assert "20 pictures are left out for want of room" in text
    assert "of 400 examples that the runs disagree most about are" in text


def test_examples_stand_first_that_runs_disagree_about(two: list[Path]) -> None:
    rows = rows_of(map(str, two))
    (samples,) = samples_of(rows, rows[0], Reader())
    assert samples.scores == ["word F1"]
    apart = [one["apart"][0] for one in samples.examples]
    assert apart == sorted(apart, reverse=True) and apart[0] > 0.3
    assert samples.examples[-1]["id"] == 0  # both said the same
    lengths = [b for b in samples.buckets if b.kind == "words"]
    assert sum(b.n for b in lengths) == 40
    assert all(b.means[1] > b.means[0] for b in lengths if b.n > 5)  # type: ignore[operator]


def test_scores_of_examples_are_those_that_the_eye_would_count() -> None:
    assert word_f1("a b c", "a b d e") == pytest.approx(2 * 2 / 7)
    assert word_f1("", "") == 1.0 and word_f1("", "a") == 0.0
    assert scores_of({"id": [0, 1], "said": ["x", "y"], "expected": ["x", "z"]}) == {
        "right": [1.0, 0.0]
    }
    assert scores_of({"nats": [6.0, 2.0], "targets": [3, 0]}) == {"nats per target": [2.0, None]}
    assert scores_of({"said": [1.5], "expected": [2.0]}) == {"absolute error": [0.5]}


def test_long_curves_are_thinned_and_keep_their_peaks(two: list[Path]) -> None:
    x = [float(i) for i in range(10_000)]
    y = [0.0] * 10_000
    y[7777] = 5.0
    short, values = thinned(x, y, 100)
    assert len(short) <= 102 and values[short.index(7777.0)] == 5.0
    assert ticks(0.0, 1.0) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert log_ticks(-1.6, 1.0) == [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]
    assert log_ticks(-8.0, 0.5) == [1e-8, 1e-6, 1e-4, 1e-2, 1.0]
    assert len(log_ticks(0.31, 0.33)) > 2
    charts, left = charts_of(rows_of(map(str, two)))
    assert not left and [line.label for line in charts[0].lines] == ["weak", "good"]
    for chart in charts:
        inside = [chart.at(*pair) for line in chart.lines for pair in zip(line.x, line.y)]
        assert all(0 <= a <= 640 and 0 <= b <= 300 for a, b in inside)


def test_values_that_no_scale_holds_are_not_drawn(two: list[Path]) -> None:
    lines = [
        *({"step": i, "a": value} for i, value in enumerate((1, 2, 1e308, None, "x", True))),
        {"step": "3", "a": 1.0},
    ]
    (two[0] / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    charts, _ = charts_of(rows_of([str(two[0])]))
    assert [(one.lines[0].x, one.lines[0].y) for one in charts] == [([0.0, 1.0], [1.0, 2.0])]


def test_half_a_character_that_a_model_said_is_written_as_a_question_mark(tmp_path: Path) -> None:
    records = {"predictions": {"expected": ["a", "b"], "said": ["a", "b\ud800"]}}
    figures = [Measurement("accuracy", 0.0, examples=by("predictions", "share"))]
    run = make_run(tmp_path / "a" / "b", records, figures)
    assert main(["report", str(run)]) == 0
    said = Parsed((run / "report.html").read_text(encoding="utf-8")).data["samples"][0]
    assert [one["said"] for one in said["examples"]] == [["b?"], ["a"]]


def test_a_picture_that_is_none_or_a_link_is_left_out(two: list[Path], tmp_path: Path) -> None:
    plots = two[0] / "plots"
    plots.mkdir()
    (plots / "text.png").write_text("<svg onload=alert(1)>")
    (tmp_path / "elsewhere.png").write_bytes(PNG)
    (plots / "link.png").symlink_to(tmp_path / "elsewhere.png")
    (plots / "real.png").write_bytes(PNG + b"1")
    found, left = pictures_of(rows_of(map(str, two)), [])
    assert [one.name for one in found] == ["real"] and len(left) == 2


def test_a_report_is_made_without_torch(two: list[Path]) -> None:
    code = (
        "import sys; from scratchlab.cli import main; "
        f"assert main(['report', {str(two[0])!r}, {str(two[1])!r}]) == 0; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=environment())


def test_runs_without_outputs_are_told_how_to_make_them(
    two: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for run in two:
        content = json.loads((run / "results.json").read_text(encoding="utf-8"))
        for one in content:
            one["examples"] = {}
        (run / "results.json").write_text(json.dumps(content), encoding="utf-8")
    assert main(["report", *map(str, two)]) == 2
    assert f"scratchlab eval {two[0]}" in capsys.readouterr().err


def test_a_sweep_ends_in_a_page_with_its_trials_beside_the_best_one(tmp_path: Path) -> None:
    folder = tmp_path / "rates"
    trials = []
    for i, (rate, value) in enumerate(((0.1, 3.5), (0.2, 2.25), (0.3, 4.0))):
        translator(folder / f"trial-{i:03}", 0.3 + i / 10, optimizer={"lr": rate})
        trials.append(Tried(f"trial-{i:03}", {"optimizer.lr": rate}, value, "done"))
    trials.append(Tried("trial-003", {"optimizer.lr": 9.0}, None, "failed", "a | b", "x.log"))
    write_json(folder / "runs.json", [{"name": t.run, "status": t.status} for t in trials])
    write_trials(folder, Search("rates", "val/loss", "lower", ["optimizer.lr"], trials))
    path = write_study_page(folder, "trial-001")
    page = Parsed(path.read_text(encoding="utf-8"))
    text = " ".join(" ".join(page.text).split())
    assert "Trials of rates: trial-001 is best of 4 (val/loss ↓ 2.250; optimizer.lr 0.2)" in text
    assert "each compared with trial-001" in text and "a | b (log: x.log)" in text
    assert page.data["comparison"]["base"] == "trial-001"
    before = path.read_text(encoding="utf-8")
    assert main(["report", str(folder), "base=trial-001"]) == 0
    assert path.read_text(encoding="utf-8") == before
    assert f"scratchlab report {folder} base=trial-001" in text


def test_a_table_is_read_again_as_it_was_written() -> None:
    columns, rows = ["run", "a | b"], [["x", "1.5"], ["y | z", ""]]
    assert from_markdown(markdown(columns, rows, ["a note"])) == (columns, rows, ["a note"])
    assert from_markdown("nothing") == ([], [], ["nothing"])


def test_options_that_exchanged_parts_bring_along_do_not_bury_the_others(tmp_path: Path) -> None:
    own = {f"option{i}": i for i in range(30)}
    runs = [
        translator(tmp_path / "mt" / "one", 0.4, optimizer={"lr": 1, **own}),
        translator(tmp_path / "mt" / "two", 0.5, optimizer={"lr": 2}),
    ]
    rows = rows_of(map(str, runs))
    shown = options_table(compare(rows, rows[0]))
    assert shown.columns == ["run", "model.right", "optimizer.lr"]
    assert shown.notes[0].startswith("and 30 more options")
    assert main(["report", *map(str, runs)]) == 0
    text = " ".join(Parsed((runs[0] / "report.html").read_text(encoding="utf-8")).text)
    assert "Options that only some of the runs have" in text and "optimizer.option29" in text
