"""What a model of masked words puts in their places: in the texts of a split, and in a person's."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scratchlab.data.contract import IGNORE
from scratchlab.data.kinds.masked_tokens import MaskedTokens
from scratchlab.errors import UnansweredRows, UserError, shortened
from scratchlab.evaluation.contract import EvaluationContext
from scratchlab.evaluation.outputs.contract import Outputs, say_if_cut
from scratchlab.registry import register

LOGGER = logging.getLogger("scratchlab")
MASK = "[MASK]"  # how a person may write it, whatever the tokenizer calls it


@dataclass(frozen=True)
class Filled:
    """Of each masked word [n], text after text: its text, what stood there, the likeliest token,
    and the log-probability of what stood there."""

    example: NDArray[np.int64]
    truth: NDArray[np.int64]
    guess: NDArray[np.int64]
    log_probability: NDArray[np.float64]


@register("outputs", "filled_masks")
class FillingMasks(Outputs):
    """The likeliest tokens at the places that are to be predicted."""

    def make(self, context: EvaluationContext, **how: Any) -> Filled:
        """Of the first ``limit`` texts (None: all), in the order of the split."""
        found: list[tuple[NDArray[Any], ...]] = []
        for batch in context.dataset.batches(context.split, seed=context.seed, epoch=0):
            rows = (batch.targets != IGNORE).sum(1)
            example = batch.indices.repeat_interleave(rows)
            with torch.no_grad():
                hidden, truth, _ = context.task.predicted(context.model, batch.to(context.device))
                log_p, guess = likeliest(context.model, hidden, truth)
            found.append(tuple(a.cpu().numpy() for a in (example, truth, guess, log_p)))
        columns = [np.concatenate(column) for column in zip(*found, strict=True)]
        order = np.argsort(columns[0], kind="stable")
        if how["limit"] is not None:
            order = order[columns[0][order] < how["limit"]]
        examples, truths, guesses, log_ps = (column[order] for column in columns)
        return Filled(examples, truths, guesses, log_ps.astype(np.float64))

    def of_lines(
        self, context: EvaluationContext, lines: Iterator[str], at_once: int
    ) -> Iterator[Iterable[str]]:
        """Each line with its masks filled, then for each mask a tab and the likeliest words with
        their probabilities.

        Raises:
            UnansweredRows: at the end, if lines had no mask; each was told of in its place.
        """
        total = refused = 0
        for line in lines:
            total += 1
            try:
                yield [filled(context, line) if line.strip() else ""]
            except UserError as error:
                refused += 1
                LOGGER.error("%s", error)
                yield [""]
        if refused:
            raise UnansweredRows(f"{refused:,} of {total:,} lines were not answered")


def likeliest(
    model: Any, hidden: torch.Tensor, truth: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """hidden [N, D], truth [N] → the log-probability of each, and the likeliest token, [N]."""
    log_p, guess = [hidden.new_zeros(0)], [truth.new_zeros(0)]
    for h, y in zip(hidden.split(1024), truth.split(1024), strict=True):
        scores = model.project(h).float().log_softmax(-1)
        log_p.append(scores.gather(1, y[:, None])[:, 0])
        guess.append(scores.argmax(-1))
    return torch.cat(log_p), torch.cat(guess)


def filled(context: EvaluationContext, line: str) -> str:
    """What is said to one line; UserError if it has no mask, or only beyond what is read."""
    dataset: Any = context.dataset
    assert isinstance(dataset, MaskedTokens)
    ids = dataset.encode(line.replace(MASK, dataset.mask_text))
    longest = context.model.block_size
    say_if_cut(len(ids), longest)
    places = [i for i, token in enumerate(ids[:longest]) if token == dataset.tokenizer.mask_id]
    if not places:
        raise UserError(
            f"{shortened(line)} has no {MASK}" + (" in what is read" if len(ids) > longest else ""),
            f"Write {MASK} in place of a word, for example: the {MASK} returns a list.",
        )
    tokens = torch.tensor([ids[:longest]], device=context.device)
    with torch.no_grad():
        hidden = context.model.hidden(tokens)[0, places]
        shares = context.model.project(hidden).float().softmax(-1)
    shares[:, torch.from_numpy(dataset.fixed)] = 0  # no word is an end of a text
    best, words = shares.topk(min(context.task.config.shown, shares.shape[1]))
    text = list(ids[:longest])
    for place, word in zip(places, words[:, 0].tolist(), strict=True):
        text[place] = word
    columns = [
        "  ".join(
            f"{label} {p:.3f}" for label, p in zip(dataset.token_labels(row), chances, strict=True)
        )
        for row, chances in zip(words.tolist(), best.tolist(), strict=True)
    ]
    return "\t".join([shown(dataset, text), *columns])


def shown(dataset: MaskedTokens, ids: Sequence[int]) -> str:
    """A text as a person reads it, on one line, with its masks."""
    mask, parts = dataset.tokenizer.mask_id, [[]]  # type: ignore[var-annotated]
    for i in ids:
        if i == mask:
            parts.append([])
        else:
            parts[-1].append(int(i))
    return " ".join(f" {MASK} ".join(dataset.decode(part).strip() for part in parts).split())
