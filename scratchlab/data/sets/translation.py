"""Data sets of sentence pairs: where each one's text comes from, and its options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from scratchlab.data.contract import DataContext, Provenance
from scratchlab.data.kinds.pairs import PairDataset
from scratchlab.data.sources.hub import HubSet, load_hub_pairs
from scratchlab.data.sources.locating import Located, SourceOptions, Splits, own_file
from scratchlab.data.sources.pair_files import files_or_hub, locate_files, locate_hub, write_lines
from scratchlab.data.splits.examples import split_by_source
from scratchlab.data.tokenizers.choosing import TokenizerOptions
from scratchlab.errors import UserError
from scratchlab.registry import option, register


@dataclass(frozen=True)
class TextOptions(TokenizerOptions):
    """How sentence pairs become batches of ids."""

    checkpoint: str | None = option(
        None,
        "tokenizer=pretrained: the checkpoint of an encoder-decoder (a folder, a hub name)",
        when={"tokenizer": "pretrained"},
        path="name",
    )
    vocab_size: int | None = option(
        8000, "largest number of tokens, special ones included; null: 8000 pieces, all others",
        min=5,
    )  # fmt: skip
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
        4096,
        "most source and target positions of a batch, padding included",
        min=1,
        auto="the largest that fits",
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


def _of_hub(config: Any) -> Splits:
    """The hub's copy, for files."""
    where = HubSet.of(config, config.source_column, config.target_column)
    hint = "`scratchlab data describe NAME` says which files are wanted and where to put them."
    return load_hub_pairs(where, f"Get the files by hand: {hint}")


@register("dataset", "phrasebook_en_fr", task="seq2seq", sources=("embedded",), holds=("answers",))
class Phrasebook(PairDataset):
    """English–French sentences of a generated grammar; tests combine words as never in training."""

    @dataclass(frozen=True)
    class Config(TextOptions):
        seed: int = option(0, "seed of the generated sentences", min=0)
        train_pairs: int = option(30000, "training pairs", min=1, max=10_000_000)
        val_pairs: int = option(500, "validation pairs", min=1, max=1_000_000)
        test_pairs: int = option(500, "test pairs", min=1, max=1_000_000)

    @classmethod
    def locate(cls, config: Any, context: DataContext) -> Located:
        from scratchlab.data.generated.phrasebook import corpus as phrasebook

        sizes = {split: vars(config)[f"{split}_pairs"] for split in cls.splits}
        described = ", ".join(f"{n} {split}" for split, n in sizes.items())
        description = f"generated, seed {config.seed}: {described} pairs"

        def read() -> Splits:
            return phrasebook.generate(config.seed, *sizes.values())

        made = Provenance.generated("phrasebook", phrasebook.VERSION, description)
        return Located(made, read)


@register(
    "dataset",
    "multi30k_en_fr",
    task="seq2seq",
    sources=("files", "hub"),
    files=(
        "multi30k/train.en.gz",
        "multi30k/train.fr.gz",
        "multi30k/val.en.gz",
        "multi30k/val.fr.gz",
        "multi30k/test_2016_flickr.en.gz",
        "multi30k/test_2016_flickr.fr.gz",
    ),
    hub="romrawinjp/multi30k",
    origin="https://github.com/multi30k/dataset (folder data/task1/raw)",
    holds=("answers",),
)
class Multi30k(PairDataset):
    """Multi30k, task 1: 29,000 captions of photographs (Elliott et al., 2016 and 2017)."""

    @dataclass(frozen=True)
    class Config(SourceOptions, TextOptions):
        test_set: str = option("test_2016_flickr", "name of the test files, without language")
        hub_id: str = option(
            "romrawinjp/multi30k", "data set on the hub, or a folder of its form", path="name"
        )
        hub_config: str | None = option(None, "configuration of that data set")
        source_column: str = option("en", "its column (or language) to translate from")
        target_column: str = option("fr", "its column (or language) to translate to")

    @classmethod
    def locate(cls, config: Any, context: DataContext) -> Located:
        stems = {"train": "train", "val": "val", "test": config.test_set}
        wanted: dict[str, tuple[str, ...]] = {
            split: (f"multi30k/{stem}.en.gz", f"multi30k/{stem}.fr.gz")
            for split, stem in stems.items()
        }
        return files_or_hub(cls.registered_facts, config, context, wanted)

    @classmethod
    def fetch(cls, config: Any, root: Path) -> list[Path]:
        """Write the hub's copy into the layout of the files; returns what was written."""
        splits = _of_hub(config)
        written = []
        for split, stem in (("train", "train"), ("val", "val"), ("test", config.test_set)):
            for side, language in enumerate(("en", "fr")):
                path = root / "multi30k" / f"{stem}.{language}.gz"
                write_lines(path, (pair[side] for pair in splits.get(split, [])))
                written.append(path)
        return written


