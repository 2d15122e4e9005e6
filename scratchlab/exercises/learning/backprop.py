"""Exercise: back-propagation through a multi-layer perceptron, in NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
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
"""Exercise backprop: the gradient of a multi-layer perceptron, by hand, in NumPy.

Rumelhart, Hinton and Williams 1986, "Learning representations by back-propagating errors". With
A_0 = X, layer l computes Z_l = A_{l-1} W_l + b_l and A_l = relu(Z_l); the last one has no relu, its
Z are logits. The loss is the mean over the rows of -log softmax(Z)[target]. Backwards, from
D = ∂loss/∂Z of the last layer on:

    ∂loss/∂W_l = A_{l-1}ᵀ D_l        ∂loss/∂b_l = sum of D_l over the rows
    D_{l-1} = (D_l W_lᵀ) where Z_{l-1} > 0, else 0
"""

import numpy as np


def loss_and_gradients(x, targets, weights, biases):
    """x [rows, inputs], targets [rows] whole numbers → (loss, [∂W of each layer], [∂b of each]).

    weights: a list of [inputs, outputs] of each layer, biases: a list of [outputs]. There may be
    no hidden layer. The gradients have the shapes of weights and biases, and the arguments stay as
    they are.
    """
    raise NotImplementedError
'''

NAMES = ("x", "targets", "weights", "biases")
Found = tuple[float, list[Array], list[Array]]


def plain(
    wrong: frozenset[str], x: Array, targets: Any, weights: list[Array], biases: list[Array]
) -> Found:
    """Forwards and backwards, with mistakes in it."""
    rows = np.arange(len(x))
    outputs = [x]
    for layer, (w, b) in enumerate(zip(weights, biases, strict=True)):
        z = outputs[-1] @ w + b
        outputs.append(np.maximum(z, 0) if layer < len(weights) - 1 else z)
    z = outputs.pop()
    shift = 0 if "no maximum subtracted" in wrong else z.max(1, keepdims=True)
    p = np.exp(z - shift)
    p /= p.sum(1, keepdims=True)
    loss = -np.log(p[rows, targets]).mean()
    if "no maximum subtracted" not in wrong:
        loss = (np.log(np.exp(z - shift).sum(1)) - (z - shift)[rows, targets]).mean()
    d = p.copy()
    if "target not subtracted" not in wrong:
        d[rows, targets] -= 1
    if "gradient of the sum" not in wrong:
        d /= len(x)
    of_weights: list[Array] = []
    of_biases: list[Array] = []
    for layer in reversed(range(len(weights))):
        of_weights.insert(0, outputs[layer].T @ d)
        mean = "bias averaged once more" in wrong
        of_biases.insert(0, d.mean(0) if mean else d.sum(0))
        if layer:
            d = d @ weights[layer].T
            if "slope of relu left out" not in wrong:
                d = d * (outputs[layer] > 0)
            if "activation in place of its slope" in wrong:
                d = d * outputs[layer]
    return loss, of_weights, of_biases


def by_differences(x: Array, targets: Any, weights: list[Array], biases: list[Array]) -> Found:
    """The loss alone, and its gradient by central differences."""
    width = 1e-3 / max(1.0, float(np.abs(x).max()))  # so that no unit is turned on or off by it
    layers = list(zip([w.copy() for w in weights], [b.copy() for b in biases], strict=True))

    def loss() -> float:
        a = x
        for number, (w, b) in enumerate(layers):
            a = a @ w + b
            if number < len(layers) - 1:
                a = a.clip(0)
        return float(np.mean([np.logaddexp.reduce(z) - z[y] for z, y in zip(a, targets)]))

    return (
        loss(),
        [gradient_by(w, loss, width) for w, _ in layers],
        [gradient_by(b, loss, width) for _, b in layers],
    )


@register(
    "exercise",
    "backprop",
    paper="Rumelhart, Hinton & Williams 1986",
    with_torch=False,
    use="model=mlp",
)
class Backprop(Exercise):
    """Back-propagation through a multi-layer perceptron, in NumPy."""

    START = START
    HINTS = (
        "Keep every A_l of the forward pass in a list: the way back needs them.",
        "D of the last layer is (softmax(Z) - onehot(targets)) / rows. Subtract the largest logit "
        "of each row before exp.",
        "Go backwards through the layers: first ∂W and ∂b from D and A_{l-1}, then the D of the "
        "layer below.",
        "Where relu was 0 its slope is 0: D_{l-1} = (D_l @ W_l.T) * (A_{l-1} > 0).",
    )
    MISTAKES = (
        Mistake(
            "gradient of the sum",
            "loss_and_gradients",
            "the loss is a mean, but the gradient is that of the sum: divide D by the rows.",
        ),
        Mistake(
            "target not subtracted",
            "loss_and_gradients",
            "D of the last layer is softmax(Z). 1 is subtracted at each row's target.",
        ),
        Mistake(
            "slope of relu left out",
            "loss_and_gradients",
            "the error passes through units that were off. Multiply D by (A > 0).",
        ),
        Mistake(
            "activation in place of its slope",
            "loss_and_gradients",
            "D is multiplied by the activation itself. The slope of relu is 1 where it is above 0.",
        ),
        Mistake(
            "bias averaged once more",
            "loss_and_gradients",
            "∂b is a mean over the rows of D, which is divided by them already. Add D up.",
        ),
        Mistake(
            "no maximum subtracted",
            "loss_and_gradients",
            "exp of a large logit overflows. Subtract the largest of each row first.",
        ),
    )
    BESIDE = "plain NumPy"

    def reference(self) -> Functions:
        return {"loss_and_gradients": by_differences}

    def fast(self) -> Functions:
        return self.plain(frozenset())

    def plain(self, wrong: frozenset[str]) -> Functions:
        return {"loss_and_gradients": lambda *a: plain(wrong, *a)}

    def cases(self) -> list[Case]:
        rng = np.random.default_rng(12)

        def made(name: str, rows: int, *sizes: int, size: float = 1.0, exact: float = 1e-6) -> Case:
            weights = [rng.normal(size=(a, b)) for a, b in pairwise(sizes)]
            biases = [rng.normal(size=n) for n in sizes[1:]]
            x = size * rng.normal(size=(rows, sizes[0]))
            targets = rng.integers(0, sizes[-1], rows)
            results = ("the loss", "∂W", "∂b")
            given = (x, targets, weights, biases)
            return case("loss_and_gradients", name, NAMES, given, results=results, tolerance=exact)

        return [
            made("one hidden layer", 6, 3, 4, 3),
            made("no hidden layer", 5, 4, 3),
            made("three hidden layers of unlike size", 4, 2, 5, 3, 4, 3),
            made("one row", 1, 3, 4, 2),
            made("one input, one hidden unit", 5, 1, 1, 2),
            made("large inputs: the softmax must not overflow", 3, 2, 3, 3, size=2e3, exact=1e-5),
        ]

    def timed(self) -> Timed:
        rng = np.random.default_rng(0)
        x, targets = rng.normal(size=(256, 64)), rng.integers(0, 10, 256)
        weights = [rng.normal(size=s) / 8 for s in ((64, 128), (128, 10))]
        biases = [np.zeros(128), np.zeros(10)]
        call = lambda f: f["loss_and_gradients"](x, targets, weights, biases)  # noqa: E731
        return Timed("256 rows, 64-128-10", call)

    def refusal(self, config: Mapping[str, Any]) -> str | None:
        model = config["model"]
        return unlike("model", ("mlp",), model["name"]) or unlike(
            "model.activation", ("relu",), model["activation"]
        )

    def replacements(self, functions: Functions) -> Iterator[Replacement]:
        """The gradient of the network of model=mlp; the penalty is added by the program."""
        from scratchlab.estimators.network import Network

        def loss_and_gradient(self: Any, X: Any, T: Any) -> tuple[float, int]:
            found = functions["loss_and_gradients"](X, T, self.weights, self.biases)
            loss, of_weights, of_biases = found
            for layer, (w, b) in enumerate(zip(of_weights, of_biases, strict=True)):
                self._weight_gradients[layer][:] = w
                self._bias_gradients[layer][:] = b
            if self.l2:
                self.gradient[: self.n_weights] += self.l2 * self.theta[: self.n_weights]
            self.reserve(len(X))
            hits = int((self._forward(X).argmax(1) == T).sum())
            return float(loss), hits

        yield Replacement(Network, "loss_and_gradient", loss_and_gradient)
