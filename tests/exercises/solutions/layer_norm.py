"""Exercise layer_norm: layer normalisation."""

import torch


def layer_norm(x, weight, bias, eps=1e-5):
    mean = torch.mean(x, dim=-1, keepdim=True)
    # instead (norm over the batch): mean = x.reshape(-1, x.shape[-1]).mean(0)
    # instead (mean not subtracted): mean = 0
    variance = ((x - mean) ** 2).sum(dim=-1, keepdim=True) / x.shape[-1]
    # instead (unbiased variance): variance = x.var(-1, keepdim=True)
    # instead (norm over the batch): variance = ((x - mean) ** 2).reshape(-1, x.shape[-1]).mean(0)
    # instead (difference of squares): variance = (x * x).mean(-1, keepdim=True) - mean**2
    return weight * ((x - mean) * torch.rsqrt(variance + eps)) + bias
    # instead (eps outside the root): return weight * ((x - mean) / (variance**0.5 + eps)) + bias
    # instead (eps left out): return weight * (x - mean) / torch.sqrt(variance) + bias
    # instead (missing root): return weight * (x - mean) / (variance + eps) + bias
