"""Where the heads of a text encoder look: at the token itself, those beside it, a text's ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scratchlab.errors import UserError
from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.figures.attention import attention_share_figure, self_attention_figure
from scratchlab.registry import option, register

SHORTEST = 4  # of fewer tokens, neighbours and ends are the same
PARTS = ("itself", "neighbours", "ends")
LABELS = ("itself", "the tokens beside", "the ends of the text", "elsewhere")


@register(
    "evaluator",
    "encoder_attention",
    tasks=("classification", "masked_lm"),
    asks="attention",
    measures={"attention_itself": "", "attention_neighbours": "", "attention_ends": ""},
)
class EncoderAttention(Evaluator):
    """The share of every head's attention on the token itself, those beside it and the text's ends.

    Means over all tokens but the first and last of some texts of the split. Also draws the heads of
    a layer over one text, side by side: every token sees those before and behind it.
    """

    @dataclass(frozen=True)
    class Config:
        texts: int = option(32, "texts of the split that shares are measured on", min=1)
        layer: int = option(-1, "layer of the picture, from 0; negative: counted from the last")
        text: str | None = option(None, "text of the picture; null: one of the split")
        tokens: int = option(20, "tokens of the picture", min=4)

    config: Config

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        if context.quick:
            return []
        dataset: Any = context.dataset
        texts = self._texts(context)
        if not texts:
            raise UserError(
                f"encoder_attention: no text of {context.split!r} has {SHORTEST} tokens"
            )
        total: Any = 0
        count = 0
        for ids in texts:
            maps = self._maps(context, ids)  # [layers, heads, T, T]
            total = total + shares(maps).sum(2)
            count += len(ids) - 2
        mean = total / count  # [layers, heads, 3]
        layers, heads = mean.shape[:2]
        rows = [
            (layer + 1, head + 1, *(round(float(s), 4) for s in (*part, 1 - part.sum())))
            for layer in range(layers)
            for head, part in enumerate(mean[layer])
        ]
        context.sink.table("encoder_attention", ("layer", "head", *PARTS, "elsewhere"), rows)
        title = f"Where the heads look: split {context.split}, {count:,} tokens"
        context.sink.figure("encoder_attention", attention_share_figure, mean, title, LABELS)
        self._picture(context, dataset, texts, layers)
        settings = {"layers": layers, "heads": heads, "texts": len(texts)}
        return [
            Measurement(f"attention_{name}", 100 * float(mean[..., i].mean()), "%", "", n=count,
                        settings=settings)
            for i, name in enumerate(PARTS)
        ]  # fmt: skip

    def _texts(self, context: EvaluationContext) -> list[NDArray[np.int64]]:
        """Texts without padding, evenly spread over the batches of the split."""
        pad, found = context.dataset.spec.pad_id, []
        for batch in context.dataset.batches(context.split, seed=context.seed, epoch=0):
            rows = getattr(batch, "tokens", None)
            rows = batch.inputs if rows is None else rows
            found += [row[row != pad] for row in rows.numpy()]
        found = [row for row in found if len(row) >= SHORTEST]
        most = self.config.texts if context.limit is None else min(self.config.texts, context.limit)
        chosen = np.linspace(0, len(found) - 1, min(most, len(found))).astype(np.int64)
        return [found[i] for i in chosen.tolist()]

    def _maps(self, context: EvaluationContext, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """The attention of all heads over one text, [layers, heads, T, T]."""
        model: Any = context.model
        maps = model.attention_maps(torch.from_numpy(ids)[None].to(context.device))
        found: NDArray[np.float64] = maps[:, 0].double().cpu().numpy()
        return found

    def _picture(
        self, context: EvaluationContext, dataset: Any, texts: list[Any], layers: int
    ) -> None:
        layer, wanted = self.config.layer, self.config.tokens
        if not -layers <= layer < layers:
            raise UserError(
                f"evaluator.encoder_attention.layer: there is no layer {layer}",
                f"The model has {layers}: 0 to {layers - 1}, or -1 for the last.",
            )
        if self.config.text is None:
            ids = min(texts, key=lambda row: abs(len(row) - wanted))
        else:
            ids = np.array(dataset.encode(self.config.text), dtype=np.int64)
        ids = ids[:wanted]
        context.sink.figure(
            "encoder_attention_heads",
            self_attention_figure,
            self._maps(context, ids)[layer],
            dataset.tokenizer.labels(ids.tolist()),
            f"Self-attention, layer {layer % layers + 1} of {layers}: each head over one text",
        )


def shares(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """maps [layers, heads, T, T] → [layers, heads, T - 2, 3]: of each token between the ends, its
    attention on itself, on both neighbours that are no ends, and on the two ends."""
    length = maps.shape[-1]
    inner = np.arange(1, length - 1)
    looks = maps[..., inner, :]
    kept = np.arange(len(inner))
    ends = looks[..., 0] + looks[..., -1]
    beside = looks[..., kept, inner - 1] * (inner > 1) + looks[..., kept, inner + 1] * (
        inner < length - 2
    )
    return np.stack([looks[..., kept, inner], beside, ends], -1)
