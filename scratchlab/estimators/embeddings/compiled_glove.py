"""GloVe's steps, compiled: :func:`scratchlab.estimators.embeddings.glove.descend` line by line."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

f32 = np.float32


@numba.njit(nogil=True, fastmath={"reassoc", "contract", "arcp", "nsz"}, error_model="numpy")
def descend(
    i: Any,
    j: Any,
    targets: Any,
    weights: Any,
    inputs: Any,
    outputs: Any,
    input_squares: Any,
    output_squares: Any,
    rate: float,
    clip: float,
) -> float:
    d = inputs.shape[1] - 1
    step, most = f32(rate), f32(clip)
    loss = 0.0
    for pair in range(len(i)):
        a, b = i[pair], j[pair]
        error = inputs[a, d] + outputs[b, d] - targets[pair]
        for c in range(d):
            error += inputs[a, c] * outputs[b, c]
        weighted = weights[pair] * error
        loss += 0.5 * float(weighted) * float(error)
        if rate == 0:
            continue
        for c in range(d + 1):
            w, v = inputs[a, c], outputs[b, c]
            if c == d:
                w = v = f32(1)
            of_w = min(max(weighted * v, -most), most)
            of_v = min(max(weighted * w, -most), most)
            inputs[a, c] -= step * of_w / np.sqrt(input_squares[a, c])
            outputs[b, c] -= step * of_v / np.sqrt(output_squares[b, c])
            input_squares[a, c] += of_w * of_w
            output_squares[b, c] += of_v * of_v
    return loss
