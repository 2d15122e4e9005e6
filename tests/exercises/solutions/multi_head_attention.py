"""Exercise multi_head_attention: causal self-attention of several heads, with a cache."""

import torch


def multi_head_attention(x, w_qkv, b_qkv, w_out, b_out, n_heads, cache=None):
    B, T, D = x.shape
    qkv = (x @ w_qkv.T + b_qkv).reshape(B, T, 3, n_heads, D // n_heads)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    # instead (heads cut along time): q, k, v = (x @ w_qkv.T + b_qkv).reshape(B, T, 3, D).permute(2, 0, 1, 3).reshape(3, B, n_heads, T, -1)
    if cache is not None:
        k = torch.cat([cache[0], k], dim=2)
        # instead (new keys first): k = torch.cat([k, cache[0]], dim=2)
        v = torch.cat([cache[1], v], dim=2)
        # instead (new keys first): v = torch.cat([v, cache[1]], dim=2)
    S = k.shape[2]
    scores = q @ k.mT / (D // n_heads) ** 0.5
    # instead (scaled by √D): scores = q @ k.mT / D**0.5
    query = torch.arange(S - T, S)[:, None]
    # instead (mask without the cache): query = torch.arange(T)[:, None]
    later = torch.arange(S)[None] > query
    # instead (sees the next token): later = torch.arange(S)[None] > query + 1
    # instead (does not see itself): later = torch.arange(S)[None] >= query
    # instead (no causal mask): later = torch.zeros(T, S, dtype=torch.bool)
    weights = torch.softmax(scores.masked_fill(later, -torch.inf), -1)
    y = torch.einsum("bhts,bhsd->bthd", weights, v).reshape(B, T, D)
    # instead (heads merged without turning): y = (weights @ v).reshape(B, T, D)
    return y @ w_out.T + b_out, (k, v)
    # instead (only the new keys kept): return y @ w_out.T + b_out, (k[:, :, -T:], v[:, :, -T:])
