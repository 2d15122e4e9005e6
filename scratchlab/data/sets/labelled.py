"""Labelled texts: SST-2, movie reviews, a user's own."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np

from scratchlab.data.batching.cache import Arrays, cached, content_key, pack_text, unpack_text
from scratchlab.data.contract import DataContext, Provenance
from scratchlab.data.kinds.text_classes import (
    TENTHS,
    PartedOptions,
    TextClassDataset,
    TextClassOptions,
    parted,
)
from scratchlab.data.sources.hub import fingerprint
from scratchlab.data.sources.locating import Located, Splits, own_file, required_files
from scratchlab.data.sources.reading import sha256_of
from scratchlab.data.sources.two_columns import lines_in_latin, read_labelled
from scratchlab.data.splits.examples import text_key
from scratchlab.data.splits.folds import deal
from scratchlab.errors import UserError
from scratchlab.registry import option, register

SST2 = ("sst2/train.tsv.gz", "sst2/dev.tsv", "sst2/test.tsv")


@register(
    "dataset",
    "sst2",
    task="classification",
    also=("masked_lm",),
    sources=("files",),
    holds=("texts",),
    files=SST2,
    origin="https://gluebenchmark.com (SST-2; test.tsv is its dev set)",
)
class SST2Data(TextClassDataset):
    """Stanford Sentiment Treebank, two classes (Socher et al. 2013), in GLUE's form.

    The test split is GLUE's dev set, 872 sentences. Validation phrases that stand in training, case
    and punctuation aside, are left out (1,553 of 6,735).
    """

    @dataclass(frozen=True)
    class Config(TextClassOptions):
        pass

    class_titles = {"0": "negative", "1": "positive"}

    @classmethod
    def locate(cls, config: Any, context: DataContext) -> Located:
        files = required_files(cls.registered_facts, context)
        found = Located(files.provenance, lambda: read())

        def read() -> Splits:
            splits = {
                split: read_labelled(path, "sentence", "label", found.notes)
                for split, path in zip(cls.splits, files.paths.values(), strict=True)
            }
            trained = {text_key(text) for text, _ in splits["train"]}
            # Phrases are parts of sentences and come back: what is known by heart chooses nothing.
            unseen = [row for row in splits["val"] if text_key(row[0]) not in trained]
            if left_out := len(splits["val"]) - len(unseen):
                found.notes.append(
                    f"{left_out:,} phrases of val left out, since they stand in train"
                )
            return {**splits, "val": unseen}

        return found


@register(
    "dataset",
    "mr",
    task="classification",
    also=("masked_lm",),
    sources=("files",),
    holds=("texts",),
    files=("mr_polarity/rt-polarity.neg", "mr_polarity/rt-polarity.pos"),
    origin="https://www.cs.cornell.edu/people/pabo/movie-review-data (rt-polaritydata)",
)
class MovieReviews(TextClassDataset):
    """10,662 sentences of movie reviews, half of them positive (Pang & Lee 2005), split 8:1:1."""

    @dataclass(frozen=True)
    class Config(PartedOptions):
        pass

    @classmethod
    def locate(cls, config: Any, context: DataContext) -> Located:
        files = required_files(cls.registered_facts, context)
        found = Located(files.provenance, lambda: read())

        def read() -> Splits:
            rows = [
                (line.strip(), label)
                for label, path in zip(("negative", "positive"), files.paths.values(), strict=True)
                for line in lines_in_latin(path, found.notes)
                if line.strip()
            ]
            return parted(rows, config, context)

        return found


@register(
    "dataset",
    "docstring_topics",
    task="classification",
    also=("masked_lm",),
    sources=("embedded",),
    holds=("texts",),
)
class DocstringTopics(TextClassDataset):
    """Which of twenty packages a docstring is of: Python, NumPy, SciPy, scikit-learn; built in.

    The docstrings' prose up to the first example, without the libraries' names. Near copies,
    which share three tenths of their runs of five words, are in one split.
    """

    @dataclass(frozen=True)
    class Config(PartedOptions):
        pass

    @classmethod
    def locate(cls, config: Any, context: DataContext) -> Located:
        from scratchlab.data.generated.docstring_topics import LIBRARIES, VERSION

        versions = {name: version(name) for name in LIBRARIES}
        key = content_key(topics=VERSION, python=sys.version, **versions)
        arrays = cached(context.cache, "docstring_topics", key, _topic_arrays)
        texts, packages = (
            unpack_text(arrays[name], arrays[f"{name}_offsets"]) for name in ("texts", "packages")
        )
        rows = list(zip(texts, packages, strict=True))
        group = config.duplicates == "group"
        keys = arrays["groups"].tolist() if group else list(range(len(rows)))
        described = f"docstrings of Python {sys.version.split()[0]}, NumPy, SciPy and scikit-learn"
        provenance = Provenance("embedded", described, {"texts": fingerprint(rows)})

        def read() -> Splits:
            if config.folds is not None:
                return parted(rows, config, context, keys=keys)
            # Some packages are small: classes alike many, which a random draw does not give.
            seed = context.seed if config.split_seed is None else config.split_seed
            dealt = deal(keys, packages, 10, seed).tolist()
            homes = {8: "val", 9: "test"}
            splits: Splits = {"train": [], "val": [], "test": []}
            for row, tenth in zip(rows, dealt, strict=True):
                splits[homes.get(tenth, "train")].append(row)
            return splits

        return Located(provenance, read)


def _topic_arrays() -> Arrays:
    """Texts, packages and groups of near copies, as they are kept between runs."""
    from scratchlab.data.generated.docstring_topics import docstring_topics

    texts, packages, groups = zip(*docstring_topics(), strict=True)
    arrays: Arrays = {"groups": np.array(groups, dtype=np.int64)}
    for name, side in (("texts", texts), ("packages", packages)):
        arrays[name], arrays[f"{name}_offsets"] = pack_text(side)
    return arrays


@register(
    "dataset",
    "text_classification",
    task="classification",
    also=("masked_lm",),
    sources=("files",),
    holds=("texts",),
)
class OwnTextClasses(TextClassDataset):
    """Your own labelled texts: CSV, TSV or JSONL with a column of text and one of classes, or files
    called .label, whose lines are CLASS:sub and a text (as the TREC questions are).

    Whole numbers are one class however they are written (1, 1.0); true and false must not stand
    beside other classes. Rows without text are left out and counted, those without a class refused.
    """

    @dataclass(frozen=True)
    class Config(PartedOptions):
        path: str | None = option(
            None, "file to train on (split 8:1:1 without the others)", path="data"
        )
        val_path: str | None = option(
            None, "file to validate on; null: a tenth of path", path="data"
        )
        test_path: str | None = option(None, "file to test on; null: a tenth of path", path="data")
        text_column: str = option("text", "column that holds the text")
        label_column: str = option("label", "column that holds the class")
        fine_classes: bool = option(
            False, "of .label files: CLASS:sub is the class; false: CLASS alone"
        )

        RULES: ClassVar[tuple[tuple[str, str], ...]] = (
            (
                "folds is None or (val_path is None and test_path is None)",
                "folds are of all texts in path: leave val_path and test_path",
            ),
        )

    @classmethod
    def locate(cls, config: Any, context: DataContext) -> Located:
        if config.path is None:
            raise UserError(
                "text_classification needs to know your texts",
                "Give dataset.path=FILE (CSV, TSV or JSONL).",
            )
        named = {"train": config.path, "val": config.val_path, "test": config.test_path}
        paths = {s: own_file(p, context.root) for s, p in named.items() if p is not None}
        hashes = {str(p): sha256_of(p) for p in paths.values()}
        found = Located(Provenance("files", "your files", hashes), lambda: read())

        def read() -> Splits:
            columns = (config.text_column, config.label_column)
            of_file = {
                p: read_labelled(p, *columns, found.notes, fine=config.fine_classes)
                for p in dict.fromkeys(paths.values())
            }
            splits = {s: list(of_file[p]) for s, p in paths.items()}
            shares = {split: share for split, share in TENTHS.items() if split not in splits}
            if shares:
                splits |= parted(splits["train"], config, context, shares)
            return splits

        return found
