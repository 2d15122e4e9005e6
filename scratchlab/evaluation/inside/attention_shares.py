"""Where the heads of a language model look: at the token itself, the one before, the first one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scratchlab.data.contract import IGNORE, TextDataset
from scratchlab.errors import UserError
from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.figures.attention import attention_share_figure, self_attention_figure
from scratchlab.registry import option, register

# Rounding alone; a causal mask gives exact zeros.
TOLERANCE = 1e-6
FIRST_ROW = 2  # from the third token on, the three places are different ones
ROWS_AT_ONCE = 8


@register(
    "evaluator",
    "attention_shares",
    tasks=("language_modeling",),
    measures={
        "attention_itself": "",
        "attention_previous": "",
        "attention_first": "",
        "attention_ahead": "lower",
    },
)
class AttentionShares(Evaluator):
    """The share of every head's attention on the token itself, the one before and the first one.

    Also draws the heads of a layer side by side over one text, and makes sure that no token looks
    at one that comes after it (UserError if one does). Shares are means over the tokens of texts
    from the third on; ``distance`` is how far back a head looks on average.
    """

    @dataclass(frozen=True)
    class Config:
        texts: int = option(32, "texts of the split that shares are measured on", min=1)
        layer: int = option(-1, "layer of the picture, from 0; negative: counted from the last")
        text: str | None = option(None, "text of the picture; null: how the split begins")
        tokens: int = option(20, "tokens of the picture", min=3)

    config: Config

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        model: Any = context.model
        if context.quick:
            return []
        dataset: Any = context.dataset
        if not isinstance(dataset, TextDataset):
            raise UserError("attention_shares: the data set holds no text.")
        total = Sums()
        for tokens in self._texts(context):
            maps = model.attention_maps(tokens.to(context.device))  # [layers, rows, heads, T, T]
            if maps is None:
                return []
            total.add(maps.float().cpu().double().numpy())
        if total.rows == 0:
            raise UserError(
                f"attention_shares: no text of the split {context.split!r} has "
                f"{FIRST_ROW + 1} tokens."
            )
        shares, distance = total.shares / total.rows, total.distance / total.rows
        layers, heads = distance.shape
        context.sink.table(
            "attention_shares",
            ("layer", "head", "itself", "previous", "first", "elsewhere", "distance"),
            [
                (layer + 1, head + 1, *_rounded(shares[layer, head], distance[layer, head]))
                for layer in range(layers)
                for head in range(heads)
            ],
        )
        title = f"Where the heads look: split {context.split}, {total.rows:,} tokens"
        context.sink.figure("attention_shares", attention_share_figure, shares, title)
        self._picture(context, model, dataset, layers)
        settings = {"layers": layers, "heads": heads, "texts": total.texts}
        names = ("itself", "previous", "first")
        return [
            Measurement(
                name=f"attention_{name}",
                value=100 * float(shares[..., i].mean()),
                unit="%",
                better="",
                n=total.rows,
                settings=settings,
            )
            for i, name in enumerate(names)
        ] + [
            Measurement(
                name="attention_ahead", value=total.ahead, better="lower", n=total.rows,
                settings={**settings, "is": "largest weight on a later token"},
            )
        ]  # fmt: skip

    def _texts(self, context: EvaluationContext) -> list[torch.Tensor]:
        """Batches [rows, T] of whole texts: no padding, rows of one length together."""
        by_length: dict[int, list[torch.Tensor]] = {}
        left = self.config.texts if context.limit is None else min(self.config.texts, context.limit)
        for batch in context.dataset.batches(context.split, seed=context.seed, epoch=0):
            lengths = real_lengths(batch.tokens, batch.targets, context.dataset.spec.pad_id)
            for row, length in zip(batch.tokens, lengths.tolist(), strict=True):
                if left and length > FIRST_ROW:
                    by_length.setdefault(length, []).append(row[:length])
                    left -= 1
            if not left:
                break
        return [
            part for rows in by_length.values() for part in torch.stack(rows).split(ROWS_AT_ONCE)
        ]

    def _picture(self, context: EvaluationContext, model: Any, dataset: Any, layers: int) -> None:
        layer = self.config.layer
        if not -layers <= layer < layers:
            raise UserError(
                f"evaluator.attention_shares.layer: there is no layer {layer}.",
                f"The model has {layers}: 0 to {layers - 1}, or -1 for the last.",
            )
        if self.config.text is not None:
            ids = dataset.encode(self.config.text)
        else:
            prompt, follows = dataset.openings(context.split, 1, self.config.tokens)[0]
            ids = [*prompt, *follows]
        ids = ids[: self.config.tokens]
        if not ids:
            raise UserError("evaluator.attention_shares.text: the text is empty.")
        maps = model.attention_maps(torch.tensor([ids], device=context.device))
        number = layer % layers + 1
        context.sink.figure(
            "attention_heads",
            self_attention_figure,
            maps[layer, 0].float().cpu().numpy(),
            dataset.token_labels(ids),
            f"Self-attention, layer {number} of {layers}: each head over one text",
        )


def _rounded(shares: NDArray[np.float64], distance: float) -> list[float]:
    """The shares of one head, what is left of its attention, and how far back it looks."""
    return [*(round(float(s), 4) for s in (*shares, 1 - shares.sum())), round(float(distance), 4)]


def real_lengths(tokens: Any, targets: Any, pad_id: int | None) -> Any:
    """[rows]: tokens of each row without padding at its right end.

    A data set without a padding id pads only where there is no target.
    """
    real = targets != IGNORE if pad_id is None else tokens != pad_id
    places = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
    return (real * places).amax(1)


class Sums:
    """Sums over tokens of what heads do: ``shares`` [layers, heads, 3] on the token itself, the one
    before and the first one, ``distance`` [layers, heads], and the largest weight ``ahead``."""

    def __init__(self) -> None:
        self.shares: NDArray[np.float64] = np.zeros(())
        self.distance: NDArray[np.float64] = np.zeros(())
        self.rows = 0
        self.texts = 0
        self.ahead = 0.0

    def add(self, maps: NDArray[np.float64]) -> None:
        """``maps`` [layers, texts, heads, T, T]; UserError where a token looks ahead."""
        length = maps.shape[-1]
        later = np.triu(np.ones((length, length), dtype=bool), 1)
        ahead = np.where(later, maps, 0.0)
        self.ahead = max(self.ahead, float(ahead.max()))
        if not self.ahead <= TOLERANCE:
            layer, _, head, row, column = np.unravel_index(int(ahead.argmax()), ahead.shape)
            raise UserError(
                f"the model looks ahead: in layer {layer + 1}, head {head + 1}, token {row + 1} "
                f"gives the weight {ahead.max():.3g} to token {column + 1}",
                "Its causal mask is wrong, so its perplexity means nothing.",
            )
        looks = maps[..., FIRST_ROW:, :]  # [layers, texts, heads, rows, T]
        rows = np.arange(FIRST_ROW, length)
        kept = np.arange(len(rows))
        shares = [looks[..., kept, rows], looks[..., kept, rows - 1], looks[..., 0]]
        back = (rows[:, None] - np.arange(length)).clip(min=0)
        self.shares = self.shares + np.stack([s.sum((1, 3)) for s in shares], axis=-1)
        self.distance = self.distance + (looks * back).sum((1, 3, 4))
        self.rows += maps.shape[1] * len(rows)
        self.texts += maps.shape[1]
