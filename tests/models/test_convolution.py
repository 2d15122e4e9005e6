"""Channels side by side in memory change the order of numbers, not what they are."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scratchlab.models.layers.convolution import Convolution


@pytest.mark.parametrize("channels", [1, 3])
def test_a_convolution_gives_what_torchs_gives_with_the_channels_of_a_pixel_together(
    channels: int,
) -> None:
    torch.manual_seed(0)
    mine, theirs = (kind(channels, 8, 3, padding=1) for kind in (Convolution, nn.Conv2d))
    theirs.load_state_dict(mine.state_dict())
    x = torch.randn(4, channels, 10, 12)
    y, expected = mine(x), theirs(x)
    torch.testing.assert_close(y, expected)
    assert y.stride(1) == 1  # also from images of one channel
    y.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(mine.weight.grad, theirs.weight.grad)
    assert mine.weight.is_contiguous() and mine.weight.grad.is_contiguous()
