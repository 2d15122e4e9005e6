"""BLEU and chrF of a corpus: sacrebleu's counts of each sentence, and its figure of their sums."""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchlab.evaluation.rescoring.contract import Columns, Sums, column
from scratchlab.evaluation.rescoring.scales import Floats, Scale, logarithm

# A corpus' figure moves further up than down with single sentences; no more than 100 can be right.
CORPUS = Scale(logarithm, lambda v: np.minimum(np.exp(v), 100.0), skewed=True, highest=100.0)
FEWEST = 20  # sentences that an interval can be made of
LONGEST = 5  # the column of BLEU's counts that has the matches of four words


def bleu_metric(lowercase: bool, tokenize: str) -> Any:
    """sacrebleu's BLEU (Post 2018)."""
    from sacrebleu.metrics.bleu import BLEU

    # Tokenised on purpose or not: what was measured is in the signature, not in a warning.
    return BLEU(lowercase=lowercase, tokenize=tokenize, force=True)


def chrf_metric(lowercase: bool, char_order: int, word_order: int) -> Any:
    """sacrebleu's chrF (Popović 2015)."""
    from sacrebleu.metrics.chrf import CHRF

    return CHRF(char_order=char_order, word_order=word_order, lowercase=lowercase)


def counts(metric: Any, columns: Columns) -> Floats:
    """What sacrebleu counts in each sentence [sentences, k]."""
    said = [str(text) for text in column(columns, "said")]
    expected = [str(text) for text in column(columns, "expected")]
    return np.array(metric._extract_corpus_statistics(said, [expected]), dtype=np.float64)


def bleu(columns: Columns, *, lowercase: bool, tokenize: str) -> Sums:
    """BLEU, 0 to 100."""
    rows = counts(bleu_metric(lowercase, tokenize), columns)
    return bleu_sums(rows)


def chrf(columns: Columns, *, lowercase: bool, char_order: int, word_order: int) -> Sums:
    """chrF, 0 to 100."""
    rows = counts(chrf_metric(lowercase, char_order, word_order), columns)
    return chrf_sums(rows)


def bleu_sums(rows: Floats) -> Sums:
    """BLEU of what sacrebleu counts in each sentence [sentences, 10].

    Without a match of four words the figure hangs on how it is smoothed, and has no interval.
    """
    enough = len(rows) >= FEWEST and bool(rows[:, LONGEST].any())
    return Sums(rows, bleu_of, CORPUS, enough=enough)


def chrf_sums(rows: Floats) -> Sums:
    """chrF of what sacrebleu counts in each sentence [sentences, 3 · orders]."""
    return Sums(rows, chrf_of, CORPUS, enough=len(rows) >= FEWEST)


def bleu_of(sums: Floats) -> Floats:
    """BLEU [...] of lengths, matches and n-grams [..., 2 + 4 + 4], smoothed as sacrebleu does
    (``exp``: the first order without a match counts 1/2 of one, the next 1/4 …)."""
    own, reference = sums[..., 0], sums[..., 1]
    matches, total = np.split(sums[..., 2:], 2, axis=-1)
    none = matches == 0
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        smoothed = 100.0 / (2.0 ** np.cumsum(none, axis=-1) * total)
        precisions = np.where(none, smoothed, 100.0 * matches / total)
        short = np.where(own < reference, np.exp(1 - reference / own), 1.0)
        found = short * np.exp(np.log(precisions).mean(-1))
    defined = (total > 0).all(-1) & (matches > 0).any(-1)
    return np.where(defined, found, 0.0)


def chrf_of(sums: Floats) -> Floats:
    """chrF [...] of n-grams of the hypothesis, of the reference and of both [..., 3 · orders]: the
    F-score (β = 2) of mean precision and mean recall over the orders that occur."""
    own, reference, both = np.moveaxis(sums.reshape(*sums.shape[:-1], -1, 3), -1, 0)
    occurs = (own > 0) & (reference > 0)
    orders = np.maximum(occurs.sum(-1), 1)
    zeros = np.zeros_like(own)
    precision = np.divide(both, own, out=zeros.copy(), where=occurs).sum(-1) / orders
    recall = np.divide(both, reference, out=zeros.copy(), where=occurs).sum(-1) / orders
    below = 4 * precision + recall
    return np.divide(500 * precision * recall, below, out=np.zeros_like(below), where=below > 0)
