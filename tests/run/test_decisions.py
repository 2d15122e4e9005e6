"""A choice made by measuring is made once: equal commands then train in the same arithmetic."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from scratchlab.run import decisions
from scratchlab.run.decisions import (
    STUDY_RECORD,
    Load,
    cache_folder,
    decided_once,
    decided_together,
)


def answers(*values: str) -> Callable[[], dict[str, str]]:
    """A measurement that comes out otherwise each time."""
    upcoming = iter(values)
    return lambda: {"dtype": next(upcoming)}


def test_the_first_choice_holds_for_the_same_circumstances(tmp_path: Path) -> None:
    decide = answers("float32", "bfloat16", "bfloat16")
    here = {"model": {"d_model": 8}, "threads": 2}
    assert decided_once(tmp_path, "precision", here, decide) == ({"dtype": "float32"}, False)
    assert decided_once(tmp_path, "precision", here, decide) == ({"dtype": "float32"}, True)
    other = {**here, "threads": 1}
    assert decided_once(tmp_path, "precision", other, decide) == ({"dtype": "bfloat16"}, False)


def test_a_damaged_record_is_decided_anew_and_mended(tmp_path: Path) -> None:
    decide = answers("float32", "bfloat16")
    decided_once(tmp_path, "precision", {}, decide)
    (record,) = tmp_path.rglob("*.json")
    record.write_text("{")
    assert decided_once(tmp_path, "precision", {}, decide) == ({"dtype": "bfloat16"}, False)
    assert decided_once(tmp_path, "precision", {}, decide) == ({"dtype": "bfloat16"}, True)


def test_a_cache_that_cannot_be_written_only_means_measuring_again(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    decide = answers("float32", "bfloat16")
    assert decided_once(blocked, "precision", {}, decide) == ({"dtype": "float32"}, False)
    assert decided_once(blocked, "precision", {}, decide) == ({"dtype": "bfloat16"}, False)


def test_the_cache_is_where_the_configuration_says(tmp_path: Path) -> None:
    assert cache_folder({"cache_dir": str(tmp_path)}) == tmp_path


def test_what_is_measured_while_others_use_the_cores_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Load(1.9, 2)
    monkeypatch.setattr(decisions, "machine_load", lambda: load)
    decide = answers("bfloat16", "float32", "bfloat16")
    found = [decided_once(tmp_path, "precision", {}, decide, threads=1) for _ in range(2)]
    assert found == [({"dtype": "bfloat16"}, False), ({"dtype": "float32"}, False)]
    assert not list(tmp_path.rglob("*.json"))

    def busy(now: Load) -> dict[str, str]:
        return {"dtype": "none", "why": str(now)}

    found = [decided_once(tmp_path, "precision", {}, decide, threads=1, busy=busy)]
    why = "1.9 of 2 cores in use by other processes"
    assert found == [({"dtype": "none", "why": why}, False)]
    # On the idle machine it is measured and kept, with the load; that holds under load, too.
    load = Load(0.1, 2)
    idle = decided_once(tmp_path, "precision", {}, decide, threads=2, busy=busy)
    load = Load(1.9, 2)
    again = decided_once(tmp_path, "precision", {}, decide, threads=2, busy=busy)
    assert (idle, again) == (({"dtype": "bfloat16"}, False), ({"dtype": "bfloat16"}, True))
    (record,) = tmp_path.rglob("*.json")
    assert json.loads(record.read_text())["load"].startswith("0.1 of 2 cores in use")


def test_the_load_leaves_room_where_each_thread_has_a_core() -> None:
    assert Load(0.3, 2).leaves(2) and Load(1.2, 2).leaves(1)
    assert not Load(1.2, 2).leaves(2)


def test_runs_of_a_study_that_start_together_make_one_choice(tmp_path: Path) -> None:
    decide = answers(*("float32", "bfloat16") * 4)
    (tmp_path / STUDY_RECORD).write_text("[]")
    found: list[tuple[dict[str, str], str]] = []

    def ask(name: str) -> None:
        found.append(decided_together(tmp_path, "precision", name, decide))

    threads = [threading.Thread(target=ask, args=(f"run-{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = found[0][1]
    assert found == [({"dtype": "float32"}, first)] * 4


def test_runs_that_belong_to_no_study_choose_for_themselves(tmp_path: Path) -> None:
    decide = answers("float32", "bfloat16")
    assert decided_together(tmp_path, "precision", "a", decide) == ({"dtype": "float32"}, "a")
    assert decided_together(tmp_path, "precision", "b", decide) == ({"dtype": "bfloat16"}, "b")
    assert not list(tmp_path.iterdir())
