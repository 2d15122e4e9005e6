"""Exercise rotary: rotary positions."""

import torch


def halves_swapped(x):
    a, b = x.chunk(2, -1)
    return torch.cat([-b, a], -1)
    # instead (turned backwards): return torch.cat([b, -a], -1)
    # instead (missing minus): return torch.cat([b, a], -1)
    # instead (neighbours paired): return torch.stack([-x[..., 1::2], x[..., 0::2]], -1).flatten(-2)


def rotate(x, positions, base=10000.0):
    d = x.shape[-1]
    theta = base ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
    # instead (exponent i / d): theta = base ** (-torch.arange(d // 2, dtype=torch.float64) / d)
    angles = positions.double()[..., None] * theta
    # instead (positions from 1): angles = (positions.double()[..., None] + 1) * theta
    angles = torch.cat([angles, angles], -1)[:, :, None]
    # instead (neighbours paired): angles = angles.repeat_interleave(2, -1)[:, :, None]
    return x * angles.cos().to(x.dtype) + halves_swapped(x) * angles.sin().to(x.dtype)
