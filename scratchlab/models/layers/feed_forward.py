"""The feed-forward block of a Transformer (Vaswani et al. 2017, section 3.3)."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from scratchlab.models.layers.gelu import gelu
from scratchlab.models.layers.linear import Linear

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": lambda x: F.relu(x, inplace=True),
    "relu2": lambda x: F.relu(x, inplace=True).square(),  # So et al. 2021
    "gelu": F.gelu,
    "gelu_tanh": gelu,  # GPT-2's
}


class FeedForward(nn.Module):
    """Widen, activate, narrow: on every position by itself."""

    def __init__(self, d_model: int, d_ff: int, activation: str, bias: bool = True) -> None:
        super().__init__()
        self.activation = activation
        self.inner = Linear(d_model, d_ff, bias)
        self.out = Linear(d_ff, d_model, bias)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., D] → [..., D]."""
        # As rows: changed in place, a view of them is copied four times on the way back.
        rows = x.flatten(0, -2)
        if self.activation == "relu" and isinstance(self.inner, Linear):
            rows = self.inner(rows, relu=True)
        else:
            rows = ACTIVATIONS[self.activation](self.inner(rows))
        y: Tensor = self.out(rows)
        return y.view(*x.shape[:-1], y.shape[-1])
