"""Noise on images: Gaussian, salt and pepper, blur."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def add_noise(
    X: NDArray[Any],
    kind: str,
    strength: float,
    rng: np.random.Generator,
    shape: tuple[int, int, int],
) -> NDArray[np.float32]:
    """Images X [n, features] of values 0 to 1 with noise, again from 0 to 1.

    ``gaussian``: ``strength`` is the standard deviation of what is added to each pixel.
    ``salt_pepper``: the share of pixels that become black or white. ``blur``: the standard
    deviation of a Gaussian filter, in pixels.
    """
    X = X.astype(np.float32)
    if strength == 0 or kind == "none":
        return X
    if kind == "gaussian":
        drawn = rng.standard_normal(X.shape, dtype=np.float32)
        return (X + np.float32(strength) * drawn).clip(0, 1)
    if kind == "salt_pepper":
        drawn = rng.random(X.shape, dtype=np.float32)
        hit, white = drawn < strength, drawn < strength / 2
        return np.where(hit, white.astype(np.float32), X)
    from scipy.ndimage import gaussian_filter

    images = X.reshape(len(X), *shape)
    return gaussian_filter(images, sigma=(0, 0, strength, strength)).reshape(X.shape)
