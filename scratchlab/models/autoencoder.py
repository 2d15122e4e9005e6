"""Denoising autoencoder (Vincent et al. 2008): noisy image → code → clean image.

Trained on spoilt images with the clean ones as targets; on clean data it is a plain autoencoder.
``kind=conv`` halves the image in each block and has a code of maps; ``kind=dense`` has a code of
``code`` numbers. The output is linear, and cut to pixels from 0 to 1 where it is used: a sigmoid
with a squared error learns nothing more once it is black everywhere, as most of a digit's image is.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from scratchlab.data.contract import Spec
from scratchlab.errors import UserError
from scratchlab.models.contract import Model
from scratchlab.models.layers.convolution import Convolution
from scratchlab.registry import option, register


@register("model", "autoencoder", tasks=("reconstruction",))
class Autoencoder(Model):
    """Denoising autoencoder for images, from scratch, convolutional or dense."""

    @dataclass(frozen=True)
    class Config:
        kind: str = option("conv", "layers", choices=("conv", "dense"))
        channels: list[int] = option(
            [16, 32],
            "conv: channels of each block; each halves the image",
            min=1,
            when={"kind": "conv"},
        )
        hidden: list[int] = option(
            [256], "dense: units of the layers before the code", min=1, when={"kind": "dense"}
        )
        code: int = option(64, "dense: numbers in the code", min=1, when={"kind": "dense"})
        RULES: ClassVar[tuple[tuple[str, str], ...]] = (
            ("kind != 'conv' or channels != []", "a convolutional autoencoder needs channels"),
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        if spec.image_shape is None:
            raise UserError("the model autoencoder reads images, and this data set is a table")
        self.shape = spec.image_shape
        self.is_conv = config.kind == "conv"
        if self.is_conv:
            sizes = [self.shape[0], *config.channels]
            pairs = list(pairwise(sizes))
            self.encoder = nn.ModuleList(
                Convolution(a, b, 3, stride=2, padding=1) for a, b in pairs
            )
            self.decoder = nn.ModuleList(
                Convolution(b, a if i else config.channels[0], 3, padding=1)
                for i, (a, b) in reversed(list(enumerate(pairs)))
            )
            self.output: nn.Module = Convolution(config.channels[0], self.shape[0], 3, padding=1)
        else:
            sizes = [spec.n_features or 1, *config.hidden, config.code]
            pairs = list(pairwise(sizes))
            self.encoder = nn.ModuleList(nn.Linear(a, b) for a, b in pairs)
            self.decoder = nn.ModuleList(nn.Linear(b, a) for a, b in reversed(pairs[1:]))
            self.output = nn.Linear(sizes[1], sizes[0])
        for layer in (*self.encoder, *self.decoder):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")  # He et al. 2015
            nn.init.zeros_(layer.bias)

    def encode(self, x: Tensor) -> Tensor:
        """Images x [B, C, H, W] → code [B, channels, h, w] or [B, code]."""
        x = x if self.is_conv else x.flatten(1)
        for layer in self.encoder:
            x = layer(x).relu()
        return x

    def decode(self, code: Tensor) -> Tensor:
        """Code → images [B, C, H, W]: values from 0 to 1, but for training as they come."""
        x = code
        if not self.is_conv:
            for layer in self.decoder:
                x = layer(x).relu()
            return self._pixels(self.output(x).view(len(x), *self.shape))
        for layer, size in zip(self.decoder, self._sizes(), strict=True):
            # resizing before a convolution leaves no chequered pattern (Odena et al. 2016)
            x = layer(F.interpolate(x, size=size)).relu()
        return self._pixels(self.output(x))

    def _pixels(self, x: Tensor) -> Tensor:
        return x if self.training else x.clamp(0, 1)

    def _sizes(self) -> list[tuple[int, int]]:
        """Height and width after each block of the decoder."""
        sizes = [(self.shape[1], self.shape[2])]
        for _ in range(len(self.encoder) - 1):
            height, width = sizes[0]
            sizes.insert(0, (-(-height // 2), -(-width // 2)))
        return sizes

    def features(self, x: Tensor) -> Tensor:
        """The code as one row of numbers for each image, [B, n]."""
        return self.encode(x).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, H, W] → the same images restored."""
        return self.decode(self.encode(x))
