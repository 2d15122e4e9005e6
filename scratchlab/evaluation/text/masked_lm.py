"""How well masked words are told: how often rightly, and how much they surprise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from scratchlab.data.contract import IGNORE
from scratchlab.data.kinds.masked_tokens import MaskedTokens
from scratchlab.errors import UserError
from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.intervals import WILSON, wilson
from scratchlab.evaluation.outputs.filled_masks import Filled, FillingMasks, likeliest, shown
from scratchlab.evaluation.text.text_samples import add_samples
from scratchlab.registry import option, register

TOKENS_AT_ONCE = 8192


@register(
    "evaluator",
    "masked_lm",
    tasks=("masked_lm",),
    measures={
        "masked_accuracy": "higher",
        "masked_perplexity": "lower",
        "pseudo_perplexity": "lower",
    },
    per_token=("masked_accuracy", "masked_perplexity", "pseudo_perplexity"),
)
class MaskedWords(Evaluator):
    """Share of masked words that are told rightly, and exp(mean negative log-likelihood) of them.

    Both over one fixed drawing of masks, spoilt as in training. ``pseudo_perplexity`` (Salazar et
    al. 2020) takes the mean over all tokens of some texts, each masked by itself while all others
    are seen. Units are tokens of the tokenizer: figures of different ones do not compare.
    """

    @dataclass(frozen=True)
    class Config:
        pseudo_texts: int = option(
            32, "texts, spread over the split, whose tokens are masked one by one; 0: none", min=0
        )
        samples: int = option(6, "texts with their masks filled, for a table", min=0)

    config: Config

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        found: Filled = FillingMasks().of_split(context, limit=context.limit)
        count = len(found.truth)
        if not count:
            raise UserError(f"masked_lm: the split {context.split!r} has no words to mask")
        hits = int((found.guess == found.truth).sum())
        dataset: Any = context.dataset
        settings = dataset.evaluation_settings(context.split)
        unit = dataset.spec.unit
        low, high = wilson(hits, count)
        nll = -float(found.log_probability.mean())
        measured = [
            Measurement(
                "masked_accuracy", hits / count, n=count, settings=settings, low=low, high=high,
                interval=WILSON,
            ),
            Measurement(
                "masked_perplexity", math.exp(nll), f"per masked {unit}", "lower", n=count,
                settings={**settings, "nll": nll},
            ),
        ]  # fmt: skip
        if context.quick:
            return measured
        if self.config.pseudo_texts:
            measured.append(self._pseudo(context, dataset, unit))
        self._samples(context, dataset)
        return measured

    def _pseudo(self, context: EvaluationContext, dataset: MaskedTokens, unit: str) -> Measurement:
        """Every token of some texts masked by itself."""
        spread = spread_rows(context, dataset, self.config.pseudo_texts)
        total, count = 0.0, 0
        for read, targets in spread:
            ids = torch.where(targets == IGNORE, read, targets).numpy()
            ids = ids[ids != dataset.spec.pad_id]
            places = np.flatnonzero(~np.isin(ids, dataset.fixed))
            if not len(places):
                continue
            rows = np.repeat(ids[None], len(places), 0)
            rows[np.arange(len(places)), places] = dataset.vocabulary.mask_id
            for some in np.array_split(
                np.arange(len(places)), max(1, len(places) * len(ids) // TOKENS_AT_ONCE)
            ):
                tokens = torch.from_numpy(rows[some]).to(context.device)
                at = torch.from_numpy(places[some]).to(context.device)
                with torch.no_grad():
                    hidden = context.model.hidden(tokens)[torch.arange(len(some)), at]
                    truth = torch.from_numpy(ids[places[some]]).to(context.device)
                    total -= float(likeliest(context.model, hidden, truth)[0].sum())
            count += len(places)
        nll = total / max(1, count)
        settings = {"unit": unit, "texts": len(spread), "nll": nll, "masked": "one token at a time"}
        return Measurement(
            "pseudo_perplexity", math.exp(nll), f"per {unit}", "lower", n=count, settings=settings
        )

    def _samples(self, context: EvaluationContext, dataset: MaskedTokens) -> None:
        """Texts with masks, with what the model puts there, and as they were."""
        spread = spread_rows(context, dataset, self.config.samples)
        rows = [self._sample(context, dataset, tokens, targets) for tokens, targets in spread]
        if rows:
            columns = ("masked", "filled", "original")
            context.sink.table("masked_samples", columns, rows)
            named = [dict(zip(columns, row, strict=True)) for row in rows]
            add_samples(context, [{"split": context.split, **row} for row in named])

    def _sample(
        self, context: EvaluationContext, dataset: MaskedTokens, tokens: Any, targets: Any
    ) -> tuple[str, str, str]:
        places = targets != IGNORE
        read, filled, original = tokens.clone(), tokens.clone(), tokens.clone()
        original[places] = targets[places]
        read[places] = dataset.vocabulary.mask_id  # what was left or exchanged is shown as masked
        with torch.no_grad():
            row = tokens[None].to(context.device)
            hidden = context.model.hidden(row, context.model.padding(row))[0, places]
            filled[places] = context.model.project(hidden).argmax(-1).cpu()
        texts = (shown(dataset, ids.tolist()) for ids in (read, filled, original))
        masked, put, was = texts
        return masked, put, was


def spread_rows(
    context: EvaluationContext, dataset: MaskedTokens, count: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """What is read and predicted of ``count`` texts, evenly spread over the split, in its order."""
    many = dataset.texts_in(context.split)
    wanted = set(np.linspace(0, many - 1, min(count, many)).astype(np.int64).tolist())
    found = {}
    for batch in dataset.batches(context.split, seed=context.seed, epoch=0):
        for row, example in enumerate(batch.indices.tolist()):
            if example in wanted:
                found[example] = (batch.tokens[row], batch.targets[row])
    return [found[example] for example in sorted(found)]
