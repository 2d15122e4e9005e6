"""Data sets of sentence pairs: where each one's text comes from, and its options."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from scratchlab.data.contract import DataContext, Provenance
from scratchlab.data.hub import HubText, fingerprint, load_hub_pairs
from scratchlab.data.pairs import Located, PairDataset
from scratchlab.data.sources import (
    Splits,
    align,
    find_file,
    read_columns,
    read_text,
    sha256_of,
)
from scratchlab.data.splitting import split_by_source
from scratchlab.errors import UserError
from scratchlab.registry import option, register


@dataclass(frozen=True)
class TextOptions:
    """How sentence pairs become batches of ids."""

    tokenizer: str = option(
        "bpe",
        "bpe: pieces of words; word: lower-cased words; char: characters",
        choices=("bpe", "word", "char"),
    )
    vocab_size: int = option(8000, "largest number of tokens, special ones included", min=5)
    min_frequency: int = option(2, "rarer words, characters or merges get no token", min=1)
    shared_vocabulary: bool = option(True, "one vocabulary for both languages")
    bpe_dropout: float = option(
        0.0, "chance to leave out a merge in training (Provilkov et al., 2020)", min=0, below=1
    )
    max_length: int = option(128, "most tokens of a sentence, sentence end included", min=2)
    too_long: str = option(
        "drop", "training pairs beyond max_length: drop or truncate", choices=("drop", "truncate")
    )
    batch_tokens: int = option(
        4096, "most source and target positions of a batch, padding included", min=1
    )
    eval_batch_tokens: int | None = option(
        None, "the same for val and test; null takes batch_tokens", min=1
    )
    pool_size: int = option(
        30000, "pairs that are sorted by length together: fewer is more random, pads more", min=1
    )
    max_train_examples: int | None = option(None, "train on so many pairs only", min=1)
    max_val_examples: int | None = option(None, "validate on so many pairs only", min=1)
    max_test_examples: int | None = option(None, "test on so many pairs only", min=1)
    reverse: bool = option(False, "translate the other way round")
    RULES: ClassVar[tuple[tuple[str, str], ...]] = (
        ("bpe_dropout == 0 or tokenizer == 'bpe'", "bpe_dropout needs tokenizer=bpe"),
    )


@register("dataset", "phrasebook_en_fr", task="seq2seq", source="embedded")
class Phrasebook(PairDataset):
    """English–French sentences of a generated grammar; tests combine words as never in training."""

    @dataclass(frozen=True)
    class Config(TextOptions):
        seed: int = option(0, "seed of the generated sentences", min=0)
        train_pairs: int = option(30000, "training pairs", min=1)
        val_pairs: int = option(500, "validation pairs", min=1)
        test_pairs: int = option(500, "test pairs", min=1)

    def locate(self) -> Located:
        from scratchlab.data import phrasebook

        config = self.config
        # The grammar is the data: its hash stands for that of the sentences it gives.
        files = sorted(Path(phrasebook.__file__).parent.glob("phrasebook*.py"))
        hashes = {file.name: sha256_of(file) for file in files}
        sizes = {split: getattr(config, f"{split}_pairs") for split in self.splits}
        described = ", ".join(f"{n} {split}" for split, n in sizes.items())
        description = f"generated, seed {config.seed}: {described} pairs"

        def read() -> Splits:
            return phrasebook.generate(config.seed, *sizes.values())

        return Located(Provenance("embedded", description, hashes), read)


@register(
    "dataset",
    "multi30k_en_fr",
    task="seq2seq",
    source="files",
    files=(
        "multi30k/train.en.gz",
        "multi30k/train.fr.gz",
        "multi30k/val.en.gz",
        "multi30k/val.fr.gz",
        "multi30k/test_2016_flickr.en.gz",
        "multi30k/test_2016_flickr.fr.gz",
    ),
    hub="romrawinjp/multi30k",
    origin="https://github.com/multi30k/dataset (data/task1/raw)",
)
class Multi30k(PairDataset):
    """Multi30k, task 1: 29,000 captions of photographs (Elliott et al., 2016 and 2017)."""

    @dataclass(frozen=True)
    class Config(TextOptions):
        source: str = option(
            "auto",
            "auto: files if they are there, else the hub; files; hub",
            choices=("auto", "files", "hub"),
        )
        test_set: str = option("test_2016_flickr", "name of the test files, without language")
        hub_id: str = option("romrawinjp/multi30k", "data set on the hub, or a folder of its form")
        hub_config: str | None = option(None, "configuration of that data set")
        source_column: str = option("en", "its column (or language) to translate from")
        target_column: str = option("fr", "its column (or language) to translate to")

    def locate(self) -> Located:
        stems = {"train": "train", "val": "val", "test": self.config.test_set}
        wanted = {
            split: (f"multi30k/{stem}.en.gz", f"multi30k/{stem}.fr.gz")
            for split, stem in stems.items()
        }
        return files_or_hub(
            self.config, self.context, wanted, "https://github.com/multi30k/dataset"
        )


@register(
    "dataset",
    "tatoeba_en_fr",
    task="seq2seq",
    source="files",
    files=("tatoeba_eng_fra/fra.txt.gz",),
    hub="sentence-transformers/parallel-sentences-tatoeba",
    origin="https://www.manythings.org/anki (fra-eng.zip, fra.txt)",
)
class Tatoeba(PairDataset):
    """Tatoeba: 167,000 short English–French pairs of everyday language, from manythings.org/anki.

    An English sentence often has several French ones. All pairs whose English differs in nothing
    but case, spaces and punctuation stay in one split; validation and test keep the first French
    sentence of each.
    """

    @dataclass(frozen=True)
    class Config(TextOptions):
        source: str = option(
            "auto",
            "auto: files if they are there, else the hub; files; hub",
            choices=("auto", "files", "hub"),
        )
        val_sentences: int = option(1000, "English sentences to validate on", min=1)
        test_sentences: int = option(2000, "English sentences to test on", min=1)
        split_seed: int = option(0, "another number gives another split", min=0)
        hub_id: str = option(
            "sentence-transformers/parallel-sentences-tatoeba",
            "data set on the hub, or a folder of its form",
        )
        hub_config: str | None = option("en-fr", "configuration of that data set")
        source_column: str = option("english", "its column (or language) to translate from")
        target_column: str = option("non_english", "its column (or language) to translate to")

    def locate(self) -> Located:
        config = self.config
        found = files_or_hub(
            config,
            self.context,
            {"train": ("tatoeba_eng_fra/fra.txt.gz",)},
            "https://www.manythings.org/anki (fra-eng.zip; it holds fra.txt)",
        )
        read_all: Callable[[], Splits] = found.read

        def read() -> Splits:
            pairs = [p for split in read_all().values() for p in split]
            sizes = {"val": config.val_sentences, "test": config.test_sentences}
            splits, note = split_by_source(pairs, sizes, config.split_seed)
            found.notes.append(note)
            return splits

        return Located(found.provenance, read, found.notes)


@register("dataset", "parallel_text", task="seq2seq", source="files")
class ParallelText(PairDataset):
    """Your own sentence pairs: two line-aligned files a split, one file of columns, or the hub.

    Paths are looked for from the current folder, then in the folder of data files; ``.gz`` may be
    left out or put at the end. Without validation or test files these splits are taken from the
    training pairs, all pairs of one source sentence together.
    """

    @dataclass(frozen=True)
    class Config(TextOptions):
        train_source: str | None = option(None, "file of sentences to translate from, one a line")
        train_target: str | None = option(None, "file of their translations, line by line")
        val_source: str | None = option(None, "the same for validation; null splits some off")
        val_target: str | None = option(None, "the same for validation; null splits some off")
        test_source: str | None = option(None, "the same for the test; null splits some off")
        test_target: str | None = option(None, "the same for the test; null splits some off")
        tsv: str | None = option(None, "instead: one file with a tab between the two sentences")
        tsv_columns: list[int] = option([1, 2], "its source and its target column, from 1", min=1)
        hub_id: str | None = option(None, "instead: a data set on the hub, or a folder of its form")
        hub_config: str | None = option(None, "configuration of that data set")
        source_column: str = option("en", "its column (or language) to translate from")
        target_column: str = option("fr", "its column (or language) to translate to")
        val_sentences: int = option(1000, "source sentences split off to validate on", min=1)
        test_sentences: int = option(1000, "source sentences split off to test on", min=1)
        split_seed: int = option(0, "another number gives another split", min=0)
        empty_lines: str = option(
            "error",
            "a line that is empty on one side only: error, or drop the pair",
            choices=("error", "drop"),
        )
        RULES: ClassVar[tuple[tuple[str, str], ...]] = (
            (
                "(train_source is None) == (train_target is None)",
                "train_source and train_target go together",
            ),
            (
                "(val_source is None) == (val_target is None)",
                "val_source and val_target go together",
            ),
            (
                "(test_source is None) == (test_target is None)",
                "test_source and test_target go together",
            ),
            (
                "tsv is None or (train_source is None and hub_id is None)",
                "give only one of tsv, train_source and hub_id",
            ),
            ("hub_id is None or train_source is None", "give only one of train_source and hub_id"),
        )

    def locate(self) -> Located:
        found = self._locate_given()
        config = self.config
        read_given: Callable[[], Splits] = found.read

        def read() -> Splits:
            splits = read_given()
            missing = {
                split: getattr(config, f"{split}_sentences")
                for split in ("val", "test")
                if split not in splits
            }
            if missing and "train" in splits:
                rest, note = split_by_source(splits.pop("train"), missing, config.split_seed)
                found.notes.append(note)
                splits |= rest
            return splits

        return Located(found.provenance, read, found.notes)

    def _locate_given(self) -> Located:
        config, context = self.config, self.context
        wanted: dict[str, tuple[str, ...]] = {}
        for split in self.splits:
            source, target = (getattr(config, f"{split}_{side}") for side in ("source", "target"))
            if source is not None:
                wanted[split] = (source, target)
        if config.tsv is not None:
            wanted["train"] = (config.tsv,)
        if config.hub_id is not None:
            return locate_hub(
                config,
                "Get the files by hand and name them in dataset.train_source "
                "and dataset.train_target.",
            )
        if not wanted or ("train" not in wanted and context.vocabulary is None):
            raise UserError(
                "parallel_text needs to know your files",
                "Give dataset.train_source and dataset.train_target, or dataset.tsv, or "
                "dataset.hub_id.",
            )
        paths = {
            split: tuple(_own_file(name, context.root) for name in names)
            for split, names in wanted.items()
        }
        return locate_files(paths, "your files", config.tsv_columns)


def _own_file(name: str, root: Path | None) -> Path:
    """A user's file: from the current folder, or in the folder of data files."""
    tried = [Path(name).expanduser().absolute()]
    if root is not None and not Path(name).is_absolute():
        tried.append(root / name)
    for path in tried:
        if (found := find_file(path)) is not None:
            return found
    raise UserError(f"no file {' nor '.join(map(str, tried))}", "Check the path.")


