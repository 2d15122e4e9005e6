"""How well images are restored: squared error, peak signal-to-noise ratio, pictures, files."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from scratchlab.data.contract import ArrayDataset
from scratchlab.errors import UserError
from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.outputs.predictions import ROWS_AT_ONCE, array_dataset
from scratchlab.figures.images import draw_image
from scratchlab.figures.style import head, new_figure, style
from scratchlab.registry import option, register

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@torch.no_grad()
def restored(context: EvaluationContext, split: str) -> NDArray[np.float32]:
    """The images of a split as the model gives them back, [n, features]."""

    def run() -> NDArray[np.float32]:
        X = array_dataset(context).rows(split)[0][: context.limit]
        shape = context.dataset.spec.image_shape or ()
        found = []
        for first in range(0, len(X), ROWS_AT_ONCE):
            rows = torch.from_numpy(X[first : first + ROWS_AT_ONCE].astype(np.float32))
            images = context.model(rows.view(len(rows), *shape).to(context.device))
            found.append(images.float().cpu().flatten(1))
        return torch.cat(found).numpy()

    return context.once(("restored", split, context.limit), run)


@register(
    "evaluator",
    "reconstruction",
    tasks=("reconstruction",),
    measures={"mse": "lower", "psnr": "higher", "psnr_input": ""},
)
class Reconstruction(Evaluator):
    """Mean squared error and PSNR of restored against clean images, beside those of the input.

    PSNR is 10 · log10(1 / mean squared error) over all pixels, which run from 0 to 1.
    """

    @dataclass(frozen=True)
    class Config:
        shown: int = option(10, "images in the picture", min=1, max=20)

    config: Config

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        dataset = array_dataset(context)
        given = dataset.rows(context.split)[0][: context.limit]
        clean = dataset.clean_rows(context.split)[: context.limit]
        found = restored(context, context.split)
        mse, before = (float(np.mean((a - clean) ** 2)) for a in (found, given))
        kept = context.keep(
            "images",
            given=[hashlib.sha256(row.tobytes()).hexdigest()[:16] for row in given],
            expected=[hashlib.sha256(row.tobytes()).hexdigest()[:16] for row in clean],
            squared_error=((found - clean).astype(np.float64) ** 2).mean(axis=1),
        )
        if not context.quick:
            shown = self._chosen(context, clean)
            context.sink.figure(
                "reconstruction", restored_figure, dataset, clean, given, found, shown
            )
        result = [
            Measurement(
                "mse",
                mse,
                better="lower",
                n=len(clean),
                examples=kept.by("mean", column="squared_error"),
            ),
            Measurement("psnr", psnr(mse), "dB", n=len(clean), examples=kept.by("psnr")),
        ]
        if before > 0:
            result.append(Measurement("psnr_input", psnr(before), "dB", "", n=len(clean)))
        return result

    def _chosen(self, context: EvaluationContext, clean: NDArray[Any]) -> NDArray[np.int64]:
        """Images of all classes in turn, so that not one class fills the picture."""
        y = array_dataset(context).rows(context.split)[1][: len(clean)]
        seen: dict[Any, int] = {}
        turns = []
        for label in y.tolist():
            seen[label] = seen.get(label, 0) + 1
            turns.append(seen[label])
        return np.lexsort((y, np.array(turns)))[: self.config.shown]


def psnr(mse: float) -> float:
    """Decibels; infinite for images that are equal."""
    return math.inf if mse == 0 else 10 * math.log10(1 / mse)


@style()
def restored_figure(
    dataset: ArrayDataset,
    clean: NDArray[Any],
    given: NDArray[Any],
    found: NDArray[Any],
    chosen: NDArray[np.int64],
) -> Figure:
    """A column for each image: clean, as the model saw it, and restored."""
    shape = dataset.spec.image_shape or (1, 1, 1)
    rows = [("clean", clean), ("input", given), ("restored", found)]
    if np.array_equal(clean, given):
        rows = [("input", given), ("restored", found)]
    figure, axes = new_figure(len(rows), len(chosen), height=50 + 100 * len(rows), width=1000)
    for (name, images), line in zip(rows, axes, strict=True):
        for index, axis in zip(chosen.tolist(), line, strict=True):
            draw_image(axis, images[index].reshape(shape))
            axis.set_xticks([])
            axis.set_yticks([])
        line[0].set_ylabel(name)
    mse = float(np.mean((found - clean) ** 2))
    title = f"Images before and after: mean squared error {mse:.4f}"
    if len(rows) == 3:
        title += f" (input {float(np.mean((given - clean) ** 2)):.4f})"
    head(figure, title)
    return figure


@register("evaluator", "restored_images", tasks=("reconstruction",), measures={})
class RestoredImages(Evaluator):
    """Write the restored images of all splits into the run, for ``dataset.restored=RUN``."""

    @dataclass(frozen=True)
    class Config:
        """Nothing to choose."""

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        if context.quick:
            return []
        if context.folder is None:
            raise UserError("restored_images needs a run folder to write to")
        from safetensors.numpy import save

        from scratchlab.run.atomic import write_bytes

        for split in context.dataset.splits:
            if not context.dataset.size(split):
                continue
            images = np.rint(restored(context, split) * 255).clip(0, 255).astype(np.uint8)
            content = save({"images": np.ascontiguousarray(images)})
            write_bytes(context.folder / "restored" / f"{split}.safetensors", content)
        return []
