"""Rows of the form that a data set's spec describes, with any content."""

from __future__ import annotations

import torch
from torch import Tensor

from scratchlab.data.contract import Spec


def example_rows(spec: Spec, batch_size: int, device: str, length: int) -> tuple[Tensor, Tensor]:
    """Inputs (features, images [channels, height, width], or ids of texts of ``length`` or the
    longest there are) [batch, …], and their numbers [batch]."""
    if spec.vocab_size is not None:  # texts: ids that are no padding
        length = min(length, spec.max_length or length)
        ids = 1 + torch.arange(batch_size * length, device=device) % (spec.vocab_size - 1)
        return ids.view(batch_size, length), torch.arange(batch_size, device=device)
    shape = spec.image_shape or (spec.n_features or 1,)
    inputs = torch.ones((batch_size, *shape), device=device)
    return inputs, torch.arange(batch_size, device=device)