def files_or_hub(
    config: Any, context: DataContext, wanted: dict[str, tuple[str, ...]], origin: str
) -> Located:
    """Files below the data folder if they are all there (and wanted), else the hub.

    ``wanted`` maps a split to its two line-aligned files, or to one file of two columns.

    Raises:
        UserError: with ``source=files``, a file is missing; with ``auto``, some files are there and
            some are not, or none is there and the hub is of no help.
    """
    names = [name for of_split in wanted.values() for name in of_split]
    root = context.root
    found = {n: root and find_file(root / n) for n in names}
    missing = [n for n, path in found.items() if path is None]
    layout = layout_hint(names, root, origin)
    if config.source != "hub" and not missing:
        paths = {s: tuple(found[n] or Path(n) for n in of) for s, of in wanted.items()}
        return locate_files(paths, str(root), (1, 2))
    if config.source == "files" and root is None:
        raise UserError("source=files, but no folder of data files is known", layout)
    if config.source == "files" or (config.source == "auto" and len(missing) < len(names)):
        assert root is not None
        raise UserError(f"no file {root / missing[0]}", layout)
    return locate_hub(config, layout)


def layout_hint(names: list[str], root: Path | None, origin: str) -> str:
    """How to get files by hand and where to put them."""
    folder = str(root) if root else "a folder that the variable SCRATCHLAB_DATA names"
    return f"Get them from {origin} and put them into {folder} as: {', '.join(names)}."


