"""How fast a model translates: one sentence at a time, and many at once."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from scratchlab.errors import UserError
from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.outputs.translations import (
    clip_sources,
    decoder_settings,
    generate,
    translation_dataset,
)
from scratchlab.registry import option, register


@register(
    "evaluator",
    "latency",
    tasks=("seq2seq",),
    cost=True,
    measures={"latency_p50": "lower", "latency_p95": "lower", "throughput": "higher"},
    changed_by=("batch",),
    decodes=True,
)
class Latency(Evaluator):
    """Milliseconds for a sentence alone (median, 95th percentile) and sentences/s in batches.

    From token ids to token ids; the sentences are spread evenly over the split, so that their
    lengths are typical. What is measured depends on the machine and on what else it does.
    """

    @dataclass(frozen=True)
    class Config:
        sentences: int = option(64, "sentences that are translated one at a time", min=2)
        batch: int = option(64, "sentences in a batch", min=1)
        batches: int = option(3, "batches that are measured", min=1)
        warm_up: int = option(3, "translations before the clock starts", min=0)

    config: Config

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        if context.quick:
            return []
        dataset = translation_dataset(context)
        texts = dataset.sources(context.split)
        if not texts:
            raise UserError(f"There is nothing to translate in the split {context.split!r}.")
        singles = self._rows(context, texts, self.config.sentences)
        many = self._rows(context, texts, self.config.batch * self.config.batches)
        many.sort(key=len)  # as the translation of a split does: like lengths share a batch
        batches = [many[i : i + self.config.batch] for i in range(0, len(many), self.config.batch)]
        for row in singles[: self.config.warm_up]:
            generate(context, [row], 1)
        alone = sorted(self._seconds(context, [row]) for row in singles)
        for batch in batches[: min(1, self.config.warm_up)]:
            generate(context, batch, len(batch))
        together = sum(self._seconds(context, batch) for batch in batches)
        settings = {
            "device": str(context.device),
            "threads": torch.get_num_threads(),
            **decoder_settings(context.decoder),
        }
        single_settings = {
            **settings, "batch": 1, "source_tokens": _mean_length(singles),
        }  # fmt: skip
        batch_settings = {
            **settings, "batch": self.config.batch, "source_tokens": _mean_length(many),
        }  # fmt: skip

        def timed(name: str, value: float, unit: str, **more: Any) -> Measurement:
            return Measurement(name, value, unit, split=context.split, timing=True, **more)

        return [
            timed("latency_p50", 1e3 * statistics.median(alone), "ms/sentence", better="lower",
                  n=len(alone), settings=single_settings),
            timed("latency_p95", 1e3 * percentile(alone, 95), "ms/sentence", better="lower",
                  n=len(alone), settings=single_settings),
            timed("throughput", len(many) / together, "sentences/s", better="higher",
                  n=len(many), settings=batch_settings),
        ]  # fmt: skip

    def _rows(
        self, context: EvaluationContext, texts: Sequence[str], count: int
    ) -> list[list[int]]:
        """``count`` encoded sentences spread over ``texts`` (again from the start if too few)."""
        dataset = translation_dataset(context)
        chosen = [texts[int(i * len(texts) / count) % len(texts)] for i in range(count)]
        return clip_sources([dataset.encode_source(t) for t in chosen], dataset.spec)[0]

    def _seconds(self, context: EvaluationContext, rows: list[list[int]]) -> float:
        return elapsed(lambda: generate(context, rows, len(rows)), context.device)


def elapsed(work: Callable[[], Any], device: Any) -> float:
    """Seconds that ``work`` takes, with what it left in a GPU's queue."""
    _wait_for(device)
    start = time.perf_counter()
    work()
    _wait_for(device)
    return time.perf_counter() - start


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of values in ascending order."""
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]


def _wait_for(device: Any) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def _mean_length(rows: Sequence[Sequence[int]]) -> float:
    return round(sum(map(len, rows)) / len(rows), 1)
