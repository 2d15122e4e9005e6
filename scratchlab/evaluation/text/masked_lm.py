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
from scratchlab.evaluation.records import Records
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
        kept = keep(context, found)
        accuracy, perplexity = measured
        accuracy.examples = kept.by("ratio", above="hits", below="targets", highest=1.0)
        perplexity.examples = kept.by("perplexity")
        if self.config.pseudo_texts:
            measured.append(self._pseudo(context, dataset, unit))
        self._samples(context, dataset)
        return measured

    def _pseudo(self, context: EvaluationContext, dataset: MaskedTokens, unit: str) -> Measurement:
        """Every token of some texts masked by itself."""
        spread = spread_rows(context, dataset, self.config.pseudo_texts)
        nats: list[float] = []
        counts: list[int] = []
        for read, targets in spread:
            total = 0.0
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
            nats.append(total)
            counts.append(len(places))
        count = sum(counts)
        nll = sum(nats) / max(1, count)
        kept = context.keep("pseudo_likelihoods", nats=nats, targets=counts)
        settings = {"unit": unit, "texts": len(spread), "nll": nll, "masked": "one token at a time"}
        return Measurement(
            "pseudo_perplexity", math.exp(nll), f"per {unit}", "lower", n=count, settings=settings,
            examples=kept.by("perplexity"),
        )  # fmt: skip

    def _samples(self, context: EvaluationContext, dataset: MaskedTokens) -> None:
        """Texts with masks, with what the model puts there, and as they were."""
        spread = spread_rows(context, dataset, self.config.samples)
        rows = [self._sample(context, dataset, tokens, targets) for tokens, targets in spread]
        if rows:
            context.sink.table("masked_samples", ("masked", "filled", "original"), rows)
            given, said, expected = (list(column) for column in zip(*rows, strict=True))
            context.keep("masked_samples", given=given, said=said, expected=expected)

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


def keep(context: EvaluationContext, found: Filled) -> Records:
    """Text by text: what stood in its masked places, what was said, hits and nats."""
    dataset: Any = context.dataset
    texts, starts = np.unique(found.example, return_index=True)

    def by_text(ids: Any) -> list[str]:
        parts = np.split(ids, starts[1:])
        return [" ".join(dataset.token_labels(part.tolist())) for part in parts]

    hits = (found.guess == found.truth).astype(np.int64)
    return context.keep(
        "filled_masks",
        ids=texts.tolist(),
        expected=by_text(found.truth),
        said=by_text(found.guess),
        hits=np.add.reduceat(hits, starts),
        nats=-np.add.reduceat(found.log_probability, starts),
        targets=np.diff(np.append(starts, len(hits))),
    )


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
