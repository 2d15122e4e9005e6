"""Data sets of running text: where each one's text comes from, and its options."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from scratchlab.data.contract import DataContext, Provenance
from scratchlab.data.kinds.running_text import RunningText
from scratchlab.data.sources.corpus import Pieces, Read, pieces_of
from scratchlab.data.sources.locating import SourceOptions, own_file
from scratchlab.data.sources.text_sources import (
    LocatedText,
    fetch_hub,
    files_or_hub,
    locate_files,
    locate_hub,
)
from scratchlab.data.tokenizers.choosing import TokenizerOptions
from scratchlab.errors import UserError
from scratchlab.registry import option, register

SHAKESPEARE = {"all": "tinyshakespeare/input.txt"}
WIKITEXT = {
    "train": "wikitext2/train.txt.gz",
    "val": "wikitext2/valid.txt.gz",
    "test": "wikitext2/test.txt.gz",
}


@dataclass(frozen=True)
class RunningTextOptions(TokenizerOptions):
    """How running text becomes batches of ids."""

    tokenizer: str = option(
        "char",
        "char: characters; word: lower-cased words; whitespace: what stands between spaces; bpe: "
        "pieces of words; pretrained: that of a checkpoint",
        choices=("char", "word", "whitespace", "bpe", "pretrained"),
    )
    lines: str = option(
        "as_is",
        "sentences: unwrap paragraphs (parted by empty lines) and give each sentence a line",
        choices=("as_is", "sentences"),
    )
    empty_lines: str = option(
        "keep", "lines of nothing but white space: keep or drop", choices=("keep", "drop")
    )
    block_size: int = option(64, "tokens that a model reads at once", min=1)
    batch_size: int = option(12, "blocks of a training batch", min=1, auto="the largest that fits")
    batching: str = option(
        "random",
        "random: blocks from anywhere; shuffled: each block once an epoch; stream: rows that run "
        "on from batch to batch, for recurrent models",
        choices=("random", "shuffled", "stream"),
    )
    steps_per_epoch: int | None = option(
        None, "batches of an epoch of random blocks; null: as many tokens as the text has", min=1
    )
    eval_batch_size: int = option(64, "windows of an evaluation batch; changes no score", min=1)
    eval_context: int | None = option(
        None, "tokens of an evaluation window; null takes block_size", min=1
    )
    eval_stride: int | None = option(
        None, "tokens between two evaluation windows; null: the context, so none overlap", min=1
    )
    eval_tokens: int | None = option(
        None, "evaluate the first tokens of a split only; null: all of it", min=2
    )
    eval_streams: int = option(
        8, "rows that a recurrent model is evaluated in (batching=stream)", min=1
    )
    RULES: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "eval_stride is None"
            " or eval_stride <= (block_size if eval_context is None else eval_context)",
            "eval_stride must not be larger than the context (eval_context, else block_size)",
        ),
    )


@register(
    "dataset",
    "python_docs",
    task="language_modeling",
    also=("word_vectors", "masked_lm"),
    sources=("embedded",),
)
class PythonDocs(RunningText):
    """Python's own documentation: 1.4 MB of English about programming that every machine has.

    Documents (a topic, a docstring) are kept whole, in sections of 20,000 characters and more; of
    each twenty, one goes to val and one to test. A paragraph that stands twice is left out.
    """

    @dataclass(frozen=True)
    class Config(RunningTextOptions):
        pass

    @classmethod
    def locate(cls, config: Any, context: DataContext) -> LocatedText:
        from scratchlab.data.generated import python_docs

        # The text depends on the version of Python and on what picks it.
        python = f"documentation of Python {sys.version.split()[0]}"
        made = Provenance.generated("python_docs", python_docs.VERSION, python, sys.version)

        def read(split: str) -> Read:
            def pieces() -> Pieces:
                documents = python_docs.python_documents()
                whole = "\n\n".join(documents)
                made.sha256["text"] = hashlib.sha256(whole.encode()).hexdigest()
                return pieces_of("\n\n".join(python_docs.share(documents, split)) + "\n")

            return pieces

        reads = {split: read(split) for split in cls.splits}
        return LocatedText(made, reads, {"all": list(made.sha256.values())})


@register(
    "dataset",
    "tiny_shakespeare",
    task="language_modeling",
    also=("word_vectors", "masked_lm"),
    sources=("files", "hub"),
    files=("tinyshakespeare/input.txt",),
    hub="karpathy/tiny_shakespeare",
    origin="https://github.com/karpathy/char-rnn (data/tinyshakespeare/input.txt)",
)
class TinyShakespeare(RunningText):
    """Tiny Shakespeare: 1.1 million characters of plays, split as nanoGPT does.

    The first 90 % are for training, the rest for validation; test is the validation split.
    """

    @dataclass(frozen=True)
    class Config(SourceOptions, RunningTextOptions):
        val_fraction: float = option(0.1, "share of the text to validate on", above=0, below=1)
        test_fraction: float = option(0.0, "share of the text to test on", min=0, below=1)
        hub_id: str = option(
            "karpathy/tiny_shakespeare", "data set on the hub, or a folder", path="name"
        )
        hub_config: str | None = option(None, "configuration of that data set")
        hub_revision: str | None = option("refs/convert/parquet", "branch of that data set")
        text_column: str = option("text", "its column that holds the text")
        RULES: ClassVar[tuple[tuple[str, str], ...]] = (
            ("val_fraction + test_fraction < 1", "val_fraction and test_fraction leave no text"),
        )

    @classmethod
    def locate(cls, config: Any, context: DataContext) -> LocatedText:
        return files_or_hub(cls.registered_facts, config, context, SHAKESPEARE)

    @classmethod
    def fetch(cls, config: Any, root: Path) -> list[Path]:
        """Write the hub's copy into the layout of the files."""
        return fetch_hub(config, root, SHAKESPEARE)


