"""Files that are whole JSON but hold something of another type: refused with their key, or, of the
cache, made again."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchlab.data.batching.token_shards import prepared, write_shards
from scratchlab.errors import UserError
from scratchlab.evaluation.contract import Measurement
from scratchlab.reporting.results import RESULTS, read_results, write_results

WRONG: tuple[Any, ...] = (None, True, 7, "text", [1], {"a": 1})


@pytest.mark.parametrize("key", ["name", "value", "n", "low", "unit", "settings", "timing"])
def test_a_result_of_another_type_is_refused_with_its_file_and_key(
    tmp_path: Path, key: str
) -> None:
    write_results(tmp_path, [Measurement("bleu", 30.5, n=10, low=29.0, high=32.0)])
    (good,) = json.loads((tmp_path / RESULTS).read_text())
    refused = 0
    for wrong in WRONG:
        (tmp_path / RESULTS).write_text(json.dumps([{**good, key: wrong}]))
        try:
            read_results(tmp_path)
        except UserError as error:
            assert error.exit_code == 2
            assert f"{tmp_path / RESULTS}: 0.{key}" in str(error) and "\n" not in error.message
            refused += 1
    assert refused >= 4


@pytest.mark.parametrize("content", ["null", "7", '{"a": 1}', '["a"]', "[[]]"])
def test_results_that_are_no_list_of_results_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / RESULTS).write_text(content)
    with pytest.raises(UserError, match=RESULTS):
        read_results(tmp_path)


def test_an_index_of_token_shards_with_a_wrong_type_is_made_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ids = np.arange(50)

    def build(folder: Path) -> dict[str, Any]:
        return {"splits": {"train": write_shards(folder, "train", [ids], 100)}, "lines": 3}

    index = prepared(tmp_path, "text", "k", build).folder / "index.json"
    whole = json.loads(index.read_text())
    (file,) = whole["splits"]["train"]
    damaged = [w for w in WRONG if not isinstance(w, dict)]
    damaged += [{**whole, "splits": w} for w in WRONG]
    damaged += [{**whole, "splits": {"train": w}} for w in WRONG]
    damaged += [{**whole, "splits": {"train": [{**file, k: w}]}} for k in file for w in WRONG]
    with caplog.at_level(logging.WARNING):
        for number, content in enumerate(damaged, 1):
            index.write_text(json.dumps(content))
            again = prepared(tmp_path, "text", "k", build)
            assert again.splits["train"].all().tolist() == ids.tolist(), content
            assert len(caplog.records) == number, content
    index.with_name(file["name"]).write_bytes(b"")
    assert len(prepared(tmp_path, "text", "k", build).splits["train"]) == 50