@register(
    "dataset",
    "tatoeba_en_fr",
    task="seq2seq",
    sources=("files", "hub"),
    files=("tatoeba_eng_fra/fra.txt.gz",),
    hub="sentence-transformers/parallel-sentences-tatoeba",
    origin="https://www.manythings.org/anki (fra-eng.zip, fra.txt)",
    holds=("answers",),
)
class Tatoeba(PairDataset):
    """Tatoeba: 167,000 short English–French pairs of everyday language, from manythings.org/anki.

    An English sentence often has several French ones. All pairs whose English differs in nothing
    but case, spaces and punctuation stay in one split; validation and test keep the first French
    sentence of each.
    """

    @dataclass(frozen=True)
    class Config(SourceOptions, TextOptions):
        val_sentences: int = option(1000, "English sentences to validate on", min=1)
        test_sentences: int = option(2000, "English sentences to test on", min=1)
        split_seed: int = option(0, "another number gives another split", min=0)
        hub_id: str = option(
            "sentence-transformers/parallel-sentences-tatoeba",
            "data set on the hub, or a folder of its form",
            path="name",
        )
        hub_config: str | None = option("en-fr", "configuration of that data set")
        source_column: str = option("english", "its column (or language) to translate from")
        target_column: str = option("non_english", "its column (or language) to translate to")

    @classmethod
    def locate(cls, config: Any, context: DataContext) -> Located:
        wanted = {"train": ("tatoeba_eng_fra/fra.txt.gz",)}
        found = files_or_hub(cls.registered_facts, config, context, wanted)
        read_all: Callable[[], Splits] = found.read

        def read() -> Splits:
            pairs = [p for split in read_all().values() for p in split]
            sizes = {"val": config.val_sentences, "test": config.test_sentences}
            splits, note = split_by_source(pairs, sizes, config.split_seed)
            found.notes.append(note)
            return splits

        return Located(found.provenance, read, found.notes)

    @classmethod
    def fetch(cls, config: Any, root: Path) -> list[Path]:
        """Write the hub's copy into the layout of the files; returns what was written."""
        splits = _of_hub(config)
        path = root / "tatoeba_eng_fra" / "fra.txt.gz"
        pairs = [pair for split in splits.values() for pair in split]
        write_lines(path, ("\t".join(t.replace("\t", " ") for t in pair) for pair in pairs))
        return [path]


@register("dataset", "parallel_text", task="seq2seq", sources=("files", "hub"), holds=("answers",))
class ParallelText(PairDataset):
    """Your own sentence pairs: two line-aligned files a split, one file of columns, or the hub.

    Paths are looked for from the current folder, then in the folder of data files; ``.gz`` may be
    left out or put at the end. Without validation or test files these splits are taken from the
    training pairs, all pairs of one source sentence together.
    """

    @dataclass(frozen=True)
    class Config(TextOptions):
        train_source: str | None = option(
            None, "file of sentences to translate from, one a line", path="data"
        )
        train_target: str | None = option(
            None, "file of their translations, line by line", path="data"
        )
        val_source: str | None = option(
            None, "the same for validation; null splits some off", path="data"
        )
        val_target: str | None = option(
            None, "the same for validation; null splits some off", path="data"
        )
        test_source: str | None = option(
            None, "the same for the test; null splits some off", path="data"
        )
        test_target: str | None = option(
            None, "the same for the test; null splits some off", path="data"
        )
        tsv: str | None = option(
            None, "instead: one file with a tab between the two sentences", path="data"
        )
        tsv_columns: list[int] = option([1, 2], "its source and its target column, from 1", min=1)
        hub_id: str | None = option(
            None, "instead: a data set on the hub, or a folder of its form", path="name"
        )
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

    @classmethod
    def locate(cls, config: Any, context: DataContext) -> Located:
        found = cls._locate_given(config, context)
        read_given: Callable[[], Splits] = found.read

        def read() -> Splits:
            splits = read_given()
            missing = {
                split: vars(config)[f"{split}_sentences"]
                for split in ("val", "test")
                if split not in splits
            }
            if missing and "train" in splits:
                rest, note = split_by_source(splits.pop("train"), missing, config.split_seed)
                found.notes.append(note)
                splits |= rest
            return splits

        return Located(found.provenance, read, found.notes)

    @classmethod
    def _locate_given(cls, config: Any, context: DataContext) -> Located:
        wanted: dict[str, tuple[str, ...]] = {}
        for split in cls.splits:
            source, target = (vars(config)[f"{split}_{side}"] for side in ("source", "target"))
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
            split: tuple(own_file(name, context.root) for name in names)
            for split, names in wanted.items()
        }
        return locate_files(paths, None, config.tsv_columns, config.empty_lines)
