"""What a person wants to know of sentence pairs: sizes, lengths, vocabulary, samples."""

from __future__ import annotations

import numpy as np

from scratchlab.data.batching.plans import Lengths
from scratchlab.data.kinds.pairs import PairDataset
from scratchlab.data.sources.locating import Located
from scratchlab.describing.checked import Checked, hash_table, leaks
from scratchlab.describing.copies import Contents, copies_table
from scratchlab.table import Table

SAMPLES = 3
# Below this the lengths of sentences and of their translations hardly go together.
LEAST_CORRELATION = 0.4
FEWEST_TO_JUDGE = 50
MOST_UNLIKE = 3  # times as long on average as its translation no text is


def verify_pairs(located: Located, longest: int) -> Checked:
    """Read all pairs; tables of what was read, with hashes, and what looks wrong.

    Nothing is tokenised: a sentence of more than ``longest`` words has more tokens than that.
    Lengths of sentences and of their translations go together; where they do not, the lines are
    probably shifted against each other even though the files have as many of them.
    """
    splits = located.read()
    rows, doubts = [], []
    contents: Contents = {
        s: [source for source, _ in splits[s]] for s in ("train", "val", "test") if s in splits
    }
    for name, pairs in splits.items():
        correlation = _correlation(pairs)
        shown = "cannot be judged" if correlation is None else f"{correlation:.2f}"
        long = sum(max(len(s.split()), len(t.split())) > longest for s, t in pairs)
        rows.append([name, f"{len(pairs):,}", f"{long:,}", shown])
        if correlation is not None and correlation < LEAST_CORRELATION:
            doubts.append(
                f"the lines of {name} may be shifted against each other: the lengths of the "
                f"sentences and of their translations hardly go together ({correlation:.2f})"
            )
    columns = ["split", "pairs", f"over {longest} words", "correlation of lengths"]
    tables = [
        hash_table(located.provenance),
        Table("splits", columns, rows),
        *copies_table(contents, "source sentences"),
    ]
    notes = [*located.notes, *doubts, *leaks(contents, "source sentences")]
    return Checked(tables, notes)


def _correlation(pairs: list[tuple[str, str]]) -> float | None:
    """Correlation of the lengths of both sides; None if there are too few pairs to tell, or if one
    side is no translation of the other (a summary)."""
    lengths = np.array([[len(s), len(t)] for s, t in pairs], dtype=float).reshape(-1, 2)
    if len(pairs) < FEWEST_TO_JUDGE or not lengths.std(axis=0).all():
        return None
    means = lengths.mean(axis=0)
    if means.max() > MOST_UNLIKE * means.min():
        return None
    return float(np.corrcoef(lengths.T)[0, 1])


def describe_pairs(dataset: PairDataset) -> list[Table]:
    """Tables about a prepared data set."""
    return [_split_table(dataset), _vocabulary_table(dataset), *_sample_tables(dataset)]


def _split_table(dataset: PairDataset) -> Table:
    rows = []
    for split in dataset.splits:
        if not dataset.has(split):
            continue
        source, target = dataset.lengths(split)
        rows.append(
            [
                split,
                f"{dataset.size(split):,}",
                _spread(source),
                _spread(target),
                f"{dataset.batch_count(split, seed=0, epoch=0):,}",
                f"{dataset.padding_share(split):.1%}",
            ]
        )
    columns = ["split", "pairs", "source tokens", "target tokens", "batches", "padding"]
    title = "splits (tokens: mean / median / 95 % / longest, sentence end included)"
    return Table(title, columns, rows)


def _spread(lengths: Lengths) -> str:
    middle, high = np.percentile(lengths, (50, 95))
    return f"{lengths.mean():.1f} / {middle:.0f} / {high:.0f} / {lengths.max()}"


def _vocabulary_table(dataset: PairDataset) -> Table:
    sides = {"source": dataset.source_tokenizer, "target": dataset.target_tokenizer}
    rows = []
    for side, tokenizer in sides.items():
        unknown = tokenizer.unk_id
        shares = [
            f"{split} {float(np.mean(dataset.ids(split)[side == 'target'].values == unknown)):.2%}"
            for split in dataset.splits
            if dataset.has(split) and unknown is not None
        ]
        rows.append([side, tokenizer.kind, f"{len(tokenizer):,}", ", ".join(shares)])
    title = "vocabulary, " + ("shared by both sides" if dataset.shared_vocabulary else "one a side")
    return Table(title, ["side", "tokens are", "size", "<unk>"], rows)


def _sample_tables(dataset: PairDataset) -> list[Table]:
    split = next(s for s in dataset.splits if dataset.has(s))
    count = dataset.size(split)
    rows = []
    for i in dict.fromkeys(np.linspace(0, count - 1, SAMPLES).astype(int).tolist()):
        source, target = dataset.sources(split)[i], dataset.references(split)[i]
        source_labels = dataset.source_tokens(dataset.encode_source(source))
        target_labels = dataset.target_tokens(dataset.encode_target(target))
        rows.append([str(i), source, " ".join(source_labels)])
        rows.append(["", target, " ".join(target_labels)])
    return [Table(f"sample pairs of {split}", ["number", "text", "tokens"], rows)]
