"""What is wrong with a data set that was read, and what looks wrong but may be right."""

from __future__ import annotations

from dataclasses import dataclass, field

from scratchlab.data.contract import Dataset, Provenance
from scratchlab.describing.copies import Contents, content_key
from scratchlab.errors import UserError
from scratchlab.table import Table

LEAK = 0.01  # share of a split's examples with a copy in training from which on it is said


@dataclass
class Checked:
    """Tables of what was read, what may be wrong (notes), and what certainly is (faults)."""

    tables: list[Table]
    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def hash_table(provenance: Provenance) -> Table:
    """Where data was read and what it hashes to."""
    rows = [[name, digest] for name, digest in provenance.sha256.items()]
    return Table(f"read from {provenance.kind}: {provenance.description}", ["what", "sha256"], rows)


def unreadable(dataset: Dataset) -> list[str]:
    """Splits that cannot be made into batches: an answer that does not fit, a letter unknown."""
    faults = []
    for split in dataset.splits:
        try:
            dataset.batch_count(split, seed=0, epoch=0)
        except UserError as error:
            faults.append(" ".join(filter(None, (error.message, error.hint))))
    return faults


def unknown_classes(dataset: Dataset) -> list[str]:
    """Classes that are asked for and not learnt."""
    found = {split: dataset.class_counts(split) for split in dataset.splits}
    learnt = found["train"]
    return [
        f"{dataset.size(split):,} {dataset.content_name} of {split}: {count:,} have the class "
        f"{name!r}, which training has not seen"
        for split, counts in found.items()
        for name, count in counts.items()
        if learnt and name not in learnt
    ]


def empty(contents: Contents, name: str) -> list[str]:
    """Splits with texts of white space only."""
    notes = []
    for split, found in contents.items():
        blank = sum(isinstance(content, str) and not content.strip() for content in found)
        if blank:
            notes.append(f"{blank:,} of {len(found):,} {name} of {split} are empty")
    return notes


def leaks(contents: Contents, name: str) -> list[str]:
    """A note on the splits that measure memory: their examples stand in training."""
    known = {content_key(content) for content in contents.get("train", [])}
    parts = []
    for split, found in contents.items():
        copies = sum(content_key(content) in known for content in found)
        if split != "train" and copies > LEAK * len(found):
            parts.append(f"{copies:,} of {len(found):,} {name} of {split}")
    if not parts:
        return []
    listed = " and ".join(parts)
    return [f"{listed} stand in train as well: scores on them are scores of memory"]
