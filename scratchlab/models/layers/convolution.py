"""Convolution of images in the order in which processors are fast at it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Convolution(nn.Conv2d):
    """``nn.Conv2d`` whose result has, on a CPU, the channels of a pixel side by side in memory.

    torch takes that order from the weights, and what follows keeps it. Only a copy of the weights
    is turned round, so that a file or another process finds them as ever.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x [B, in, H, W] → [B, out, H', W']."""
        if self.weight.device.type not in ("cpu", "meta"):
            return self._conv_forward(x, self.weight, self.bias)
        # contiguous() would leave weights of a single channel, whose order is the same, unmarked
        weight = self.weight.clone(memory_format=torch.channels_last)
        return self._conv_forward(x, weight, self.bias)
