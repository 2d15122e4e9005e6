"""A picture of where a translation looks in its source (as in Bahdanau et al. 2015, figure 3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from scratchlab.data.contract import TranslationDataset
from scratchlab.errors import UserError
from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.outputs.translations import (
    clip_sources,
    generate,
    translation_dataset,
)
from scratchlab.figures.attention import attention_figure
from scratchlab.registry import option, register


@register("evaluator", "attention_maps", tasks=("seq2seq",), measures={}, decodes=True)
class AttentionMaps(Evaluator):
    """Draw the cross-attention of one sentence's translation: each head, and the heads' mean."""

    @dataclass(frozen=True)
    class Config:
        layer: int = option(-1, "decoder layer, from 0; negative: counted from the last")
        sentence: int | None = option(
            None,
            "number of the sentence in its split, from 0; null: one that fits a picture",
            min=0,
        )
        tokens: int = option(12, "source tokens that fit a picture well", min=3)

    config: Config

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        if context.quick:
            return []
        dataset = translation_dataset(context)
        spec = dataset.spec
        (source,), _ = clip_sources([self._source(context, dataset)], spec)
        if spec.sos_id is None or spec.eos_id is None:
            raise UserError("The data set names no start and end of a sentence.")
        written = generate(context, [source], 1)[0].ids
        with torch.inference_mode():
            maps = context.model.attention_maps(
                torch.tensor([source], device=context.device),
                torch.tensor([[spec.sos_id, *written]], device=context.device),
            )
        if "cross" not in maps:
            return []
        layers = maps["cross"][:, 0].float().cpu()  # [layers, heads, T, S]
        if not -len(layers) <= self.config.layer < len(layers):
            raise UserError(
                f"evaluator.attention_maps.layer: there is no decoder layer {self.config.layer}.",
                f"The model has {len(layers)}: 0 to {len(layers) - 1}, or -1 for the last.",
            )
        number = self.config.layer % len(layers) + 1
        which = f" of decoder layer {number} of {len(layers)}" if len(layers) > 1 else ""
        context.sink.figure(
            "attention",
            attention_figure,
            layers[self.config.layer].numpy(),
            dataset.source_tokens(source),
            # The row of a token is where the model looked when it wrote that token.
            dataset.target_tokens([*written, spec.eos_id]),
            f"Where the translation looks: cross-attention{which}",
        )
        return []

    def _source(self, context: EvaluationContext, dataset: TranslationDataset) -> list[int]:
        texts = dataset.sources(context.split)
        if not texts:
            raise UserError(f"There is nothing to translate in the split {context.split!r}.")
        index = self.config.sentence
        if index is None:
            encoded = [dataset.encode_source(text) for text in texts[:200]]
            return min(encoded, key=lambda ids: abs(len(ids) - self.config.tokens))
        if index >= len(texts):
            raise UserError(
                f"evaluator.attention_maps.sentence: the split {context.split!r} has no "
                f"sentence {index}.",
                f"It has {len(texts)}: 0 to {len(texts) - 1}.",
            )
        return dataset.encode_source(texts[index])
