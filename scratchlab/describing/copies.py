"""Copies among examples: told by their content, counted within splits and across them."""

from __future__ import annotations

from scratchlab.data.contract import Dataset
from scratchlab.data.splits.examples import RUN, runs, text_key
from scratchlab.table import Table

SEARCHED = 100_000_000  # characters; in more text no runs of words are looked for


Contents = dict[str, list[str | int]]
"""By split what a learner is shown of each example: texts, or hashes of values."""


def content_key(content: str | bytes | int) -> int:
    """Equal for contents that differ in case and punctuation at most."""
    return hash(text_key(content)) if isinstance(content, str) else hash(content)


def copies_in_train(dataset: Dataset, split: str) -> list[bool] | None:
    """Which examples [n] of a split have a copy in training; None: the data set does not tell."""
    train, found = dataset.contents("train"), dataset.contents(split)
    if train is None or found is None:
        return None
    known = {content_key(content) for content in train}
    return [content_key(content) in known for content in found]


def contents_of(dataset: Dataset) -> Contents:
    """The contents of all splits; none where the data set does not tell them."""
    found = {split: dataset.contents(split) for split in dataset.splits}
    return {
        split: [content if isinstance(content, str) else hash(content) for content in contents]
        for split, contents in found.items()
        if contents is not None
    }


def copies_table(contents: Contents, name: str) -> list[Table]:
    """Copies within each split, and of each in those that are learnt from or chosen by; no table
    if nothing is told. ``name`` is what a content is called ("rows")."""
    rows: list[list[str]] = []
    known: dict[str, set[int]] = {}
    trained: set[int] = set()
    texts = [content for of in contents.values() for content in of if isinstance(content, str)]
    searched = 0 < sum(map(len, texts)) < SEARCHED
    for split, found in contents.items():
        keys = [content_key(content) for content in found]
        distinct = set(keys)
        row = [split, f"{len(keys):,}", _share(len(keys) - len(distinct), len(keys))]
        for other in ("train", "val"):
            before = known.get(other)
            row.append("" if before is None else _share(sum(k in before for k in keys), len(keys)))
        if searched:
            found_runs = [runs(str(content)) for content in found]
            if split == "train":
                trained = set().union(*found_runs)
            shared = sum(not of_text.isdisjoint(trained) for of_text in found_runs)
            told = split != "train" and "train" in known
            row.append(_share(shared, len(keys)) if told else "")
        rows.append(row)
        known[split] = distinct
    columns = ["split", name, "copies within", "also in train", "also in val"]
    if searched:
        columns.append(f"share {RUN} words in a row with train")
    how = "case and punctuation aside" if texts else "equal in every value"
    return [Table(f"copies ({how})", columns, rows)] if rows else []


def _share(count: int, of: int) -> str:
    return f"{count:,} ({count / of:.1%})" if count else "0"
