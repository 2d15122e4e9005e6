"""Convolutional network for images (LeCun et al. 1998): convolutions, pooling, dropout, dense.

Each block is a 3 × 3 convolution, batch normalisation if wanted, ReLU, and max pooling that halves
height and width (rounded up); two dense layers follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from scratchlab.data.contract import Spec
from scratchlab.errors import UserError
from scratchlab.models.contract import Model
from scratchlab.models.layers.convolution import Convolution
from scratchlab.registry import option, register


class ConvolutionBlock(nn.Module):
    """x [B, in, H, W] → [B, out, ⌈H / 2⌉, ⌈W / 2⌉]."""

    def __init__(self, inputs: int, outputs: int, kernel: int, batch_norm: bool) -> None:
        super().__init__()
        self.convolution = Convolution(
            inputs, outputs, kernel, padding=kernel // 2, bias=not batch_norm
        )
        self.norm = nn.BatchNorm2d(outputs) if batch_norm else nn.Identity()
        self.pool = nn.MaxPool2d(2, ceil_mode=True)

    def forward(self, x: Tensor) -> Tensor:
        # ReLU after pooling: both only pick values, so the order changes nothing but the work
        return self.pool(self.norm(self.convolution(x))).relu()


@register("model", "cnn", tasks=("classification", "regression"), offers=("feature_maps",))
class CNN(Model):
    """Convolutions, pooling, dropout and dense layers, from scratch for images."""

    @dataclass(frozen=True)
    class Config:
        channels: list[int] = option([32, 64], "channels of each block; each halves the image",
                                     min=1)  # fmt: skip
        kernel: int = option(3, "height and width of the filters (odd)", min=1)
        batch_norm: bool = option(False, "batch normalisation after each convolution")
        dense: int = option(128, "units of the dense layer", min=1)
        dropout: float = option(0.25, "share of features zeroed before each dense layer", min=0,
                                below=1)  # fmt: skip
        RULES: ClassVar[tuple[tuple[str, str], ...]] = (
            ("kernel % 2 == 1", "kernel must be odd, so that an image keeps its size"),
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        if spec.image_shape is None:
            raise UserError(
                "the model cnn reads images, and this data set is a table",
                "Choose another model, for example mlp.",
            )
        inputs, height, width = spec.image_shape
        sizes = [inputs, *config.channels]
        self.blocks = nn.ModuleList(
            ConvolutionBlock(a, b, config.kernel, config.batch_norm) for a, b in pairwise(sizes)
        )
        for _ in config.channels:
            height, width = -(-height // 2), -(-width // 2)
        self.dropout = nn.Dropout(config.dropout)
        self.dense = nn.Linear(sizes[-1] * height * width, config.dense)
        self.output = nn.Linear(config.dense, spec.n_classes or 1)

    def features(self, x: Tensor) -> Tensor:
        """What the last layer reads, [B, dense]."""
        for block in self.blocks:
            x = block(x)
        return self.dense(self.dropout(x.flatten(1))).relu()

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, H, W] → logits [B, classes]."""
        return self.output(self.dropout(self.features(x)))

    def feature_maps(self, x: Tensor) -> list[Tensor]:
        """What each block makes of images x [B, C, H, W]: [B, channels, h, w]."""
        found = []
        for block in self.blocks:
            x = block(x)
            found.append(x)
        return found
