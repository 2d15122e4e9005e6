"""Labelled texts: SST-2, movie reviews, a user's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from scratchlab.data.contract import DataContext, Provenance
from scratchlab.data.kinds.text_classes import (
    TENTHS,
    PartedOptions,
    TextClassDataset,
    TextClassOptions,
    parted,
)
from scratchlab.data.sources.hub import HubSet, fingerprint
from scratchlab.data.sources.locating import (
    Located,
    SourceOptions,
    Splits,
    by_hand,
    locate,
    own_file,
)
from scratchlab.data.sources.pair_files import write_lines
from scratchlab.data.sources.reading import sha256_of
from scratchlab.data.sources.two_columns import (
    Labelled,
    class_folders,
    labelled_folders,
    lines_in_latin,
    load_hub_labelled,
    read_labelled,
)
from scratchlab.data.splits.examples import split_off, text_key
from scratchlab.errors import UserError
from scratchlab.registry import option, register
from scratchlab.regular_files import expanded

POLARITIES = ("negative", "positive")
MR = ("mr_polarity/rt-polarity.neg", "mr_polarity/rt-polarity.pos")
NO_FILES = "See `scratchlab data describe NAME` for the files that are wanted, and where from."
SST2 = ("sst2/train.tsv.gz", "sst2/dev.tsv", "sst2/test.tsv")


@register(
    "dataset",
    "sst2",
    task="classification",
    also=("masked_lm",),
    sources=("files", "hub"),
    holds=("texts",),
    files=SST2,
    hub="stanfordnlp/sst2",
    origin="https://gluebenchmark.com (SST-2; test.tsv is its dev set)",
)
class SST2Data(TextClassDataset):
    """Stanford Sentiment Treebank, two classes (Socher et al. 2013), in GLUE's form.

    The test split is GLUE's dev set, 872 sentences. Validation phrases that stand in training, case
    and punctuation aside, are left out (1,553 of 6,735). Of the hub's copy, a tenth of its training
    phrases is validated on.
    """

    @dataclass(frozen=True)
    class Config(SourceOptions, TextClassOptions):
        hub_id: str = option(
            "stanfordnlp/sst2", "data set on the hub, or a folder of its form", path="name"
        )
        hub_config: str | None = option(None, "configuration of that data set")

    class_titles = {"0": "negative", "1": "positive"}

    @classmethod
    def locate(cls, config: Any, context: DataContext) -> Located:
        files = locate(cls.registered_facts, config, context)
        if files is None:
            splits = cls._of_hub(config, by_hand(cls.registered_facts, context.root))
            found = of_hub(config, splits, lambda: read())
        else:
            paths = files.paths.values()
            found = Located(files.provenance, lambda: read())

        def read() -> Splits:
            raw = (
                splits
                if files is None
                else {
                    split: read_labelled(path, "sentence", "label", found.notes)
                    for split, path in zip(cls.splits, paths, strict=True)
                }
            )
            trained = {text_key(text) for text, _ in raw["train"]}
            # Phrases are parts of sentences and come back: what is known by heart chooses nothing.
            unseen = [row for row in raw["val"] if text_key(row[0]) not in trained]
            if left_out := len(raw["val"]) - len(unseen):
                found.notes.append(
                    f"{left_out:,} phrases of val left out, since they stand in train"
                )
            return {**raw, "val": unseen}

        return found

    @classmethod
    def _of_hub(cls, config: Any, advice: str) -> Splits:
        """The hub's copy: its validation split is the test, since its test has no classes."""
        raw = load_hub_labelled(HubSet.of(config, "sentence", "label"), advice)
        names = {"negative": "0", "neg": "0", "positive": "1", "pos": "1"}
        train, test = ([(t, names.get(c, c)) for t, c in raw.get(s, [])] for s in ("train", "val"))
        chosen = split_off(range(len(train)), {"val": 0.1})
        return {s: [train[i] for i in numbers] for s, numbers in chosen.items()} | {"test": test}

    @classmethod
    def fetch(cls, config: Any, root: Path) -> list[Path]:
        """Write the hub's copy into the layout of the files; returns what was written."""
        splits = cls._of_hub(config, NO_FILES)
        written = []
        for split, name in zip(cls.splits, SST2, strict=True):
            lines = (f"{' '.join(text.split())}\t{label}" for text, label in splits[split])
            path = root / f"{name.removesuffix('.gz')}.gz"
            write_lines(path, ["sentence\tlabel", *lines])
            written.append(path)
        return written


