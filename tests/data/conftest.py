"""Small real data for the tests of data sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from scratchlab.data.contract import DataContext
from scratchlab.data.generated.phrasebook import corpus as phrasebook

PAIRS = phrasebook.generate(3, 300, 20, 20)


@pytest.fixture
def context(tmp_path: Path) -> DataContext:
    """An empty folder of data files and an empty cache."""
    root = tmp_path / "data"
    root.mkdir()
    return DataContext(root, tmp_path / "cache")


@pytest.fixture
def multi30k_files(context: DataContext) -> Path:
    """Files in the layout of multi30k_en_fr, unpacked, with sentences of the phrasebook."""
    assert context.root is not None
    folder = context.root / "multi30k"
    folder.mkdir()
    for split, stem in (("train", "train"), ("val", "val"), ("test", "test_2016_flickr")):
        for side, language in enumerate(("en", "fr")):
            lines = [pair[side] for pair in PAIRS[split]]
            (folder / f"{stem}.{language}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
