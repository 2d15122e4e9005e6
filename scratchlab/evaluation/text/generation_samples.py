"""What a language model writes when it goes on from a text."""

from __future__ import annotations

from dataclasses import dataclass

from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.outputs.continuations import Continuing
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
        config = self.config
        rows = Continuing().of_split(
            context,
            prompts=tuple(config.prompts),
            count=config.count,
            prompt_tokens=config.prompt_tokens,
            new_tokens=config.new_tokens,
        )
        context.sink.table("generation_samples", ("prompt", "model", "original"), rows)
        given, said, expected = (list(column) for column in zip(*rows, strict=True))
        context.keep("continuations", given=given, said=said, expected=expected)
        return []
