"""How a gradient changes the parameters: gradient descent, momentum, Adam.

Each rule works on one flat vector holding all parameters, in buffers allocated once: a handful of
vector operations a step, whatever the number of layers. ``step`` changes ``theta`` in place.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from scratchlab.estimators.protocol import State

# By name: how many vectors as long as the parameters a rule keeps.
VECTORS = {"sgd": 1, "momentum": 2, "adam": 3}
UPDATES = tuple(VECTORS)


class UpdateRule(Protocol):
    def step(self, theta: np.ndarray, gradient: np.ndarray, learning_rate: float) -> None: ...

    def get_state(self) -> State: ...

    def set_state(self, state: State) -> None: ...


class SGD:
    """Plain gradient descent: theta ← theta - learning_rate · gradient."""

    def __init__(self, size: int, dtype: np.dtype) -> None:
        self._scratch = np.empty(size, dtype)

    def step(self, theta: np.ndarray, gradient: np.ndarray, learning_rate: float) -> None:
        np.multiply(gradient, learning_rate, out=self._scratch)
        theta -= self._scratch

    def get_state(self) -> State:
        return {}

    def set_state(self, state: State) -> None:
        """Nothing to take back: the rule has no memory."""


class Momentum:
    """Heavy ball (Polyak 1964): v ← momentum · v + gradient; theta ← theta - learning_rate · v."""

    def __init__(self, size: int, dtype: np.dtype, momentum: float) -> None:
        self.momentum = momentum
        self.velocity = np.zeros(size, dtype)
        self._scratch = np.empty(size, dtype)

    def step(self, theta: np.ndarray, gradient: np.ndarray, learning_rate: float) -> None:
        self.velocity *= self.momentum
        self.velocity += gradient
        np.multiply(self.velocity, learning_rate, out=self._scratch)
        theta -= self._scratch

    def get_state(self) -> State:
        return {"velocity": self.velocity.copy()}

    def set_state(self, state: State) -> None:
        self.velocity[:] = state["velocity"]


class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1) with bias correction; epsilon = 1e-8.

    With c1 = 1 - beta1^t and c2 = 1 - beta2^t the step  lr · (m/c1) / (sqrt(v/c2) + eps)  is
    computed as  (lr · sqrt(c2)/c1) · m / (sqrt(v) + eps · sqrt(c2)),  without corrected copies.
    """

    epsilon = 1e-8

    def __init__(self, size: int, dtype: np.dtype, beta1: float, beta2: float) -> None:
        self.beta1, self.beta2 = beta1, beta2
        self.mean = np.zeros(size, dtype)
        self.square = np.zeros(size, dtype)
        self.steps = 0
        self._scratch = np.empty(size, dtype)

    def step(self, theta: np.ndarray, gradient: np.ndarray, learning_rate: float) -> None:
        self.steps += 1
        scratch, mean, square = self._scratch, self.mean, self.square
        np.subtract(gradient, mean, out=scratch)
        scratch *= 1 - self.beta1
        mean += scratch
        np.multiply(gradient, gradient, out=scratch)
        scratch -= square
        scratch *= 1 - self.beta2
        square += scratch
        correction1 = 1 - self.beta1**self.steps
        root2 = math.sqrt(1 - self.beta2**self.steps)
        np.sqrt(square, out=scratch)
        scratch += self.epsilon * root2
        np.divide(mean, scratch, out=scratch)
        scratch *= learning_rate * root2 / correction1
        theta -= scratch

    def get_state(self) -> State:
        return {
            "mean": self.mean.copy(),
            "square": self.square.copy(),
            "steps": np.array(self.steps),
        }

    def set_state(self, state: State) -> None:
        self.mean[:] = state["mean"]
        self.square[:] = state["square"]
        self.steps = state["steps"].item()


def make_rule(
    name: str, size: int, dtype: np.dtype, momentum: float, beta2: float
) -> SGD | Momentum | Adam:
    """The rule of a name; ``momentum`` is also Adam's beta1."""
    if name == "adam":
        return Adam(size, dtype, momentum, beta2)
    if name == "momentum":
        return Momentum(size, dtype, momentum)
    return SGD(size, dtype)
