"""A choice made by measuring is made once: equal commands then train in the same arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from scratchlab.run.decisions import cache_folder, decided_once


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
