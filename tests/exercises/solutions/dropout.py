"""Exercise dropout: inverted dropout."""

import torch


def dropout(x, p, training):
    if not training:
        # instead (drops when the model is used): if p == 0:
        return x
        # instead (scaled when the model is used): return x * (1 - p)
    keep = torch.empty(x.shape, dtype=x.dtype).bernoulli_(1 - p)
    # instead (p is kept): keep = torch.empty(x.shape, dtype=x.dtype).bernoulli_(p)
    # instead (one mask for all rows): keep = torch.empty(x.shape[-1], dtype=x.dtype).bernoulli_(1 - p)
    return x * keep / (1 - p)
    # instead (not scaled): return x * keep
    # instead (scaled when the model is used): return x * keep
    # instead (divided by p): return x * keep / p if p > 0 else x
