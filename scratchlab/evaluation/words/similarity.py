"""Whether the cosines of word vectors rank pairs of words as people do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scratchlab.data.contract import Dataset
from scratchlab.errors import UserError
from scratchlab.estimators.embeddings.vectors import WordVectors, unit_length
from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.intervals import fisher
from scratchlab.evaluation.words.word_sets import (
    Pair,
    embedded_pairs,
    find_set,
    form_in,
    read_pairs,
    vectors_of,
)
from scratchlab.registry import option, register


@register(
    "evaluator",
    "similarity",
    tasks=("word_vectors",),
    measures={"similarity": "higher"},
    changed_by=("pairs", "unknown"),
)
class Similarity(Evaluator):
    """Spearman's rank correlation of cosines with judgements (Finkelstein et al. 2002).

    ``settings`` tell how many pairs were known. Figures over different known pairs do not compare;
    ``unknown=zero`` counts every pair. The interval is Fisher's (z, Bonett and Wright's variance).
    """

    @dataclass(frozen=True)
    class Config:
        pairs: str | None = option(
            None,
            "file of pairs and judgements (WordSim-353 and the like); null: a small set of words "
            "of Python's documentation",
            path="data",
        )
        unknown: str = option(
            "skip",
            "pairs with a word outside the vocabulary: skip leaves them out, compose asks FastText "
            "for vectors of such words, zero gives these pairs a cosine of 0",
            choices=("skip", "compose", "zero"),
        )

    config: Config

    def check(self, dataset: Dataset) -> None:
        self._pairs(dataset)

    def _pairs(self, dataset: Dataset) -> list[Pair]:
        path = self.config.pairs
        return embedded_pairs() if path is None else read_pairs(find_set(dataset, path))

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        vectors = vectors_of(context)
        path, pairs = self.config.pairs, self._pairs(context.dataset)
        composed = self.config.unknown == "compose"
        cosines = [cosine(vectors, pair, composed) for pair in pairs]
        known = [c is not None for c in cosines]
        name = path or "the embedded pairs"
        if not any(known):
            raise UserError(
                f"similarity: none of the {len(pairs):,} pairs of {name} has vectors for both "
                "words",
                "Give pairs of words that the training text has, or train on more text.",
            )
        kept_ids = [i for i in range(len(pairs)) if known[i] or self.config.unknown == "zero"]
        judged = np.array([pairs[i].judged for i in kept_ids])
        found = np.array([cosines[i] or 0.0 for i in kept_ids])
        if len(kept_ids) < 4 or np.ptp(judged) == 0 or np.ptp(found) == 0:
            raise UserError(
                f"similarity: {len(kept_ids)} of the {len(pairs):,} pairs of {name} are known, too "
                "few (or too much alike) to be ranked"
            )
        kept = context.keep(
            "word_pairs",
            ids=kept_ids,
            given=[f"{pairs[i].first} {pairs[i].second}" for i in kept_ids],
            expected=judged,
            said=found,
        )
        if not context.quick:
            rows = [(p.first, p.second, p.judged, "unknown" if c is None else round(c, 4))
                    for p, c in zip(pairs, cosines)]  # fmt: skip
            context.sink.table("similarity", ["word", "other word", "judged", "cosine"], rows)
        one = measured(judged, found, len(pairs), sum(known), name, self.config.unknown)
        one.examples = kept.by("spearman")
        return [one]


def cosine(vectors: WordVectors, pair: Pair, composed: bool = False) -> float | None:
    """The cosine of a pair's vectors; None if a word has none (``composed``: and none can be
    made)."""
    words = [form_in(vectors, w) for w in (pair.first, pair.second)]
    both = [vectors.vector(w) if composed or w in vectors.numbers else None for w in words]
    if both[0] is None or both[1] is None:
        return None
    a, b = unit_length(np.stack([both[0], both[1]]))
    return float(a @ b)


def measured(
    judged: np.ndarray, found: np.ndarray, pairs: int, known: int, name: str, unknown: str
) -> Measurement:
    """Spearman's correlation with what it was computed over."""
    from scipy.stats import spearmanr

    r, n = float(spearmanr(judged, found)[0]), len(judged)
    one = Measurement(
        name="similarity",
        value=r,
        n=n,
        settings={
            "pairs": name,
            "in_vocabulary": known,
            "left_out": pairs - known,
            "unknown": unknown,
        },
    )
    if (ends := fisher(r, n)) is not None:
        one.low, one.high, one.interval = ends
    return one
