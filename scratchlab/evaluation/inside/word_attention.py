"""Which words a classifier of texts looks at: the weights of its attention over the words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scratchlab.data.contract import ArrayBatch
from scratchlab.data.kinds.text_classes import TextClassDataset
from scratchlab.errors import UserError
from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.outputs.contract import LOGGER
from scratchlab.figures.weighted_text import WeightedText, weighted_texts_figure
from scratchlab.models.layers.attention import recording
from scratchlab.registry import option, register

MOST_ROWS = 20


@dataclass(frozen=True)
class Looked:
    """Where a model looked in a text: its ``ids`` and their weights [tokens], which sum to 1, and
    the probabilities of the classes. ``index``: its number in the split; -1: of none."""

    index: int
    ids: list[int]
    weights: NDArray[np.float64]
    shares: NDArray[np.float64]


@register(
    "evaluator",
    "word_attention",
    tasks=("classification",),
    measures={},
    asks="word_weights",
)
class WordAttention(Evaluator):
    """Draw texts with their words shaded by the attention they get; list the most attended words.

    A weight is told in even shares: 1 is what each word of a text would get if all got the same.
    Table ``attended_words``: words of the split by their mean weight; ``word_attention``: the drawn
    texts and their heaviest words.
    """

    @dataclass(frozen=True)
    class Config:
        texts: list[str] = option([], "texts to draw; none: some of the split")
        count: int = option(8, "texts of the split that are drawn", min=1, max=100)
        tokens: int = option(30, "longest text of the split that is drawn", min=1)
        min_count: int = option(5, "rarer words are not listed", min=1)

    config: Config

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        if context.quick:
            return []
        dataset = context.dataset
        if not isinstance(dataset, TextClassDataset):
            raise UserError("evaluator.word_attention: the data set holds no texts with classes")
        of_split = list(self._looked(context, self._batches(context, dataset)))
        if not of_split:
            LOGGER.warning(
                "word_attention: this model pools without attention: no picture "
                "(model.pooling=attention has weights)"
            )
            return []
        self._list(context, dataset, of_split)
        drawn = self._chosen(context, dataset, of_split)
        texts = [
            WeightedText(
                self._caption(dataset, context.split, one),
                dataset.tokenizer.labels(one.ids),
                one.weights * len(one.ids),
            )
            for one in drawn
        ]
        rows = [(" ".join(text.words), text.caption, _heaviest(text)) for text in texts]
        context.sink.table("word_attention", ("text", "said", "most attended words"), rows)
        title = "Where the classifier looks: attention over the words"
        context.sink.figure("word_attention", weighted_texts_figure, texts, title)
        return []

    def _batches(
        self, context: EvaluationContext, dataset: TextClassDataset
    ) -> Iterator[ArrayBatch]:
        for batch in dataset.batches(context.split, seed=context.seed, epoch=0):
            if context.limit is None or bool((batch.indices < context.limit).any()):
                yield batch

    @torch.no_grad()
    def _looked(
        self, context: EvaluationContext, batches: Iterator[ArrayBatch]
    ) -> Iterator[Looked]:
        """The texts of batches; none if the model has no attention over the words."""
        pad = context.dataset.spec.pad_id
        for batch in batches:
            with recording(context.model) as maps:
                shares = context.task.probabilities(context.model, batch.to(context.device))
            if "pooling" not in maps:
                return
            weights = maps["pooling"][0][:, 0, 0].double().cpu().numpy()  # [texts, T]
            shares = shares.double().cpu().numpy()
            for row, index in enumerate(batch.indices.tolist()):
                ids = batch.inputs[row].tolist()
                length = sum(i != pad for i in ids)
                yield Looked(index, ids[:length], weights[row, :length], shares[row])

    def _list(
        self, context: EvaluationContext, dataset: TextClassDataset, found: Sequence[Looked]
    ) -> None:
        """The words that get the most attention, compared with an even share."""
        ids = np.concatenate([one.ids for one in found])
        weights = np.concatenate([one.weights * len(one.ids) for one in found])
        times = np.bincount(ids)
        means = np.bincount(ids, weights) / np.maximum(times, 1)
        means[times < self.config.min_count] = 0
        best = [i for i in np.argsort(-means, kind="stable")[:MOST_ROWS].tolist() if means[i]]
        words = dataset.tokenizer.labels(best)
        rows = [(w, int(times[i]), float(means[i])) for w, i in zip(words, best, strict=True)]
        if rows:  # in a small split no word is frequent
            columns = ("word", "times", "mean weight (1: an even share)")
            context.sink.table("attended_words", columns, rows)

    def _chosen(
        self, context: EvaluationContext, dataset: TextClassDataset, found: Sequence[Looked]
    ) -> list[Looked]:
        """The texts of the picture: the user's, or the first of the split that are not too long."""
        if not self.config.texts:
            fitting = [one for one in found if len(one.ids) <= self.config.tokens]
            order: Any = sorted(fitting or found, key=lambda one: one.index)
            return list(order[: self.config.count])
        batches = (
            ArrayBatch(
                torch.tensor([dataset.encode(text)]),
                targets=torch.zeros(1, dtype=torch.int64),
                indices=torch.tensor([-1]),
            )
            for text in self.config.texts
        )
        return list(self._looked(context, batches))

    def _caption(self, dataset: TextClassDataset, split: str, one: Looked) -> str:
        """What the model says of a text, and what it is."""
        names = dataset.spec.class_names
        best = int(one.shares.argmax())
        said = f"{names[best]} ({one.shares[best]:.0%})"
        if one.index < 0:
            return said
        truth = int(dataset.labels(split)[one.index])
        right = "right" if truth == best else f"wrong, it is {names[truth]}"
        return f"{said}: {right}"


def _heaviest(text: WeightedText, count: int = 5) -> str:
    """The words of a text that get the most attention, with their weights."""
    order = np.argsort(-text.weights, kind="stable")[:count].tolist()
    return ", ".join(f"{text.words[i]} {text.weights[i]:.2f}" for i in order)
