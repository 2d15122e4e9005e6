"""Texts with their summaries: docstrings (embedded), CNN/DailyMail (files or hub).

Each comes in two forms: as language modelling (a text, a separator, its summary), and as pairs for
encoder-decoder models (source → target, no prompt).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from scratchlab.data.batching.cache import Arrays, cached, content_key, pack_text, unpack_text
from scratchlab.data.contract import DataContext, Provenance
from scratchlab.data.kinds.pairs import PairDataset
from scratchlab.data.kinds.prompted import Example, PromptedDataset, PromptedOptions
from scratchlab.data.sets.translation import TextOptions
from scratchlab.data.sources.hub import HubSet, fingerprint, load_hub_pairs
from scratchlab.data.sources.locating import Located, SourceOptions, Splits, by_hand, locate
from scratchlab.data.sources.pair_files import without_empty
from scratchlab.data.sources.reading import sha256_of
from scratchlab.data.sources.two_columns import two_columns
from scratchlab.data.splits.examples import text_key, together
from scratchlab.registry import option, register

CNN_FILES = ("cnn_dailymail/validation_head1000.csv.gz", "cnn_dailymail/test_head500.csv.gz")
CNN_HUB = "abisee/cnn_dailymail"
CNN_ORIGIN = "https://huggingface.co/datasets/abisee/cnn_dailymail (3.0.0), as CSV"


@dataclass(frozen=True)
class SummaryOptions(PromptedOptions):
    """How a summary is asked for."""

    opening: str = option("", "stands before the text")
    separator: str = option("\n\nSummary:", "stands between the text and its summary")
    chat: bool = option(
        False, "ask as the checkpoint's chat template asks, with the opening as instruction"
    )


@dataclass(frozen=True)
class NewsOptions(SourceOptions):
    """Where the articles come from."""

    train_file: str = option(
        "cnn_dailymail/validation_head1000.csv", "CSV to train and validate on"
    )
    test_file: str = option("cnn_dailymail/test_head500.csv", "CSV to test on")
    val_share: float = option(
        0.05, "share of the training file that is validated on", above=0, below=1
    )
    hub_id: str = option(
        "abisee/cnn_dailymail", "data set on the hub, or a folder of its form", path="name"
    )
    hub_config: str | None = option("3.0.0", "configuration of that data set")


class SummaryDataset(PromptedDataset):
    """Summarisation as language modelling: the text, a separator, the summary."""

    def example(self, text: str, answer: str = "") -> Example:
        config = self.config
        if not config.chat:
            return Example(text, " " + answer, config.opening, config.separator)
        before, after = self.chat_frame(config.opening)
        return Example(text, answer, before, after)

    def references(self, split: str) -> list[str]:
        return [answer.strip() for answer in super().references(split)]


def _docstring_arrays() -> Arrays:
    """Bodies and summaries of all splits, as they are kept between runs."""
    from scratchlab.data.generated.docstrings import docstring_splits

    arrays: Arrays = {}
    for split, records in docstring_splits().items():
        sides = {"body": [r["body"] for r in records], "summary": [r["summary"] for r in records]}
        for side, texts in sides.items():
            content, offsets = pack_text(texts)
            arrays |= {f"{split}_{side}": content, f"{split}_{side}_offsets": offsets}
    return arrays


@register(
    "dataset", "docstrings", task="language_modeling", sources=("embedded",), holds=("answers",)
)
class Docstrings(SummaryDataset):
    """Documentation or code of a Python function, to be summarised in one line; built in.

    Functions of the standard library, NumPy and scikit-learn, 8:1:1 within each package and in
    random order; texts that say much the same are in one split.
    """

    @dataclass(frozen=True)
    class Config(SummaryOptions):
        pass

    @classmethod
    def locate(cls, config: Any, context: DataContext) -> Located:
        return docstring_pairs(context.cache)


def docstring_pairs(cache: Path) -> Located:
    """Bodies with their first lines: reading the sources of thousands of functions takes seconds,
    so it is done once for each set of versions."""
    from scratchlab.data.generated.docstrings import VERSION

    versions = {name: version(name) for name in ("numpy", "scikit-learn")}
    key = content_key(python=sys.version, generator=VERSION, **versions)
    arrays = cached(cache, "docstrings", key, _docstring_arrays)
    pairs: Splits = {}
    for split in Docstrings.splits:
        texts = (
            unpack_text(arrays[f"{split}_{side}"], arrays[f"{split}_{side}_offsets"])
            for side in ("body", "summary")
        )
        pairs[split] = list(zip(*texts, strict=True))
    provenance = Provenance(
        "embedded",
        f"docstrings of Python {sys.version.split()[0]}, NumPy and scikit-learn",
        {s: fingerprint(p) for s, p in pairs.items()},
    )
    return Located(provenance, lambda: dict(pairs))


@register(
    "dataset",
    "cnn_dailymail",
    task="language_modeling",
    sources=("files", "hub"),
    files=CNN_FILES,
    hub=CNN_HUB,
    origin=CNN_ORIGIN,
    holds=("answers",),
)
class CNNDailyMail(SummaryDataset):
    """News articles with their highlights (Hermann et al. 2015; See et al. 2017), not anonymised.

    The files are heads of the published splits: by default the first 1,000 articles of its
    validation split are trained and validated on (the last ``val_share`` of them), the first 500 of
    its test split measured. The hub has all of it.
    """

    @dataclass(frozen=True)
    class Config(NewsOptions, SummaryOptions):
        pass

    @classmethod
    def locate(cls, config: Any, context: DataContext) -> Located:
        return news_pairs(cls.registered_facts, config, context)


def news_pairs(facts: Mapping[str, Any], config: Any, context: DataContext) -> Located:
    """Articles with their highlights, from the files or the hub (``config``: NewsOptions)."""
    names = [config.train_file, config.test_file]
    files = locate(facts, config, context, names)
    if files is None:
        where = HubSet.of(config, "article", "highlights")
        pairs = load_hub_pairs(where, by_hand(facts, context.root, names))
        notes: list[str] = []
        pairs = {s: _complete(p, f"{where.id} ({s})", notes) for s, p in pairs.items()}
        hashes = {s: fingerprint(p) for s, p in pairs.items()}
        return Located(Provenance("hub", where.description, hashes), lambda: dict(pairs), notes)
    paths = [files.paths[name] for name in names]  # one file may be named twice
    remarks: list[str] = []
    train, test = (read_pairs(p, "article", "highlights", remarks) for p in paths)
    cut = len(train) - max(1, round(len(train) * config.val_share))
    homes = together(
        [text_key(text) for text, _ in train],
        ["train" if i < cut else "val" for i in range(len(train))],
    )
    splits = {
        split: [pair for pair, home in zip(train, homes, strict=True) if home == split]
        for split in ("train", "val")
    } | {"test": test}
    provenance = Provenance("files", str(files.root), {str(p): sha256_of(p) for p in paths})
    note = (
        f"trained on {config.train_file} ({len(splits['train']):,} articles, "
        f"{len(splits['val']):,} to validate), "
        f"tested on {config.test_file} ({len(test):,})"
    )
    return Located(provenance, lambda: splits, [note, *remarks])


def read_pairs(path: Path, source: str, target: str, notes: list[str]) -> list[tuple[str, str]]:
    """Two columns of a file; rows that lack one of both are left out, and ``notes`` says so."""
    found = [(a, b) for _, a, b in two_columns(path, source, target, notes)]
    return _complete(found, str(path), notes)


def _complete(
    pairs: Sequence[tuple[str, str]], where: str, notes: list[str]
) -> list[tuple[str, str]]:
    """The pairs with text on both sides; a note says how many were left out."""
    kept, dropped = without_empty(list(pairs), where, "drop")
    if dropped:
        notes.append(f"{dropped:,} rows of {where} left out, since a side of them is empty")
    return kept


@register("dataset", "docstring_pairs", task="seq2seq", sources=("embedded",), holds=("answers",))
class DocstringPairs(PairDataset):
    """Documentation or code of a Python function → its first line, as pairs; built in."""

    @dataclass(frozen=True)
    class Config(TextOptions):
        pass

    @classmethod
    def locate(cls, config: Any, context: DataContext) -> Located:
        return docstring_pairs(context.cache)


@register(
    "dataset",
    "cnn_dailymail_pairs",
    task="seq2seq",
    sources=("files", "hub"),
    files=CNN_FILES,
    hub=CNN_HUB,
    origin=CNN_ORIGIN,
    holds=("answers",),
)
class CNNDailyMailPairs(PairDataset):
    """News articles → their highlights, as pairs: the same splits as cnn_dailymail's."""

    @dataclass(frozen=True)
    class Config(NewsOptions, TextOptions):
        pass

    @classmethod
    def locate(cls, config: Any, context: DataContext) -> Located:
        return news_pairs(cls.registered_facts, config, context)
