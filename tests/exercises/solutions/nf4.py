"""Exercise nf4: weights as 4-bit NormalFloat."""

from statistics import NormalDist

import numpy as np

BLOCK = 64


def points(n):
    return [0.9677083 + (0.5 - 0.9677083) * i / n for i in range(n)]


def table():
    quantile = NormalDist().inv_cdf
    above = [quantile(p) for p in points(8)]
    # instead (seven positive values): above = [quantile(p) for p in points(7)]
    # instead (no zero): above = [quantile(p) for p in points(16)[::2]]
    below = [-quantile(p) for p in points(7)]
    # instead (seven positive values): below = [-quantile(p) for p in points(8)]
    # instead (no zero): below = [-v for v in above]
    values = sorted([*above, 0.0, *below])
    # instead (no zero): values = sorted([*above, *below])
    return np.array(values) / max(values)
    # instead (not divided by the largest): return np.array(values)
    # instead (evenly spaced): return np.arange(16) / 7.5 - 1
    # instead (seven positive values): return np.array(values) / -min(values)


def quantize(weight):
    flat = weight.flatten()
    maxima = np.array([np.abs(flat[i : i + BLOCK]).max() for i in range(0, len(flat), BLOCK)])
    # instead (one maximum for all): maxima = np.full(-(-len(flat) // BLOCK), np.abs(flat).max())
    # instead (the largest in place of the largest size): maxima = np.array([np.pad(flat, (0, -len(flat) % 64))[i : i + 64].max() for i in range(0, len(flat), 64)])
    scale = np.where(maxima > 0, maxima, 1.0).repeat(BLOCK)[: len(flat)]
    # instead (the largest in place of the largest size): scale = np.where(maxima != 0, maxima, 1.0).repeat(BLOCK)[: len(flat)]
    values = table()
    middles = (values[1:] + values[:-1]) / 2
    index = np.searchsorted(middles, flat / scale).astype(np.uint8)
    # instead (the next lower value): index = (np.searchsorted(values, flat / scale, side="right") - 1).clip(0).astype(np.uint8)
    return index[::2] * 16 + index[1::2], maxima
    # instead (first code in the lower half): return index[::2] + index[1::2] * 16, maxima


def dequantize(codes, maxima, shape):
    index = np.empty(2 * len(codes), dtype=np.uint8)
    index[::2], index[1::2] = codes // 16, codes % 16
    # instead (first code in the lower half): index[1::2], index[::2] = codes // 16, codes % 16
    # instead (halves one after the other): index[: len(codes)], index[len(codes) :] = codes // 16, codes % 16
    # instead (upper half not shifted): index[::2], index[1::2] = (codes & 240) % 16, codes % 16
    return (table()[index] * maxima.repeat(BLOCK)[: len(index)]).reshape(shape)
    # instead (not multiplied by the maxima): return table()[index].reshape(shape)
