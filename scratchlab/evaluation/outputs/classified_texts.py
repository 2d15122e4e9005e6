"""The classes that a model gives to texts, which are of many lengths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

from scratchlab.data.contract import ArrayBatch
from scratchlab.data.kinds.text_classes import TextClassDataset
from scratchlab.evaluation.contract import EvaluationContext
from scratchlab.evaluation.outputs.contract import say_if_cut
from scratchlab.evaluation.outputs.predictions import Predicted, Predicting
from scratchlab.registry import register


@register("outputs", "classified_texts")
class ClassifyingTexts(Predicting):
    """Probabilities of the classes, in the data set's own batches."""

    def make(self, context: EvaluationContext, **how: Any) -> Predicted:
        dataset, limit = context.dataset, how["limit"]
        assert isinstance(dataset, TextClassDataset)
        truth = dataset.labels(context.split)[:limit]
        shares = np.zeros((dataset.size(context.split), dataset.spec.n_classes or 0))
        for batch in dataset.batches(context.split, seed=context.seed, epoch=0):
            if limit is not None and not bool((batch.indices < limit).any()):
                continue
            shares[batch.indices.numpy()] = self._shares(context, batch)
        shares = shares[: len(truth)]
        return Predicted(truth, shares.argmax(1), shares)

    @torch.no_grad()
    def _shares(self, context: EvaluationContext, batch: Any) -> Any:
        found = context.task.probabilities(context.model, batch.to(context.device))
        return found.double().cpu().numpy()

    def of_lines(
        self, context: EvaluationContext, lines: Iterator[str], at_once: int
    ) -> Iterator[Iterable[str]]:
        """The most probable class, a tab, and its probability."""
        for line in lines:
            yield [self._class_of(context, line) if line.strip() else ""]

    def _class_of(self, context: EvaluationContext, line: str) -> str:
        dataset: Any = context.dataset
        say_if_cut(dataset.length(line), dataset.config.max_length)
        none = torch.zeros(1, dtype=torch.int64)
        (shares,) = self._shares(
            context, ArrayBatch(torch.tensor([dataset.encode(line)]), targets=none, indices=none)
        )
        best = int(shares.argmax())
        return f"{dataset.spec.class_names[best]}\t{shares[best]:.4f}"
