"""Fitted state as plain arrays: random generators, class labels and feature names.

A state must fit in a ``safetensors`` file: numbers only, no objects. Text is kept as UTF-8 bytes of
a JSON list.
"""

from __future__ import annotations

import json
from typing import Any, Self

import numpy as np

from scratchlab.estimators.protocol import InputError, State

MOST_FEATURES = 2**31
_MASK = (1 << 64) - 1


def generator_to_array(rng: np.random.Generator) -> np.ndarray:
    """The whole state of a PCG64 generator as six 64-bit words."""
    state: dict[str, Any] = dict(rng.bit_generator.state)
    inner = state["state"]
    words = [
        inner["state"] & _MASK,
        inner["state"] >> 64,
        inner["inc"] & _MASK,
        inner["inc"] >> 64,
        state["has_uint32"],
        state["uinteger"],
    ]
    return np.array(words, dtype=np.uint64)


def generator_from_array(words: np.ndarray) -> np.random.Generator:
    """The generator that :func:`generator_to_array` described."""
    low, high, inc_low, inc_high, has_uint32, uinteger = (int(w) for w in words)
    bits = np.random.PCG64()
    bits.state = {
        "bit_generator": "PCG64",
        "state": {"state": low | high << 64, "inc": inc_low | inc_high << 64},
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }
    return np.random.Generator(bits)


def text_to_array(words: list[str]) -> np.ndarray:
    """A list of strings as the bytes of its JSON."""
    return np.frombuffer(json.dumps(words).encode(), dtype=np.uint8).copy()


def text_from_array(array: np.ndarray) -> list[str]:
    """The list of strings that :func:`text_to_array` described."""
    return list(json.loads(array.tobytes().decode()))


def labels_to_state(labels: np.ndarray) -> State:
    """Class labels, whatever their type, as arrays of numbers."""
    if labels.dtype.kind in "biuf":
        return {"classes": labels}
    words = labels.tolist()
    if not all(isinstance(word, str) for word in words):
        raise InputError("class labels must be numbers or text to be saved")
    kind = "classes.objects" if labels.dtype == object else "classes.text"
    return {kind: text_to_array(words)}


def labels_from_state(state: State) -> np.ndarray:
    """The class labels that :func:`labels_to_state` described."""
    if "classes" in state:
        return np.asarray(state["classes"])
    if "classes.text" in state:
        return np.array(text_from_array(state["classes.text"]))
    return np.array(text_from_array(state["classes.objects"]), dtype=object)


class LabelledState:
    """Before an estimator among the bases of a classifier: its labels belong to its state."""

    classes_: np.ndarray

    def get_state(self) -> State:
        state: State = super().get_state()  # type: ignore[misc]
        return state | labels_to_state(self.classes_)

    def set_state(self, state: State) -> Self:
        self.classes_ = labels_from_state(state)
        return super().set_state(state)  # type: ignore[misc]


def features_to_state(estimator: Any) -> State:
    """Number of features and, where the data was a data frame, their names."""
    state = {"n_features": np.array(estimator.n_features_in_)}
    if (names := vars(estimator).get("feature_names_in_")) is not None:
        state["feature_names"] = text_to_array([str(n) for n in names])
    return state


def features_from_state(estimator: Any, state: State) -> None:
    """Set what :func:`features_to_state` described on the estimator."""
    number = state["n_features"]
    if number.size != 1 or number.dtype.kind not in "iu" or not 0 < number.item() < MOST_FEATURES:
        raise InputError(f"n_features is {number.tolist() if number.size == 1 else number.shape}")
    estimator.n_features_in_ = number.item()
    if "feature_names" in state:
        names = text_from_array(state["feature_names"])
        estimator.feature_names_in_ = np.array(names, dtype=object)


def with_prefix(prefix: str, state: State) -> State:
    """The state of a part under the name of its place in the whole."""
    return {f"{prefix}.{name}": array for name, array in state.items()}


def below_prefix(prefix: str, state: State) -> State:
    """The state of one part of a whole: the inverse of :func:`with_prefix`."""
    start = f"{prefix}."
    return {name[len(start) :]: a for name, a in state.items() if name.startswith(start)}