@register(
    "dataset",
    "wikitext2",
    task="language_modeling",
    also=("word_vectors", "masked_lm"),
    sources=("files", "hub"),
    files=("wikitext2/train.txt.gz", "wikitext2/valid.txt.gz", "wikitext2/test.txt.gz"),
    hub="Salesforce/wikitext",
    origin="https://huggingface.co/datasets/Salesforce/wikitext (wikitext-2-v1)",
)
class WikiText2(RunningText):
    """WikiText-2: 2 million words of Wikipedia, tokenised, with ``<unk>`` (Merity et al., 2016).

    With tokenizer=whitespace the words and the ``<unk>`` are the corpus's own and each line ends in
    ``<eos>``. With empty_lines=keep these are the customary 245,569 test tokens, with drop the
    244,102 that n-gram models are measured on.
    """

    @dataclass(frozen=True)
    class Config(SourceOptions, RunningTextOptions):
        hub_id: str = option(
            "Salesforce/wikitext", "data set on the hub, or a folder of its form", path="name"
        )
        hub_config: str | None = option("wikitext-2-v1", "configuration of that data set")
        hub_revision: str | None = option(None, "branch of that data set")
        text_column: str = option("text", "its column that holds the text")

    @classmethod
    def locate(cls, config: Any, context: DataContext) -> LocatedText:
        return files_or_hub(cls.registered_facts, config, context, WIKITEXT)

    @classmethod
    def fetch(cls, config: Any, root: Path) -> list[Path]:
        """Write the hub's copy into the layout of the files."""
        return fetch_hub(config, root, WIKITEXT)


@register(
    "dataset",
    "text_file",
    task="language_modeling",
    also=("word_vectors", "masked_lm"),
    sources=("files", "hub"),
)
class TextFile(RunningText):
    """Your own text: UTF-8 files (``.gz`` allowed) of any size, or text of the hub.

    Paths are looked for from the current folder, then in the folder of data files. Without
    validation files the text is split: its last parts are for validation and test.
    """

    @dataclass(frozen=True)
    class Config(RunningTextOptions):
        paths: list[str] = option([], "files to train on, one after the other", path="data")
        val_paths: list[str] = option(
            [], "files to validate on; none: a part of the text", path="data"
        )
        test_paths: list[str] = option([], "files to test on; none: as val_paths", path="data")
        val_fraction: float = option(
            0.1, "share of the text to validate on (without val_paths)", above=0, below=1
        )
        test_fraction: float = option(
            0.0, "share of the text to test on (without val_paths)", min=0, below=1
        )
        hub_id: str | None = option(
            None, "instead: a data set on the hub, or a folder of its form", path="name"
        )
        hub_config: str | None = option(None, "configuration of that data set")
        hub_revision: str | None = option(None, "branch of that data set")
        text_column: str = option("text", "its column that holds the text")
        RULES: ClassVar[tuple[tuple[str, str], ...]] = (
            ("val_fraction + test_fraction < 1", "val_fraction and test_fraction leave no text"),
            ("hub_id is None or paths == []", "give only one of paths and hub_id"),
            ("test_paths == [] or val_paths != []", "test_paths needs val_paths as well"),
        )

    @classmethod
    def locate(cls, config: Any, context: DataContext) -> LocatedText:
        root = context.root
        if config.hub_id is not None:
            found = locate_hub(config, "Get the text by hand and name it in dataset.paths.")
            if "val" in found.reads:
                return found
            return locate_hub(config, "Get the text by hand.", as_one=True)
        if not config.paths:
            raise UserError(
                "text_file needs to know your text", "Give dataset.paths=[FILE] or dataset.hub_id."
            )
        wanted = {"train": config.paths, "val": config.val_paths, "test": config.test_paths}
        if not config.val_paths:
            wanted = {"all": config.paths}
        paths = {
            s: [own_file(name, root) for name in names] for s, names in wanted.items() if names
        }
        return locate_files(paths, "your files", None)
