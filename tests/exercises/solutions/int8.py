"""Exercise int8: weights as 8-bit integers, absmax and zero-point."""

import numpy as np


def absmax(weight):
    scale = np.max(np.abs(weight), axis=1) / 127
    # instead (divided by 128): scale = np.max(np.abs(weight), axis=1) / 128
    # instead (one scale for all rows): scale = np.full(len(weight), np.abs(weight).max() / 127)
    # instead (the largest in place of the largest size): scale = np.max(weight, axis=1) / 127
    scale[scale == 0] = 1
    q = np.rint(weight / scale[:, None]).astype(np.int64).astype(np.int8)
    # instead (cut off in place of rounded): q = (weight / scale[:, None]).astype(np.int8)
    # instead (multiplied by the scale): q = np.rint(weight * scale[:, None]).clip(-128, 127).astype(np.int8)
    return q, scale


def zero_point(weight):
    low, high = weight.min(axis=1).clip(max=0), weight.max(axis=1).clip(min=0)
    # instead (zero is not exact): low, high = weight.min(axis=1), weight.max(axis=1)
    # instead (one scale for all rows): low, high = np.full((2, len(weight)), 0.0) + np.array([[min(weight.min(), 0)], [max(weight.max(), 0)]])
    scale = (high - low) / 255
    # instead (divided by 256): scale = (high - low) / 256
    scale[scale == 0] = 1
    z = (-128 - np.rint(low / scale)).astype(np.int32)
    # instead (0 … 255): z = (-np.rint(low / scale)).astype(np.int32)
    q = np.clip(np.rint(weight / scale[:, None]) + z[:, None], -128, 127).astype(np.int8)
    # instead (0 … 255): q = (np.rint(weight / scale[:, None]) + z[:, None]).astype(np.uint8).astype(np.int8)
    # instead (cut off in place of rounded): q = np.clip(np.trunc(weight / scale[:, None]) + z[:, None], -128, 127).astype(np.int8)
    return q, scale, z


def dequantize(q, scale, z):
    return (q.astype(float) - z[:, None]) * scale[:, None]
    # instead (zero point added): return (q.astype(float) + z[:, None]) * scale[:, None]
    # instead (scaled before the zero point): return q * scale[:, None] - z[:, None]
    # instead (differences within int8): return (q - z.astype(np.int8)[:, None]) * scale[:, None]
