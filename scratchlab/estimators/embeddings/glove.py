"""GloVe: vectors whose products are the logarithms of co-occurrence counts.

For words i and j that stand near each other X times, with the vectors w_i and v_j (a word has one
of each kind) and their biases, the loss is

    J = Σ ½ f(X) (w_i · v_j + b_i + c_j - log X)²,     f(X) = min(1, (X / x_max)^0.75)

(Pennington et al. 2014, equation 8), descended one pair at a time by AdaGrad: each component moves
by rate · g / √S, where S is 1 plus the squares of its gradients g so far. Each g is clipped to
±``clip``, since on a small text single pairs would throw the vectors out. The vector of a word is
w + v.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from scratchlab.errors import UserError
from scratchlab.estimators.embeddings.base import WordEstimator, WordOptions, with_width
from scratchlab.estimators.embeddings.cooccurrence import Cooccurrence
from scratchlab.estimators.embeddings.text import Text
from scratchlab.estimators.embeddings.vectors import WordVectors
from scratchlab.estimators.protocol import State
from scratchlab.registry import option, register

POWER = 0.75


@register(
    "estimator",
    "glove",
    tasks=("word_vectors",),
    needs=("numba",),
    extra="embeddings",
    loss="weighted squared error of log counts",
    exports=("word2vec", "word2vec_binary"),
    begins_with=("vectors",),
    outputs="word_arithmetic",
)
class GloVe(WordEstimator):
    """GloVe: weighted least squares on the logarithms of co-occurrence counts, by AdaGrad."""

    @dataclass(frozen=True)
    class Config(WordOptions):
        """Options of GloVe."""

        epochs: int = option(25, "passes over the pairs", min=0)
        window: int = option(10, "words to either side that count as context", min=1, max=1000)
        learning_rate: float = option(0.05, "AdaGrad's step size", above=0)
        x_max: float = option(10.0, "count from which on a pair has full weight", above=0)
        clip: float = option(10.0, "largest component of a gradient", above=0)
        pairs_in_memory: int = option(
            20_000_000, "pairs that are counted and learned from at once; others wait in files",
            min=1000,
        )  # fmt: skip

    remedy = "Lower model.learning_rate or model.clip."
    learning_rate: float
    x_max: float
    clip: float
    pairs_in_memory: int
    # [words, vector_size + 1]: vectors with their biases, and AdaGrad's S of each component
    inputs_: NDArray[np.float32]
    outputs_: NDArray[np.float32]
    input_squares_: NDArray[np.float32]
    output_squares_: NDArray[np.float32]
    _counted: tuple[Text, Cooccurrence] | None = None
    _seed_: int

    def _initialise(self, rng: np.random.Generator) -> None:
        shape, d = (len(self.words_), self.vector_size + 1), self.vector_size
        self.inputs_, self.outputs_ = (
            ((rng.random(shape, dtype=np.float32) - 0.5) / d).astype(np.float32) for _ in range(2)
        )
        self.input_squares_ = np.ones(shape, dtype=np.float32)
        self.output_squares_ = np.ones(shape, dtype=np.float32)
        self._seed_ = int(rng.integers(2**31))
        if self._given is not None:
            rows = self._rows_of(self._given.words)
            self.inputs_[rows, :d] = self.outputs_[rows, :d] = self._given.matrix / 2

    def epoch(self, X: Any, y: Any = None) -> dict[str, float]:
        pairs = self._count(X)
        if not len(pairs):
            raise UserError(
                "no two words of the vocabulary stand in one line of the training text",
                "Lower model.min_count, or give longer lines.",
            )
        rng = np.random.default_rng((self._seed_, self.n_epochs_))
        loss, n = 0.0, 0
        for shard in rng.permutation(len(pairs.shards)).tolist():
            i, j, x = pairs.pairs(shard)
            order = rng.permutation(len(i))
            found = self._pass(i[order], j[order], x[order], self.learning_rate)
            loss, n = loss + found, n + len(i)
        self._check_loss(loss)
        self.n_epochs_ += 1
        self.finished_ = self.n_epochs_ >= self.epochs
        return {"loss": loss / n}

    def evaluate(self, X: Any, y: Any = None) -> dict[str, float]:
        """The same loss on the pairs of another text, whose counts are scaled to the size of the
        training text."""
        pairs = self._pairs(X)
        scale = self.words_.counts.sum() / max(1, self._size(X))
        loss, n = 0.0, 0
        for shard in range(len(pairs.shards)):
            i, j, x = pairs.pairs(shard)
            loss, n = loss + self._pass(i, j, x * scale, 0.0), n + len(i)
        return {"loss": loss / max(1, n)}

    def _pass(
        self, i: NDArray[np.int32], j: NDArray[np.int32], x: NDArray[np.float64], rate: float
    ) -> float:
        """The loss of pairs, learned from one after the other (rate 0: only measured)."""
        from scratchlab.estimators.embeddings.compiled_glove import descend

        targets = np.log(x).astype(np.float32)
        weights = np.minimum(1, (x / self.x_max) ** POWER).astype(np.float32)
        ends = np.linspace(0, len(i), self._threads + 1).astype(int)
        parameters = (self.inputs_, self.outputs_, self.input_squares_, self.output_squares_)
        with ThreadPoolExecutor(self._threads) as pool:
            shares = [
                pool.submit(
                    descend, i[a:b], j[a:b], targets[a:b], weights[a:b], *parameters,
                    float(rate), float(self.clip),
                )
                for a, b in zip(ends, ends[1:])  # noqa: RUF007
            ]  # fmt: skip
            return float(sum(share.result() for share in shares))

    def _count(self, text: Text) -> Cooccurrence:
        """The pairs of the training text, counted once."""
        if self._counted is None or self._counted[0] is not text:
            self._counted = text, self._pairs(text)
        return self._counted[1]

    def _pairs(self, text: Text) -> Cooccurrence:
        table = self.words_.table(text)
        return Cooccurrence(text, table, len(self.words_), self.window, self.pairs_in_memory)

    def _size(self, text: Text) -> int:
        """The words of a text that have vectors."""
        return int(text.counts()[self.words_.table(text) >= 0].sum())

    def vectors(self) -> WordVectors:
        d = self.vector_size
        return WordVectors(self.words_.words, self.inputs_[:, :d] + self.outputs_[:, :d])

    def get_state(self) -> State:
        return super().get_state() | {
            "inputs": self.inputs_,
            "outputs": self.outputs_,
            "input_squares": self.input_squares_,
            "output_squares": self.output_squares_,
            "seed": np.array(self._seed_),
        }

    def set_state(self, state: State) -> Self:
        super().set_state(state)
        shape = len(self.words_), self.vector_size + 1
        self.inputs_ = with_width(state["inputs"], *shape, "inputs")
        self.outputs_ = with_width(state["outputs"], *shape, "outputs")
        self.input_squares_ = with_width(state["input_squares"], *shape, "input_squares")
        self.output_squares_ = with_width(state["output_squares"], *shape, "output_squares")
        self._seed_ = state["seed"].item()
        return self


def descend(
    i: NDArray[np.int32],
    j: NDArray[np.int32],
    targets: NDArray[Any],
    weights: NDArray[Any],
    inputs: NDArray[Any],
    outputs: NDArray[Any],
    input_squares: NDArray[Any],
    output_squares: NDArray[Any],
    rate: float,
    clip: float,
) -> float:
    """One AdaGrad step for each pair, in place, in plain NumPy; the sum of the pairs' losses.

    ``targets`` [pairs]: log X; ``weights``: f(X). What trains is the same, compiled
    (:mod:`.compiled_glove`).
    """
    loss = 0.0
    for a, b, target, weight in zip(i, j, targets, weights):
        w, v = inputs[a].copy(), outputs[b].copy()
        error = w[:-1] @ v[:-1] + w[-1] + v[-1] - target
        loss += 0.5 * weight * error * error
        if rate == 0:
            continue
        of_w = weight * error * np.append(v[:-1], 1)
        of_v = weight * error * np.append(w[:-1], 1)
        for gradient, row, squares in ((of_w, inputs[a], input_squares[a]),
                                       (of_v, outputs[b], output_squares[b])):  # fmt: skip
            gradient = np.clip(gradient, -clip, clip)
            row -= rate * gradient / np.sqrt(squares)
            squares += gradient**2
    return float(loss)