def locate_files(paths: dict[str, tuple[Path, ...]], description: str, columns: Any) -> Located:
    """Line-aligned files (two a split) or one file of columns, hashed and ready to be read."""
    hashes = {str(path): sha256_of(path) for of_split in paths.values() for path in of_split}
    if description != "your files":
        hashes = {str(Path(p).relative_to(description)): h for p, h in hashes.items()}

    def read() -> Splits:
        splits: Splits = {}
        for split, of_split in paths.items():
            if len(of_split) == 2:
                splits[split] = align(read_text(of_split[0]), read_text(of_split[1]))
            else:
                splits[split] = read_columns(of_split[0], columns)[0]
        return splits

    return Located(Provenance("files", description, hashes), read)


def locate_hub(config: Any, by_hand: str) -> Located:
    """A data set of the hub, loaded at once since only its content can be hashed."""
    where = HubText(config.hub_id, config.hub_config, config.source_column, config.target_column)
    splits = load_hub_pairs(where, by_hand)
    hashes = {split: fingerprint(pairs) for split, pairs in splits.items()}
    return Located(Provenance("hub", where.description, hashes), lambda: dict(splits))


def content_hash(provenance: Provenance) -> str:
    """One short hash of all data of a data set, for tables."""
    text = "\n".join(f"{name} {value}" for name, value in sorted(provenance.sha256.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
