"""Rows of the form that a data set's spec describes, with any content."""

from __future__ import annotations

import torch
from torch import Tensor

from scratchlab.data.contract import Spec


def example_rows(spec: Spec, batch_size: int, device: str) -> tuple[Tensor, Tensor]:
    """Inputs [batch, features] or [batch, channels, height, width], and their numbers [batch]."""
    shape = spec.image_shape or (spec.n_features or 1,)
    inputs = torch.ones((batch_size, *shape), device=device)
    return inputs, torch.arange(batch_size, device=device)