@register(
    "dataset",
    "mr",
    task="classification",
    also=("masked_lm",),
    sources=("files", "hub"),
    holds=("texts",),
    files=MR,
    hub="cornell-movie-review-data/rotten_tomatoes",
    origin="https://www.cs.cornell.edu/people/pabo/movie-review-data (rt-polaritydata)",
)
class MovieReviews(TextClassDataset):
    """10,662 sentences of movie reviews, half of them positive (Pang & Lee 2005), split 8:1:1."""

    @dataclass(frozen=True)
    class Config(SourceOptions, PartedOptions):
        hub_id: str = option(
            "cornell-movie-review-data/rotten_tomatoes",
            "data set on the hub, or a folder of its form",
            path="name",
        )
        hub_config: str | None = option(None, "configuration of that data set")

    @classmethod
    def locate(cls, config: Any, context: DataContext) -> Located:
        files = locate(cls.registered_facts, config, context)
        if files is None:
            rows = cls._of_hub(config, by_hand(cls.registered_facts, context.root))
            return of_hub(config, {"all": rows}, lambda: parted(rows, config, context))
        paths = dict(zip(POLARITIES, files.paths.values(), strict=True))
        found = Located(files.provenance, lambda: read())

        def read() -> Splits:
            rows = [
                (line.strip(), label)
                for label, path in paths.items()
                for line in lines_in_latin(path, found.notes)
                if line.strip()
            ]
            return parted(rows, config, context)

        return found

    @classmethod
    def _of_hub(cls, config: Any, advice: str) -> Labelled:
        """All sentences of the hub's copy, which has another division: first the negative ones."""
        raw = load_hub_labelled(HubSet.of(config, "text", "label"), advice)
        names = {"neg": "negative", "0": "negative", "pos": "positive", "1": "positive"}
        rows = [(text, names.get(c, c)) for part in raw.values() for text, c in part]
        return [row for polarity in POLARITIES for row in rows if row[1] == polarity]

    @classmethod
    def fetch(cls, config: Any, root: Path) -> list[Path]:
        """Write the hub's copy into the layout of the files; returns what was written."""
        rows = cls._of_hub(config, NO_FILES)
        written = []
        for polarity, name in zip(POLARITIES, MR, strict=True):
            write_lines(root / f"{name}.gz", (text for text, label in rows if label == polarity))
            written.append(root / f"{name}.gz")
        return written


def of_hub(config: Any, splits: Splits, read: Callable[[], Splits]) -> Located:
    """What was loaded of the hub's copy, since only its content can be hashed."""
    hashes = {split: fingerprint(rows) for split, rows in splits.items()}
    return Located(Provenance("hub", HubSet.of(config, "text", "label").description, hashes), read)


@register(
    "dataset",
    "text_classification",
    task="classification",
    also=("masked_lm",),
    sources=("files", "hub"),
    holds=("texts",),
)
class OwnTextClasses(TextClassDataset):
    """Your own labelled texts: CSV, TSV or JSONL with a column of text and one of classes; files
    called .label, whose lines are CLASS:sub and a text (as the TREC questions are); a folder with a
    folder of text files for each class; or a data set of the hub.

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
        hub_id: str | None = option(
            None, "in place of files: a data set of the hub, or a folder of its form", path="name"
        )
        hub_config: str | None = option(None, "configuration of that data set")
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
        if config.hub_id is not None:
            where = HubSet.of(config, config.text_column, config.label_column)
            splits = load_hub_labelled(where, "Or give files of your own: dataset.path=FILE.")
            return of_hub(config, splits, lambda: whole(dict(splits), config, context))
        if config.path is None:
            raise UserError(
                "text_classification needs to know your texts",
                "Give dataset.path=FILE (CSV, TSV, JSONL, a folder of folders) or dataset.hub_id.",
            )
        named = {"train": config.path, "val": config.val_path, "test": config.test_path}
        paths = {s: own_texts(p, context.root) for s, p in named.items() if p is not None}
        hashes = {str(f): sha256_of(f) for p in paths.values() for f in files_of(p)}
        found = Located(Provenance("files", "your files", hashes), lambda: read())

        def read() -> Splits:
            columns = (config.text_column, config.label_column)
            of_file = {
                p: labelled_folders(p, found.notes)
                if p.is_dir()
                else read_labelled(p, *columns, found.notes, fine=config.fine_classes)
                for p in dict.fromkeys(paths.values())
            }
            return whole({s: list(of_file[p]) for s, p in paths.items()}, config, context)

        return found


def whole(splits: Splits, config: Any, context: DataContext) -> Splits:
    """The splits that there are, with those that are missing split off the training texts."""
    if config.folds is not None and len(splits) > 1:
        raise UserError(
            f"dataset.folds: the texts have splits of their own ({', '.join(splits)})",
            "Leave dataset.folds=null, or give all texts as one.",
        )
    if "train" not in splits:
        raise UserError(f"no split to train on, only {', '.join(splits)}")
    shares = {split: share for split, share in TENTHS.items() if split not in splits}
    return splits | parted(splits["train"], config, context, shares) if shares else splits


def own_texts(name: str, root: Path | None) -> Path:
    """A user's file, or folder of folders."""
    places = [expanded(name).absolute(), *([root / name] if root else [])]
    return next((p for p in places if p.is_dir()), None) or own_file(name, root)


def files_of(path: Path) -> list[Path]:
    """The file itself, or every text file of a folder of folders."""
    return [path] if path.is_file() else [f for _, files in class_folders(path) for f in files]
