"""Exercise: modified Kneser-Ney discounting."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from scratchlab.exercises.contract import (
    Case,
    Exercise,
    Functions,
    Mistake,
    Replacement,
    Timed,
    unlike,
)
from scratchlab.exercises.looking import case
from scratchlab.registry import register

START = '''\
"""Exercise kneser_ney: modified Kneser-Ney discounting.

Kneser and Ney 1995; Chen and Goodman 1999, "An empirical study of smoothing techniques for language
modeling", equations 23 to 26. From each count c something is taken off, D(c), and what that frees
goes to the order below:

    p(w | context) = (c(context w) - D(c)) / c(context) + γ(context) p(w | shorter context)

c(context) is the sum of the counts of its n-grams, γ(context) the sum of what was taken off them
over that. Below the highest order, an n-gram does not count how often it occurs, but how many
different words occur before it: "Francisco" is frequent, but follows "San" only.
"""

import numpy as np


def continuation_counts(lefts, rights, n_words):
    """lefts, rights [n]: the words of each pair of neighbours in a text, as numbers below n_words
    → [n_words] whole numbers: how many different words stand before each word."""
    raise NotImplementedError


def discounts(counts):
    """counts [n]: those of all n-grams of an order → array [D1, D2, D3], taken off counts of 1, of
    2 and of 3 or more. With n_k, the number of n-grams of count k, and Y = n_1 / (n_1 + 2 n_2):

        D_k = k - (k + 1) Y n_{k+1} / n_k        (n_1, n_2 and n_3 are above 0)
    """
    raise NotImplementedError


def interpolate(counts, contexts, below, d, n_contexts):
    """→ (probabilities [n], γ [n_contexts]).

    counts [n]: of the n-grams, at least 1; contexts [n]: the number of each one's context; below
    [n]: the probability of its word by the order below; d: [D1, D2, D3]. γ is 1 for a context that
    has no n-gram.
    """
    raise NotImplementedError
'''

Pair = tuple[Any, Any]


def plain_continuation(wrong: frozenset[str], lefts: Any, rights: Any, n_words: int) -> Any:
    if "how often it occurs" in wrong:
        return np.bincount(rights, minlength=n_words)
    pairs = np.unique(np.stack([lefts, rights]), axis=1)
    side = 0 if "words after it" in wrong else 1
    return np.bincount(pairs[side], minlength=n_words)


def plain_discounts(wrong: frozenset[str], counts: Any) -> Any:
    if "counts in place of their number" in wrong:
        n = np.array([np.sum(counts[counts == k]) for k in range(1, 5)], dtype=float)
    else:
        n = np.bincount(counts, minlength=5)[1:5].astype(float)
    y = n[0] / (n[0] + (1 if "n_2 once" in wrong else 2) * n[1])
    k = np.arange(1, 4)
    if "one discount for all" in wrong:
        return np.repeat(y, 3)
    factor = k if "k in place of k + 1" in wrong else k + 1
    return k - factor * y * n[1:] / n[:3]


def plain_interpolate(
    wrong: frozenset[str], counts: Any, contexts: Any, below: Any, d: Any, n_contexts: int
) -> Pair:
    if "one discount for all" in wrong:
        taken = np.full(len(counts), d[0])
    else:
        taken = np.asarray(d)[np.minimum(counts, 3) - 1]
    total = np.bincount(contexts, counts, minlength=n_contexts)
    freed = np.bincount(contexts, taken, minlength=n_contexts)
    if "γ from D1 times the kinds" in wrong:
        freed = d[0] * np.bincount(contexts, minlength=n_contexts)
    there = total > 0
    gamma = np.divide(freed, total, out=np.ones(n_contexts), where=there)
    if "γ of an empty context is 0" in wrong:
        gamma[~there] = 0.0
    rest = below if "γ left out" in wrong else gamma[contexts] * below
    kept = counts if "nothing taken off" in wrong else counts - taken
    divisor = counts.sum() if "divided by all counts" in wrong else total[contexts]
    if "backs off" in wrong:
        rest = 0.0
    return kept / divisor + rest, gamma


def set_continuation(lefts: Any, rights: Any, n_words: int) -> Any:
    before: dict[int, set[int]] = defaultdict(set)
    for left, right in zip(lefts.tolist(), rights.tolist()):
        before[right].add(left)
    return np.array([len(before[word]) for word in range(n_words)])


def written_discounts(counts: Any) -> Any:
    n1, n2, n3, n4 = (sum(c == k for c in counts.tolist()) for k in (1, 2, 3, 4))
    y = n1 / (n1 + 2 * n2)
    return np.array([1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])


def written_interpolate(
    counts: Any, contexts: Any, below: Any, d: Sequence[float], n_contexts: int
) -> Pair:
    """N-gram by N-gram, as the formula is written."""
    grams = list(zip(counts.tolist(), contexts.tolist(), below.tolist()))
    total = {c: sum(n for n, other, _ in grams if other == c) for c in range(n_contexts)}
    gamma = [
        sum(d[min(n, 3) - 1] for n, other, _ in grams if other == c) / total[c] if total[c] else 1.0
        for c in range(n_contexts)
    ]
    found = [(n - d[min(n, 3) - 1]) / total[c] + gamma[c] * p for n, c, p in grams]
    return np.array(found), np.array(gamma)


@register(
    "exercise",
    "kneser_ney",
    paper="Chen & Goodman 1999",
    with_torch=False,
    use="model=ngram",
)
class KneserNey(Exercise):
    """Modified Kneser-Ney discounting of n-gram counts."""

    START = START
    HINTS = (
        "continuation_counts: a pair that occurs ten times counts once. np.unique over the pairs "
        "(axis=1), then np.bincount of the right words.",
        "discounts: np.bincount(counts, minlength=5) holds n_0 … n_4.",
        "interpolate: taken = d[np.minimum(counts, 3) - 1] is what each n-gram loses. "
        "np.bincount(contexts, weights=…, minlength=n_contexts) adds up by context.",
        "γ = (sum of taken) / (sum of counts) of each context; the probability is (counts - taken) "
        "/ total[contexts] + γ[contexts] * below.",
    )
    MISTAKES = (
        Mistake(
            "how often it occurs",
            "continuation_counts",
            "it counts occurrences. Count different words before: a pair counts once, however "
            "often it occurs.",
        ),
        Mistake(
            "words after it",
            "continuation_counts",
            "it counts the words that follow a word. Count those that stand before it.",
        ),
        Mistake(
            "one discount for all",
            "discounts",
            "all three are Y, the discount of the first Kneser-Ney. The modified one has three.",
        ),
        Mistake("n_2 once", "discounts", "Y is n_1 / (n_1 + 2 n_2): n_2 counts twice."),
        Mistake("k in place of k + 1", "discounts", "the factor before Y is k + 1."),
        Mistake(
            "counts in place of their number",
            "discounts",
            "n_k is the number of n-grams of count k, not the sum of their counts.",
        ),
        Mistake(
            "γ left out",
            "interpolate",
            "the order below is added whole, and all probabilities add up to more than 1.",
        ),
        Mistake(
            "backs off",
            "interpolate",
            "the order below is not added for n-grams that were seen. Interpolated Kneser-Ney adds "
            "it always.",
        ),
        Mistake(
            "nothing taken off",
            "interpolate",
            "nothing is taken off the counts, so there is nothing to give to the order below.",
        ),
        Mistake(
            "one discount for all",
            "interpolate",
            "D1 is taken off every count. Counts of 2 lose D2, those of 3 and more D3.",
        ),
        Mistake(
            "γ from D1 times the kinds",
            "interpolate",
            "γ is made of D1 times the number of n-grams. It is the sum of what was taken off "
            "each.",
        ),
        Mistake(
            "divided by all counts",
            "interpolate",
            "it divides by the sum of all counts. Each context has a sum of its own.",
        ),
        Mistake(
            "γ of an empty context is 0",
            "interpolate",
            "a context without n-grams has γ 1: everything comes from the order below.",
        ),
    )
    BESIDE = "plain NumPy"

    def reference(self) -> Functions:
        return {
            "continuation_counts": set_continuation,
            "discounts": written_discounts,
            "interpolate": written_interpolate,
        }

    def fast(self) -> Functions:
        return self.plain(frozenset())

    def plain(self, wrong: frozenset[str]) -> Functions:
        return {
            "continuation_counts": lambda *a: plain_continuation(wrong, *a),
            "discounts": lambda *a: plain_discounts(wrong, *a),
            "interpolate": lambda *a: plain_interpolate(wrong, *a),
        }

    def cases(self) -> list[Case]:
        rng = np.random.default_rng(15)

        def counted(name: str, text: Sequence[int], n_words: int) -> Case:
            words = np.array(text, dtype=np.int64)
            given = (words[:-1], words[1:], n_words)
            names = ("lefts", "rights", "n_words")
            return case("continuation_counts", name, names, given, results=("the counts",))

        def taken(name: str, counts: Any) -> Case:
            given = (np.asarray(counts, dtype=np.int64),)
            return case("discounts", name, ("counts",), given, results=("the discounts",))

        def level(name: str, counts: list[int], contexts: list[int], n_contexts: int) -> Case:
            below = rng.dirichlet(np.ones(len(counts)))
            numbers = np.array(counts), np.array(contexts)
            given = (*numbers, below, np.array([0.4, 0.9, 1.3]), n_contexts)
            names = ("counts", "contexts", "below", "d", "n_contexts")
            return case("interpolate", name, names, given, results=("the probabilities", "γ"))

        zipf = rng.zipf(1.6, 400).clip(max=60)
        return [
            counted("a text of 200 words", rng.integers(0, 12, 200).tolist(), 12),
            counted("a word that follows one other only", [0, 1, 0, 1, 2, 0, 1], 4),
            counted("one pair", [3, 3], 5),
            taken("400 n-grams", zipf),
            taken("hardly any", [1, 1, 1, 2, 2, 3]),
            taken("many of count 1", [1] * 50 + [2] * 9 + [3] * 4 + [4] * 3 + [17, 200]),
            level("six n-grams of three contexts", [1, 4, 2, 1, 3, 1], [0, 0, 1, 1, 1, 2], 3),
            level("a context without n-grams", [2, 1, 5], [0, 0, 3], 5),
            level("one n-gram", [1], [0], 1),
            level("contexts in no order", [3, 1, 2, 2, 9], [4, 0, 4, 2, 0], 5),
        ]

    def timed(self) -> Timed:
        rng = np.random.default_rng(0)
        counts, contexts = rng.zipf(1.6, 20000).clip(max=99), rng.integers(0, 3000, 20000)
        given = (counts, contexts, rng.random(20000), np.array([0.4, 0.9, 1.3]), 3000)
        return Timed("20,000 n-grams", lambda f: f["interpolate"](*given))

    def refusal(self, config: Mapping[str, Any]) -> str | None:
        model = config["model"]
        return unlike("model", ("ngram",), model["name"]) or unlike(
            "model.smoothing", ("kneser_ney",), model["smoothing"]
        )

    def replacements(self, functions: Functions) -> Iterator[Replacement]:
        """Discounts of all orders and the probabilities from the second on; the program counts."""
        from scratchlab.estimators.ngrams import smoothing

        yield Replacement(smoothing, "estimated", functions["discounts"])
        yield Replacement(smoothing, "interpolate", functions["interpolate"])
