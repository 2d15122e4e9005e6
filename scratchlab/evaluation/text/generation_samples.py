"""What a language model writes when it goes on from a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scratchlab.data.contract import TextDataset
from scratchlab.decoding.continuation import draw_line
from scratchlab.decoding.sampling import Sampling
from scratchlab.errors import UserError
from scratchlab.estimators.ngrams.model import NGram
from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.text.text_samples import add_samples
from scratchlab.registry import option, register


@register("evaluator", "generation_samples", tasks=("language_modeling",), measures={})
class GenerationSamples(Evaluator):
    """A table of continuations: of the given prompts, or of texts of the split beside the original.

    The chosen decoding writes (without one: temperature 0.8, top-p 0.95). A model that counts
    (n-gram) draws with the same temperature.
    """

    @dataclass(frozen=True)
    class Config:
        prompts: list[str] = option([], "texts to go on from; none: texts of the split")
        count: int = option(4, "how many texts of the split", min=1)
        prompt_tokens: int = option(24, "tokens that are given of a text of the split", min=1)
        new_tokens: int = option(100, "tokens to write", min=1)

    config: Config

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        if context.quick:
            return []
        dataset = context.dataset
        if not isinstance(dataset, TextDataset):
            raise UserError("generation_samples: the data set holds no text to go on from.")
        given = self._given(context, dataset)
        written = self._write(context, [prompt for prompt, _ in given])
        rows = [
            (dataset.decode(prompt), dataset.decode(text), dataset.decode(original))
            for (prompt, original), text in zip(given, written, strict=True)
        ]
        context.sink.table("generation_samples", ("prompt", "model", "original"), rows)
        add_samples(
            context,
            [
                {"split": context.split, "prompt": prompt, "model": text, "original": original}
                for prompt, text, original in rows
            ],
        )
        return []

    def _given(self, context: EvaluationContext, dataset: Any) -> list[tuple[list[int], list[int]]]:
        """Ids to go on from, and what follows them in the split (nothing for the user's own)."""
        config = self.config
        if config.prompts:
            return [(dataset.encode(text), []) for text in config.prompts]
        openings = dataset.openings(context.split, config.count, config.prompt_tokens)
        return [(list(prompt), list(follows)) for prompt, follows in openings]

    def _write(self, context: EvaluationContext, prompts: list[list[int]]) -> list[list[int]]:
        spec, new = context.dataset.spec, self.config.new_tokens
        decoder: Any = context.decoder
        if not hasattr(decoder, "generate_batch"):
            decoder = Sampling(Sampling.Config(temperature=0.8, top_p=0.95, seed=context.seed))
        model: Any = context.model
        if isinstance(model, NGram):
            temperature, end = decoder.config.temperature, spec.eos_id
            return [draw_line(model, p, end, context.seed, new, temperature) for p in prompts]
        found: list[list[int]] = decoder.generate_batch(model, prompts, spec, max_new_tokens=new)
        return found
