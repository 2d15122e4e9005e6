"""Every moment of a run counts for one phase, and all of them are told in one line."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from scratchlab.config.compose import compose
from scratchlab.lab.train import train
from scratchlab.reporting.results import read_results
from scratchlab.run import phases as phase
from scratchlab.run.phases import Phases, in_a_line
from scratchlab.tracking.contract import RunInfo, Tracker
from scratchlab.tracking.guard import Trackers


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "perf_counter", made)
    return made


def test_the_innermost_phase_counts_and_all_add_up(clock: Clock) -> None:
    phases = Phases("start")
    clock.now += 1
    with phases("training"):
        clock.now += 2
        with phases("validation"):
            clock.now += 4
            with phases("validation"):
                clock.now += 8
        clock.now += 16
    clock.now += 32
    assert phases.so_far() == {"start": 33, "training": 18, "validation": 12}
    assert in_a_line(phases.so_far()) == "63.0 s: start 33.0, training 18.0, validation 12.0"


def test_an_exception_ends_the_phase_it_comes_from(clock: Clock) -> None:
    phases = Phases("start")
    with pytest.raises(ValueError, match="wrong"), phases("training"):
        clock.now += 1
        raise ValueError("wrong")
    clock.now += 2
    assert phases.so_far() == {"start": 2, "training": 1}


def test_what_trackers_take_counts_for_them(clock: Clock, tmp_path: Path) -> None:
    class Slow(Tracker):
        def start(self, run: RunInfo) -> None:
            clock.now += 2

        def log(self, step, scalars, timing) -> None:  # type: ignore[no-untyped-def]
            clock.now += 1
            raise OSError("slow and broken")

        def message(self, text: str) -> None:
            clock.now += 100

        def finish(self, status: str) -> None: ...

    phases = Phases("training")
    trackers = Trackers([Slow(None)], phases)
    trackers.start(RunInfo("name", "id", tmp_path))
    trackers.log(1, {}, {})
    assert phases.so_far() == {"training": 0, "trackers": 3}


def test_a_line_leaves_out_what_would_be_nothing() -> None:
    assert in_a_line({"a": 1234.5, "b": 0.049}) == "1,234.5 s: a 1,234.5"
    assert in_a_line({"a": 0.01}) == "0.0 s"


@pytest.mark.parametrize("model", ["transformer_mt", "linear"])
def test_a_run_says_where_its_time_went(
    model: str, tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*tiny, "trainer.max_steps=3", "trainer.validate_every=2"]
    words = words if model == "transformer_mt" else ["model=linear", "name=tiny"]
    words = [*words, f"output_dir={tmp_path}", "run_id=one", "pictures=false"]
    started = time.perf_counter()
    folder = train(compose(words).config, words, ["train"])
    took = time.perf_counter() - started
    run = next(m for m in read_results(folder) if m.name == "run_time")
    seconds = run.settings["seconds"]
    expected = [phase.START, phase.TRACKERS, phase.VALIDATION, phase.CHECKPOINTS, phase.EVALUATION]
    if model == "transformer_mt":
        expected += [phase.BATCHES, phase.FORWARD, phase.BACKWARD, phase.OPTIMIZER, phase.LOOP]
    else:
        expected += [phase.FIT]
    assert set(seconds) == set(expected)
    assert seconds[phase.FORWARD if model == "transformer_mt" else phase.EVALUATION] > 0
    assert sum(seconds.values()) == pytest.approx(run.value, abs=0.01)
    assert run.value <= took
    line = next(x for x in capsys.readouterr().err.splitlines() if x.startswith("took "))
    shown = [name for name, value in seconds.items() if value > phase.SHOWN + 0.01]
    assert all(f"{name} " in line for name in shown)
    assert f"{line}\n" in (folder / "train.log").read_text()
