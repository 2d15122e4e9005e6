"""What a shared cache gives is what a fresh one gives, whatever was prepared in it before."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from scratchlab.data.batching.cache import content_key
from scratchlab.data.contract import Dataset
from scratchlab.data.sources.hub import fingerprint
from scratchlab.registry import parts
from tests.support.kinds import build, variants, write_files


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_files(tmp_path_factory.mktemp("kinds") / "files")


def given(dataset: Dataset, folder: Path) -> dict[str, Any]:
    """All that training and evaluation take from a data set."""
    folder.mkdir()
    dataset.save_vocabulary(folder)
    facts: dict[str, Any] = {
        "spec": dataset.spec.as_dict(),
        "provenance": vars(dataset.provenance),
        "notes": list(getattr(dataset, "notes", [])),
        "vocabulary": {p.name: p.read_bytes() for p in sorted(folder.iterdir())},
    }
    for split in dataset.splits:
        facts[f"{split} size"] = dataset.size(split)
        facts[split] = [
            {f.name: _plain(getattr(batch, f.name)) for f in dataclasses.fields(batch)}
            for batch in dataset.batches(split, seed=1, epoch=2)
        ]
    return facts


def _plain(value: Any) -> Any:
    return None if value is None else value.tolist()


def test_every_kind_of_data_set_gets_its_own_from_a_shared_cache(
    files: Path, tmp_path: Path
) -> None:
    chosen = variants(files)
    for turn in ("prepared", "taken"):
        for number, (name, options) in enumerate(chosen):
            fresh = tmp_path / f"fresh {number}"
            shared = build(name, options, files, tmp_path / "shared")
            found = given(shared, tmp_path / f"{turn} {number}")
            wanted = given(build(name, options, files, fresh), tmp_path / f"{turn} fresh {number}")
            assert found == wanted, (turn, name, options)


def test_every_registered_data_set_is_of_a_kind_that_is_walked(files: Path) -> None:
    walked = {parts("dataset")[name].load() for name, _ in variants(files)}
    kinds = {base for cls in walked for base in cls.__mro__ if _is_kind(base)}
    for name, part in parts("dataset").items():
        assert kinds & set(part.load().__mro__), f"{name}: add its kind to tests/support/kinds.py"


def _is_kind(base: type) -> bool:
    return issubclass(base, Dataset) and base.__module__ != Dataset.__module__


def test_a_key_tells_the_split_and_the_order_of_files() -> None:
    keys = {
        content_key(data={"train": ["a", "b"]}),
        content_key(data={"train": ["b", "a"]}),
        content_key(data={"train": ["a", "b", "b"]}),
        content_key(data={"train": ["a"], "val": ["b"]}),
        content_key(data={"train": ["b"], "val": ["a"]}),
    }
    assert len(keys) == 5


def test_pairs_with_tabs_and_newlines_are_not_taken_for_others() -> None:
    assert fingerprint([("a\tb", "c")]) != fingerprint([("a", "b\tc")])
    assert fingerprint([("a", "b"), ("c", "d")]) != fingerprint([("a", "b\nc\td")])
    assert fingerprint([("a\\tb", "c")]) != fingerprint([("a\tb", "c")])
