"""What a person wants to know of text for language models: sizes, vocabulary, samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from scratchlab.data.kinds.prompted import PromptedDataset
from scratchlab.data.kinds.questions import QuestionDataset
from scratchlab.data.kinds.running_text import RunningText
from scratchlab.data.kinds.spans import SpanDataset
from scratchlab.data.kinds.text_classes import TextClassDataset
from scratchlab.table import Table

SAMPLE_TOKENS = 60
FREQUENT = 12
FEW_CLASSES = 6  # more of them have a table of their own


def describe_running_text(dataset: RunningText) -> list[Table]:
    """Splits, vocabulary with its most frequent tokens, and how each split begins."""
    rows, samples = [], []
    tokenizer = dataset.tokenizer
    counts = np.zeros(len(tokenizer), dtype=np.int64)
    for split in dataset.splits:
        shards = dataset.tokens(split)
        found = np.zeros(len(tokenizer), dtype=np.int64)
        for array in shards.arrays:  # one file at a time: a corpus need not fit into memory
            found += np.bincount(array, minlength=len(tokenizer))
        counts += found if split == "train" else 0
        unknown = "" if tokenizer.unk_id is None else f"{found[tokenizer.unk_id] / len(shards):.2%}"
        lines = "" if tokenizer.line_end_id is None else f"{found[tokenizer.line_end_id]:,}"
        batches = dataset.batch_count(split, seed=0, epoch=0)
        rows.append([split, f"{len(shards):,}", lines, unknown, f"{batches:,}"])
        begin = dataset.decode(shards.slice(0, min(SAMPLE_TOKENS, len(shards))).tolist())
        samples.append([split, begin])
    frequent = [int(i) for i in np.argsort(-counts, kind="stable")[:FREQUENT]]
    return [
        Table("splits", ["split", f"{tokenizer.unit}s", "lines", "<unk>", "batches"], rows),
        _vocabulary(tokenizer.kind, len(tokenizer), tokenizer.labels(frequent)),
        Table("how each split begins", ["split", "text"], samples),
    ]


def describe_spans(dataset: SpanDataset) -> list[Table]:
    """Splits, vocabulary, and examples as they are in two epochs."""
    rows = [
        [
            split,
            f"{dataset.size(split):,}",
            f"{dataset.drawn(split, seed=0, epoch=0).length.mean():.1f}",
            f"{dataset.batch_count(split, seed=0, epoch=0):,}",
            f"{dataset.padding_share(split):.1%}",
        ]
        for split in dataset.splits
    ]
    samples = [
        [str(epoch), dataset.example("train", index, epoch=epoch).rstrip("□")]
        for index in (0, dataset.size("train") // 2)
        for epoch in (0, 1)
    ]
    columns = ["split", "documents", "mean length", "batches", "padding"]
    return [
        Table("splits", columns, rows),
        _vocabulary(
            dataset.tokenizer.kind,
            len(dataset.tokenizer),
            dataset.token_labels(list(range(min(2 * FREQUENT, len(dataset.tokenizer))))),
        ),
        Table("examples of train", ["epoch", "text"], samples),
    ]


def describe_questions(dataset: QuestionDataset) -> list[Table]:
    """Splits with the score of the constant answer, frequent answers, and questions."""
    rows, constant = [], dataset.constant_answer
    for split in dataset.splits:
        answers = dataset.answers(split)
        share = sum(answer == constant for answer in answers) / len(answers)
        rows.append([split, f"{len(answers):,}", f"{len(set(answers)):,}", f"{share:.1%}"])
    common = Counter(dataset.answers("train")).most_common(FREQUENT)
    samples = list(zip(dataset.questions("train"), dataset.answers("train"), strict=True))[:3]
    return [
        Table("splits", ["split", "questions", "different answers", f"always {constant}"], rows),
        Table("frequent answers of train", ["answer", "times"], [[a, str(n)] for a, n in common]),
        Table("questions of train", ["question", "answer"], [list(pair) for pair in samples]),
    ]


def describe_labelled(dataset: TextClassDataset) -> list[Table]:
    """Splits with the balance of classes, lengths and what is cut, and a text of each class."""
    rows = []
    counts = {split: dataset.class_counts(split) for split in dataset.splits}
    names = sorted({name for of_split in counts.values() for name in of_split})
    shown = {
        (split, name): f"{n:,} ({n / dataset.size(split):.1%})"
        for split, of_split in counts.items()
        for name, n in of_split.items()
    }
    for split in dataset.splits:
        lengths = np.array([dataset.length(text) for text in dataset.texts(split)])
        shares = f"{len(counts[split])} classes"
        if len(names) <= FEW_CLASSES:
            shares = ", ".join(f"{name}: {shown[split, name]}" for name in sorted(counts[split]))
        middle, longest = np.median(lengths), lengths.max()
        cut = np.mean(lengths > dataset.config.max_length)
        rows.append(
            [split, f"{len(lengths):,}", shares, f"{lengths.mean():.1f} / {middle:.0f} / {longest}",
             f"{cut:.1%}"]
        )  # fmt: skip
    columns = ["split", "texts", "texts of each class", "tokens: mean / median / longest", "cut"]
    samples = []
    for name in dataset.class_counts("train"):
        text = next(t for t, label in dataset.labelled("train") if label == name)
        samples.append([name, text[:300]])
    tables = [Table(f"splits (cut: longer than {dataset.config.max_length} tokens)", columns, rows)]
    if len(names) > FEW_CLASSES:
        of_each = [[name, *(shown.get((s, name), "0") for s in dataset.splits)] for name in names]
        tables.append(Table("texts of each class", ["class", *dataset.splits], of_each))
    return [*tables, Table("a text of each class", ["class", "text"], samples[:FREQUENT])]


def describe_prompted(dataset: PromptedDataset) -> list[Table]:
    """Sizes, lengths, how much is cut and padded, and an example of each split."""
    rows, samples = [], []
    for split in dataset.splits:
        encoded = dataset.encoded(split)
        prompts = np.array([len(e.prompt) for e in encoded])
        answers = np.array([len(e.answer) for e in encoded])
        cut = sum(e.cut for e in encoded) / len(encoded)
        rows.append(
            [split, f"{len(encoded):,}", f"{prompts.mean():.1f}", f"{answers.mean():.1f}",
             f"{cut:.1%}", f"{dataset.padding_share(split):.1%}"]
        )  # fmt: skip
        first = dataset.cases(split)[0]
        samples.append([split, first.text[:300], first.answer[:300]])
    columns = ["split", "examples", "prompt tokens", "answer tokens", "cut", "padding"]
    return [
        Table("splits", columns, rows),
        Table("the first example of each split", ["split", "text", "answer"], samples),
    ]


def _vocabulary(kind: str, size: int, labels: Sequence[Any]) -> Table:
    return Table(
        "vocabulary", ["tokens are", "size", "among them"], [[kind, f"{size:,}", " ".join(labels)]]
    )
