"""Exercise skipgram: one update of skip-gram with negative sampling, in NumPy."""

import numpy as np


def update(inputs, outputs, word, targets, noise, rate):
    h = inputs[word].copy()
    loss = 0.0
    of_h = np.zeros_like(h)
    changes = []
    for label, ids in ((1.0, targets), (0.0, noise)):
        # instead (noise taken for targets): for label, ids in ((1.0, targets), (1.0, noise)):
        for i in ids:
            z = outputs[i] @ h
            loss += np.logaddexp(0, -z if label else z)
            # instead (exp overflows): loss -= np.log(1 / (1 + np.exp(-z if label else z)))
            error = 1 / (1 + np.exp(-z)) - label
            # instead (climbs): error = label - 1 / (1 + np.exp(-z))
            of_h += error * outputs[i]
            changes.append((i, error * h))
    before = outputs.copy()
    for i, change in changes:
        outputs[i] -= rate * change
        # instead (words that come twice count once): outputs[i] = before[i] - rate * change
        # instead (outputs changed first): outputs[i] -= rate * change
    # the word itself
    inputs[word] -= rate * of_h
    # instead (only the outputs change): pass
    # instead (outputs changed first): inputs[word] -= rate * sum(c @ h / (h @ h) * outputs[i] for i, c in changes)
    return loss
