"""Exercise: an update of skip-gram with negative sampling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from scratchlab.exercises.learning.differences import Array, gradient_by
from scratchlab.exercises.looking import case
from scratchlab.registry import register

START = '''\
"""Exercise skipgram: one update of skip-gram with negative sampling, in NumPy.

Mikolov et al. 2013, "Distributed Representations of Words and Phrases", equation 4. With h the row
of `inputs` of a word, u the rows of `outputs`, and σ(z) = 1 / (1 + exp(-z)), the loss is

    L = - Σ log σ(u_t · h) over the targets t  -  Σ log σ(-u_k · h) over the noise words k

and an update is one step down its gradient, of h and of all the u at once.
"""

import numpy as np


def update(inputs, outputs, word, targets, noise, rate):
    """Change inputs and outputs [words, d] in place by - rate · gradient; return the loss before.

    word: a number; targets, noise: arrays of numbers, in which one may come twice (it counts
    twice). Only the row of `word` in inputs changes, and those of targets and noise in outputs.
    """
    raise NotImplementedError
'''

NAMES = ("inputs", "outputs", "word", "targets", "noise", "rate")
CHANGED = ("inputs", "outputs")


def plain(
    wrong: frozenset[str],
    inputs: Array,
    outputs: Array,
    word: int,
    targets: Any,
    noise: Any,
    rate: float,
) -> float:
    """The update, with mistakes in it."""
    ids = np.concatenate([targets, noise])
    labels = np.repeat([1.0, 0.0], [len(targets), len(noise)])
    if "noise taken for targets" in wrong:
        labels[:] = 1.0
    h = inputs[word].copy()
    u = outputs[ids]
    z = u @ h
    signed = np.where(labels == 1, z, -z)
    overflows = "exp overflows" in wrong
    loss = -np.log(1 / (1 + np.exp(-signed))).sum() if overflows else np.logaddexp(0, -signed).sum()
    error = 1 / (1 + np.exp(-z)) - labels
    if "climbs" in wrong:
        error = -error
    change = np.outer(error, h)
    if "words that come twice count once" in wrong:
        outputs[ids] -= rate * change
    else:
        np.add.at(outputs, ids, -rate * change)
    if "outputs changed first" in wrong:
        u = outputs[ids]
    if "only the outputs change" not in wrong:
        inputs[word] -= rate * (error @ u)
    return float(loss)


def by_differences(
    inputs: Array, outputs: Array, word: int, targets: Any, noise: Any, rate: float
) -> float:
    """The loss alone; its gradient by central differences."""

    def loss() -> float:
        h = inputs[word]
        of_targets = sum(np.logaddexp(0.0, -(outputs[t] @ h)) for t in targets)
        return float(of_targets + sum(np.logaddexp(0.0, outputs[k] @ h) for k in noise))

    before = loss()
    changes = [gradient_by(a, loss) for a in (inputs, outputs)]
    for array, change in zip((inputs, outputs), changes, strict=True):
        array -= rate * change
    return before


@register(
    "exercise",
    "skipgram",
    paper="Mikolov et al. 2013",
    with_torch=False,
    use="model=skipgram model.epochs=1 threads=1",
)
class SkipGramUpdate(Exercise):
    """An update of skip-gram with negative sampling."""

    START = START
    HINTS = (
        "Put targets and noise into one array of ids, with labels 1 and 0. The derivative of the "
        "loss by a logit z = u · h is σ(z) - label.",
        "The gradient by h is the sum of (σ(z) - label) u, that by each u is (σ(z) - label) h. "
        "Compute both before anything changes.",
        "outputs[ids] -= … keeps only one change of a row that comes twice; np.add.at(outputs, "
        "ids, …) adds them all.",
        "-log σ(z) is np.logaddexp(0, -z), which does not overflow.",
    )
    MISTAKES = (
        Mistake(
            "outputs changed first",
            "update",
            "the gradient by the word's row uses outputs that have changed already. Compute both "
            "gradients first.",
        ),
        Mistake(
            "words that come twice count once",
            "update",
            "outputs[ids] -= … writes a row once, however often it comes in ids. Use np.add.at.",
        ),
        Mistake(
            "noise taken for targets",
            "update",
            "noise words are pulled near like targets. Their label is 0: they are pushed away.",
        ),
        Mistake("climbs", "update", "the sign is wrong: the loss grows."),
        Mistake("only the outputs change", "update", "the row of the word does not change."),
        Mistake(
            "exp overflows",
            "update",
            "-log(1 / (1 + exp(-z))) is infinite for large -z. Use np.logaddexp(0, -z).",
        ),
    )
    BESIDE = "plain NumPy"

    def reference(self) -> Functions:
        return {"update": by_differences}

    def fast(self) -> Functions:
        return self.plain(frozenset())

    def plain(self, wrong: frozenset[str]) -> Functions:
        return {"update": lambda *a: plain(wrong, *a)}

    def cases(self) -> list[Case]:
        rng = np.random.default_rng(13)

        def made(
            name: str, word: int, targets: list[int], noise: list[int], size: float = 1.0
        ) -> Case:
            tables = size * rng.normal(size=(2, 7, 4))
            ids = [np.array(x, dtype=np.int64) for x in (targets, noise)]
            given = (tables[0], tables[1], word, *ids, 0.25)
            return case(
                "update", name, NAMES, given, results=("the loss",), changes=CHANGED,
                tolerance=1e-6,
            )  # fmt: skip

        return [
            made("one target, three noise words", 2, [5], [0, 1, 6]),
            made("several targets", 0, [1, 2, 3], [4, 5]),
            made("a noise word drawn twice", 3, [1], [4, 4, 2]),
            made("a target that comes twice", 3, [1, 1], [4]),
            made("the word is its own noise", 2, [1], [2]),
            made("no noise", 6, [0], []),
            made("large vectors: exp must not overflow", 1, [0, 3], [5, 6], size=40.0),
        ]

    def timed(self) -> Timed:
        rng = np.random.default_rng(0)
        inputs, outputs = rng.normal(size=(2, 1000, 100)) / 10
        given = (7, np.arange(8), np.arange(20, 30), 0.0)
        return Timed("8 targets, 10 noise words, d = 100",
                     lambda f: f["update"](inputs, outputs, *given))  # fmt: skip

    def refusal(self, config: Mapping[str, Any]) -> str | None:
        if found := unlike("model", ("skipgram",), config["model"]["name"]):
            return found
        return None if config["threads"] == 1 else "it runs in Python, one thread: add threads=1"

    def replacements(self, functions: Functions) -> Iterator[Replacement]:
        """The update of a place; the walk over the text is the plain one, not the compiled."""
        from scratchlab.estimators.embeddings import compiled, negative_sampling

        def update(
            inputs: Any, outputs: Any, rows: Any, ids: Any, labels: Any, rate: float
        ) -> float:
            targets, noise = ids[labels == 1], ids[labels == 0]
            return float(functions["update"](inputs, outputs, int(rows[0]), targets, noise, rate))

        yield Replacement(negative_sampling, "update", update)
        yield Replacement(compiled, "learn", negative_sampling.learn)
