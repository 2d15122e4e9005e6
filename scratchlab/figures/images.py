"""Images inside pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def draw_image(axis: Any, image: NDArray[Any], low: float = 0.0, high: float = 1.0) -> None:
    """One image [channels, height, width]; grey values between ``low`` and ``high``."""
    if image.shape[0] == 3:
        scaled = (np.moveaxis(image, 0, -1) - low) / max(high - low, 1e-9)
        axis.imshow(scaled.clip(0, 1), interpolation="nearest")
    else:
        axis.imshow(image[0], cmap="gray", vmin=low, vmax=high, interpolation="nearest")
