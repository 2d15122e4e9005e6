"""What the convolutions of a network see: their feature maps of one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from scratchlab.errors import UserError
from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.outputs.predictions import array_dataset
from scratchlab.figures.images import draw_image
from scratchlab.figures.style import SEQUENTIAL, head, new_figure, style
from scratchlab.models.contract import Model
from scratchlab.registry import option, register

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@register(
    "evaluator",
    "feature_maps",
    tasks=("classification", "regression"),
    measures={},
    data=("images",),
    asks="feature_maps",
)
class FeatureMaps(Evaluator):
    """Draw the first channels of each convolution for one image of the split."""

    @dataclass(frozen=True)
    class Config:
        image: int = option(0, "number of the image in its split", min=0)
        channels: int = option(8, "channels of each layer", min=1, max=16)

    config: Config

    @torch.no_grad()
    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        if context.quick:
            return []
        dataset = array_dataset(context)
        X, y = dataset.rows(context.split)
        if self.config.image >= len(X):
            raise UserError(
                f"evaluator.feature_maps.image: {context.split} has no image {self.config.image}",
                f"It has {len(X):,}: 0 to {len(X) - 1}.",
            )
        shape = dataset.spec.image_shape or (1, 1, 1)
        image = X[self.config.image].reshape(shape)
        tensor = torch.from_numpy(image[None].astype(np.float32)).to(context.device)
        model = context.model
        found = model.feature_maps(tensor) if isinstance(model, Model) else []
        if not found:
            raise UserError(
                "evaluator.feature_maps: this model has no convolutions", "It is for model=cnn."
            )
        maps = [m[0].cpu().numpy() for m in found]
        names = dataset.spec.class_names
        what = f"a {names[int(y[self.config.image])]!r}" if names else "an image"
        title = (
            f"Feature maps of {what} ({context.split} image {self.config.image}); "
            "dark is strong, each map on its own scale"
        )
        channels = self.config.channels
        context.sink.figure("feature_maps", maps_figure, image, maps, channels, title)
        return []


@style()
def maps_figure(image: NDArray[Any], maps: list[NDArray[Any]], channels: int, title: str) -> Figure:
    """The image, then a row of maps for each layer, dark where the filter answers most."""
    figure, axes = new_figure(
        len(maps), channels + 1, height=60 + 135 * len(maps), width=120 * (channels + 1)
    )
    for row, (layer, line) in enumerate(zip(maps, axes, strict=True)):
        for axis in line:
            axis.axis("off")
        if row == 0:
            draw_image(line[0], image)
            line[0].set_title("input", fontsize=8, fontweight="normal", loc="center", pad=3)
        for channel in range(min(channels, len(layer))):
            line[channel + 1].imshow(layer[channel], cmap=SEQUENTIAL, interpolation="nearest")
            name = f"conv {row + 1}: channel 0" if channel == 0 else f"channel {channel}"
            title_of_map = {"fontsize": 7.5, "fontweight": "normal", "loc": "center", "pad": 3}
            line[channel + 1].set_title(name, **title_of_map)
    head(figure, title)
    return figure
