"""The algorithm of :mod:`.negative_sampling`, compiled; line by line the same, names as well.

The function releases Python's global lock, so that threads train side by side on the same arrays
without any lock (Hogwild, Niu et al. 2011): words are many, and two threads seldom write one row at
a time. Importing this module compiles nothing; the first call takes seconds.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from scratchlab.estimators.embeddings.negative_sampling import MEASURED, SENTENCE, Places
from scratchlab.estimators.embeddings.text import LINE_END

f32, u64 = np.float32, np.uint64
_jit = numba.njit(nogil=True, fastmath=True, error_model="numpy")


@_jit
def next_random(random: Any) -> Any:
    x = random[0]
    x ^= x << u64(13)
    x ^= x >> u64(7)
    x ^= x << u64(17)
    random[0] = x
    return x


@_jit
def draw(share: Any, other: Any, random: Any) -> Any:
    x = next_random(random)
    column = np.int32(((x >> u64(32)) * u64(len(share))) >> u64(32))
    kept = f32(x & u64(0xFFFFFFFF)) * f32(2.0**-32) <= share[column]
    return column if kept else other[column]


@_jit
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)) within 1e-6: a quotient of polynomials for the tangent of x/2.

    (Those of Eigen's ``ptanh``.) Unlike exp it is computed for several x in one instruction.
    """
    x = min(max(f32(0.5) * x, f32(-7.9)), f32(7.9))
    z = x * x
    p = f32(-2.76076847742355e-16) * z + f32(2.00018790482477e-13)
    p = p * z + f32(-8.60467152213735e-11)
    p = p * z + f32(5.12229709037114e-08)
    p = p * z + f32(1.48572235717979e-05)
    p = p * z + f32(6.37261928875436e-04)
    p = p * z + f32(4.89352455891786e-03)
    q = f32(1.19825839466702e-06) * z + f32(1.18534705686654e-04)
    q = q * z + f32(2.26843463243900e-03)
    q = q * z + f32(4.89352518554385e-03)
    return f32(0.5) + f32(0.5) * x * p / q


@_jit
def learn(
    words: NDArray[np.int32],
    inputs: NDArray[np.float32],
    outputs: NDArray[np.float32],
    places: Places,
    first_rate: float,
    last_rate: float,
    random: NDArray[np.uint64],
    update: bool,
) -> tuple[float, int]:
    keep, share, other, starts, rows, window, negatives, from_word = places
    d, most = inputs.shape[1], 2 * window
    sentence = np.empty(SENTENCE, np.int32)
    around = np.empty(most, np.int32)
    ids = np.empty(most + negatives, np.int32)
    steps = np.empty(most + negatives, np.float32)  # logits, then -rate · error
    h, change = np.empty(d, np.float32), np.empty(d, np.float32)
    loss, measured, place, position = 0.0, 0, 0, 0
    while position < len(words):
        rate = f32(first_rate + (last_rate - first_rate) * position / len(words))
        length = 0
        while position < len(words) and length < SENTENCE:
            word = words[position]
            position += 1
            if word == LINE_END:
                break
            if word >= 0 and f32(next_random(random) >> u64(40)) * f32(2.0**-24) <= keep[word]:
                sentence[length] = word
                length += 1
        for i in range(length):
            reach: Any = 1 + np.int64(next_random(random) >> u64(33)) % window
            n_around = 0
            for j in range(max(0, i - reach), min(length, i + reach + 1)):
                if j != i:
                    around[n_around] = sentence[j]
                    n_around += 1
            if n_around == 0:
                continue
            if from_word:
                targets, n_bag = n_around, 1
                ids[:targets] = around[:n_around]
                around[0] = sentence[i]
            else:
                targets, n_bag = 1, n_around
                ids[0] = sentence[i]
            n = targets
            for _ in range(negatives):
                word = draw(share, other, random)
                ids[n] = word
                n += 1
                for k in range(targets):
                    if ids[k] == word:
                        n -= 1
                        break
            # The mean of the bag.
            h[:] = f32(0)
            n_rows = 0
            for j in range(n_bag):
                for p in range(starts[around[j]], starts[around[j] + 1]):
                    row = rows[p]
                    n_rows += 1
                    for c in range(d):
                        h[c] += inputs[row, c]
            inverse = f32(1) / f32(n_rows)
            if n_rows > 1:
                for c in range(d):
                    h[c] *= inverse
            # Logits, three rows at a time, so that h is read once for the three.
            k = 0
            while k + 2 < n:
                a, b, e = ids[k], ids[k + 1], ids[k + 2]
                s, t, u = f32(0), f32(0), f32(0)
                for c in range(d):
                    x = h[c]
                    s += x * outputs[a, c]
                    t += x * outputs[b, c]
                    u += x * outputs[e, c]
                steps[k], steps[k + 1], steps[k + 2] = s, t, u
                k += 3
            while k < n:
                a, s = ids[k], f32(0)
                for c in range(d):
                    s += h[c] * outputs[a, c]
                steps[k] = s
                k += 1
            place += 1
            if not update or place % MEASURED == 0:
                measured += 1
                for k in range(n):
                    signed = float(steps[k]) if k < targets else -float(steps[k])
                    loss += max(-signed, 0.0) + math.log1p(math.exp(-abs(signed)))
            if not update:
                continue
            for k in range(n):
                steps[k] = -rate * sigmoid(steps[k])
            for k in range(targets):
                steps[k] += rate
            change[:] = f32(0)
            k = 0
            while k + 2 < n:
                a, b, e = ids[k], ids[k + 1], ids[k + 2]
                s, t, u = steps[k], steps[k + 1], steps[k + 2]
                for c in range(d):
                    change[c] += s * outputs[a, c] + t * outputs[b, c] + u * outputs[e, c]
                k += 3
            while k < n:
                a, s = ids[k], steps[k]
                for c in range(d):
                    change[c] += s * outputs[a, c]
                k += 1
            for k in range(n):
                a, s = ids[k], steps[k]
                for c in range(d):
                    outputs[a, c] += s * h[c]
            for c in range(d):
                change[c] *= inverse
            for j in range(n_bag):
                for p in range(starts[around[j]], starts[around[j] + 1]):
                    row = rows[p]
                    for c in range(d):
                        inputs[row, c] += change[c]
    return loss, measured
