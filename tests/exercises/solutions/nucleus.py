"""Exercise nucleus: nucleus sampling."""

import numpy as np


def nucleus(logits, top_p, temperature):
    z = logits / temperature
    # instead (multiplied by the temperature): z = logits * temperature
    # instead (temperature left out): z = logits
    z = np.exp(z - z.max())
    # instead (no maximum subtracted): z = np.exp(z)
    p = z / z.sum()
    out, total = np.zeros(len(p)), 0.0
    for i in sorted(range(len(p)), key=lambda i: -p[i]):
        # instead (the least probable kept): for i in sorted(range(len(p)), key=lambda i: p[i]):
        if total >= top_p:
            # instead (the crossing token left out): if total > 0 and total + p[i] > top_p:
            # instead (a threshold for each token): if p[i] < 1 - top_p:
            break
        out[i] = p[i]
        total += p[i]
    return out / out.sum()
    # instead (not normalised again): return out
    # instead (left in sorted order): return np.sort(out / out.sum())[::-1].copy()


def draw(probabilities, u):
    reached = 0.0
    for i, p in enumerate(probabilities):
        reached += p
        if reached > u:
            # instead (not less than u): if reached >= u:
            return i
            # instead (always the most probable): return int(np.argmax(probabilities))
            # instead (one too far): return i + 1
    # rounding
    return int(np.nonzero(probabilities)[0][-1])
    # instead (falls off the end): return len(probabilities)
    # instead (always the most probable): return int(np.argmax(probabilities))
    # instead (one too far): return len(probabilities) + 1
