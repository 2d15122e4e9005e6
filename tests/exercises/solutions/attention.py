"""Exercise attention: scaled dot-product attention."""

import torch


def softmax(x):
    x = x - x.amax(-1, keepdim=True)
    # instead (no maximum subtracted): pass
    # instead (softmax over the queries): pass
    return x.exp() / x.exp().sum(-1, keepdim=True)
    # instead (softmax over the queries): return torch.softmax(x, -2)


def attention(q, k, v, mask=None):
    scores = torch.einsum("bhtd,bhsd->bhts", q, k) * q.size(-1) ** -0.5
    # instead (missing √d): scores = torch.einsum("bhtd,bhsd->bhts", q, k)
    # instead (divided by d): scores = torch.einsum("bhtd,bhsd->bhts", q, k) / q.size(-1)
    if mask is None:
        return softmax(scores) @ v
    scores = torch.where(mask, scores, -torch.inf)
    # instead (mask after softmax): return (softmax(scores) * mask) @ v
    # instead (scores set to 0): scores = scores * mask
    # instead (inverted mask): scores = torch.where(mask, -torch.inf, scores)
    return softmax(scores) @ v
