"""How long a language model takes to read a prompt, and for each token that it writes."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

import torch

from scratchlab.errors import UserError
from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.cost.latency import elapsed, percentile
from scratchlab.models.compiled.fitting import compiled
from scratchlab.models.layers.linear import packed
from scratchlab.registry import option, register


@register(
    "evaluator",
    "generation_latency",
    tasks=("language_modeling",),
    cost=True,
    measures={"prefill": "lower", "token_p50": "lower", "token_p95": "lower"},
    changed_by=("batch", "prompt", "new_tokens"),
)
class GenerationLatency(Evaluator):
    """Milliseconds of reading a prompt (prefill) and of each token after it (median, 95th), which
    ``decoding.compiled=true`` makes by compiled steps.

    What is measured depends on the machine and on what else it does; compare within one run.
    """

    @dataclass(frozen=True)
    class Config:
        prompt: int = option(128, "tokens of the prompt", min=1)
        new_tokens: int = option(32, "tokens that are timed", min=2)
        batch: int = option(1, "texts at once", min=1)
        rounds: int = option(3, "prompts that are timed", min=1)
        warm_up: int = option(2, "tokens and prompts before the clock starts", min=0)

    config: Config

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        if context.quick:
            return []
        config = self.config
        model: Any = context.model
        room = model.block_size
        length = config.prompt
        if room is not None:
            length = max(1, min(length, room - config.new_tokens - config.warm_up))
        vocabulary = context.dataset.spec.vocab_size or 2
        random = torch.Generator().manual_seed(context.seed)
        shape = (config.batch, length + config.new_tokens + config.warm_up)
        ids = torch.randint(0, vocabulary, shape, generator=random).to(context.device)
        prefill, steps = self._times(context, model, ids, length)
        settings = {
            "device": str(context.device),
            "threads": torch.get_num_threads(),
            "batch": config.batch,
            "prompt": length,
            "new_tokens": config.new_tokens,
            "warm_up": config.warm_up,
        }

        def timed(name: str, seconds: float, n: int) -> Measurement:
            return Measurement(
                name, 1e3 * seconds, "ms", "lower", n=n, split=context.split, settings=settings,
                timing=True,
            )  # fmt: skip

        return [
            timed("prefill", statistics.median(prefill), len(prefill)),
            timed("token_p50", statistics.median(steps), len(steps)),
            timed("token_p95", percentile(sorted(steps), 95), len(steps)),
        ]

    @torch.inference_mode()
    def _times(
        self, context: EvaluationContext, model: Any, ids: torch.Tensor, length: int
    ) -> tuple[list[float], list[float]]:
        config = self.config
        prefill: list[float] = []
        steps: list[float] = []
        for number in range(config.rounds + min(1, config.warm_up)):
            cache = model.start_cache(len(ids), ids.shape[1])
            if cache is None:
                raise UserError("generation_latency: this model keeps no cache")

            def seconds(tokens: torch.Tensor, cache: Any = cache) -> float:
                return elapsed(lambda: model.next_logits(tokens, cache), context.device)

            once = seconds(ids[:, :length])
            if number >= min(1, config.warm_up):
                prefill.append(once)
            if number:
                continue
            asked = bool(getattr(getattr(context.decoder, "config", None), "compiled", None))
            with (
                compiled(model, len(ids), 0, asked) as by_function,
                packed(model, len(ids), 0 if by_function else ids.shape[1] - length),
            ):
                for position in range(length, ids.shape[1]):
                    once = seconds(ids[:, position : position + 1])
                    if position - length >= config.warm_up:
                        steps.append(once)
        return prefill, steps
