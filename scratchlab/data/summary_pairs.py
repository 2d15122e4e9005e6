"""Texts with their summaries as pairs, for encoder-decoder models: source → target, no prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scratchlab.data.contract import DataContext
from scratchlab.data.pairs import PairDataset
from scratchlab.data.sources import Located
from scratchlab.data.summaries import NewsOptions, docstring_pairs, news_pairs
from scratchlab.data.translation import TextOptions
from scratchlab.registry import register


@register("dataset", "docstring_pairs", task="seq2seq", sources=("embedded",))
class DocstringPairs(PairDataset):
    """Documentation or code of a Python function → its first line, as pairs; built in."""

    @dataclass(frozen=True)
    class Config(TextOptions):
        pass

    @classmethod
    def locate(cls, config: Any, context: DataContext) -> Located:
        provenance, pairs = docstring_pairs(context.cache)
        return Located(provenance, lambda: dict(pairs))


@register(
    "dataset",
    "cnn_dailymail_pairs",
    task="seq2seq",
    sources=("files", "hub"),
    files=("cnn_dailymail/validation_head1000.csv.gz", "cnn_dailymail/test_head500.csv.gz"),
    hub="abisee/cnn_dailymail",
    origin="https://huggingface.co/datasets/abisee/cnn_dailymail (3.0.0), as CSV",
)
class CNNDailyMailPairs(PairDataset):
    """News articles → their highlights, as pairs: the same splits as cnn_dailymail's."""

    @dataclass(frozen=True)
    class Config(NewsOptions, TextOptions):
        pass

    @classmethod
    def locate(cls, config: Any, context: DataContext) -> Located:
        return news_pairs(config, context.root)
