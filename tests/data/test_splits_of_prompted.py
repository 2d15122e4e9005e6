"""Prompts with answers: what is tested on is neither trained on nor validated on."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from scratchlab.data.contract import DataContext
from scratchlab.data.sets.instructions import Instructions
from scratchlab.data.sets.summaries import CNNDailyMail, news_pairs
from scratchlab.data.splits.examples import text_key


def jsonl(path: Path, prompts: list[str]) -> str:
    rows = [json.dumps({"prompt": p, "response": f"answer to {p}"}) for p in prompts]
    path.write_text("\n".join(rows) + "\n")
    return str(path)


def splits(tmp_path: Path, **options: Any) -> dict[str, list[str]]:
    located = Instructions.locate(Instructions.Config(**options), DataContext(None, tmp_path))
    return {s: [text for text, _ in found] for s, found in located.read().items()}


def test_instructions_of_one_file_have_three_splits_that_share_no_prompt(tmp_path: Path) -> None:
    prompts = [f"What is {i}?" for i in range(100)] + [f"what is {i}" for i in range(100)]
    found = splits(tmp_path, path=jsonl(tmp_path / "a.jsonl", prompts))
    keys = {s: {text_key(text) for text in texts} for s, texts in found.items()}
    assert sum(map(len, found.values())) == 200 and min(map(len, found.values())) >= 10
    assert not keys["test"] & keys["val"]
    assert not (keys["test"] | keys["val"]) & keys["train"]


def test_with_a_file_to_validate_on_the_test_is_a_tenth_of_the_training_file(
    tmp_path: Path,
) -> None:
    train = jsonl(tmp_path / "a.jsonl", [f"train {i}" for i in range(50)])
    val = jsonl(tmp_path / "b.jsonl", [f"val {i}" for i in range(7)])
    found = splits(tmp_path, path=train, val_path=val)
    assert {s: len(texts) for s, texts in found.items()} == {"train": 45, "val": 7, "test": 5}
    assert found["val"] == [f"val {i}" for i in range(7)]
    assert sorted(found["train"] + found["test"]) == sorted(f"train {i}" for i in range(50))


def test_an_article_that_is_trained_on_is_not_validated_on(tmp_path: Path) -> None:
    for name, count in (("train", 40), ("test", 3)):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["article", "highlights"])
            # The last article of the training file is its first one again.
            rows.writerows([f"{name} article {i % 39}", "highlights"] for i in range(count))
    config = CNNDailyMail.Config(
        source="files", train_file="train.csv", test_file="test.csv", val_share=0.1
    )
    facts = CNNDailyMail.registered_facts
    found = news_pairs(facts, config, DataContext(tmp_path, tmp_path)).read()
    assert {s: len(pairs) for s, pairs in found.items()} == {"train": 37, "val": 3, "test": 3}
    assert found["train"][-1] == found["train"][0]
