"""Images as rows: pixels from 0 to 1, noise if wanted, or what a denoiser made of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from scratchlab.data.contract import ArrayBatch, ArrayDataset
from scratchlab.data.kinds.noise import add_noise
from scratchlab.data.kinds.rows import RowOptions, RowsDataset
from scratchlab.data.kinds.scaling import Scaling, learn_scaling
from scratchlab.errors import UserError
from scratchlab.registry import option
from scratchlab.regular_files import expanded
from scratchlab.run.folder import find_run

NOISES = ("none", "gaussian", "salt_pepper", "blur")
RESTORED = "restored"  # the folder of a run that holds restored images


@dataclass(frozen=True)
class ImageOptions(RowOptions):
    """How images are read, split and spoilt."""

    scale: str = option(
        "none",
        "pixels (0 to 1): as they are, or each with mean 0 and deviation 1 over train",
        choices=("none", "standard"),
    )
    ground: str = option(
        "white",
        "what lies under transparent pixels of image files",
        choices=("white", "black", "grey"),
    )
    batch_size: int = option(
        64, "images of a training batch (models in torch)", min=1, auto="the largest that fits"
    )
    noise: str = option(
        "none", "what spoils the images", choices=("none", "gaussian", "salt_pepper", "blur")
    )
    strength: float = option(
        0.5, "gaussian: deviation; salt_pepper: share of the pixels; blur: pixels", min=0
    )
    noise_splits: list[str] = option(["train", "val", "test"], "splits whose images are spoilt")
    noise_seed: int = option(0, "seed of the noise", min=0)
    fresh_noise: bool = option(True, "torch models see new noise on train in every epoch")
    restored: str | None = option(
        None,
        "run whose evaluator `restored_images` wrote images that are taken instead",
        path="name",
    )
    train_rows: int | None = option(None, "first images of train only; null: all", min=1)
    RULES: ClassVar[tuple[tuple[str, str], ...]] = (
        ("noise != 'salt_pepper' or strength <= 1", "a share of the pixels is at most 1"),
    )


class ImageDataset(RowsDataset):
    """A :class:`RowsDataset` of images; ``raw.X`` holds bytes, or values from 0 to 1."""

    def pixels(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Images [n, features] from 0 to 1, as they were read."""
        X = self.raw.X[numbers]
        if X.dtype == np.uint8:
            return X.astype(np.float32) / np.float32(255)
        return X.astype(np.float32)

    def learn_scaling(self, X: NDArray[Any]) -> Scaling:
        if self.config.scale == "none":
            return learn_scaling(np.zeros((1, X.shape[1])), "none")
        return learn_scaling(self.pixels(self.row_numbers["train"]), self.config.scale)

    @property
    def train_rows(self) -> int | None:
        return self.config.train_rows

    def inputs(self, split: str) -> NDArray[np.float32]:
        clean = self.pixels(self._rows_of(split))
        if self.config.restored is not None:
            return self._restored(split, len(clean))
        rng = np.random.default_rng([self.config.noise_seed, self.splits.index(split)])
        return self._spoil(clean, split, rng)

    def clean_rows(self, split: str) -> NDArray[np.float32]:
        if self.config.noise == "none" and self.config.restored is None:
            return self.rows(split)[0]
        return self.scaling.apply(self.pixels(self._rows_of(split)))

    def batch(self, split: str, planned: NDArray[np.int64], *, seed: int, epoch: int) -> ArrayBatch:
        config = self.config
        y = self.raw.y[self._rows_of(split)][planned]
        if config.noise == "none" or config.restored is not None:
            return super().batch(split, planned, seed=seed, epoch=epoch)
        clean = self.pixels(self._rows_of(split)[planned])
        if split == "train" and config.fresh_noise:
            # The first row tells this batch from the others of the epoch.
            rng = np.random.default_rng([config.noise_seed, 3, seed, epoch, int(planned[0])])
            spoilt = self.scaling.apply(self._spoil(clean, split, rng))
        else:
            spoilt = self.rows(split)[0][planned]
        return self.to_batch(spoilt, y, planned, self.scaling.apply(clean))

    def encode_lines(self, lines: Iterator[str]) -> Iterator[Any]:
        return ArrayDataset.encode_lines(self, lines)

    def encode(self, line: str) -> NDArray[np.float32]:
        """An image file, in the size and colours of the data set."""
        from scratchlab.data.sources.image_files import read_image

        assert self.spec.image_shape is not None
        path, greatest = expanded(line.strip()), self.own_preparation.get("greatest")
        pixels = read_image(path, self.spec.image_shape, self.config.ground, greatest)
        return self.scaling.apply(pixels.reshape(1, -1).astype(np.float32) / np.float32(255))

    def _spoil(
        self, clean: NDArray[np.float32], split: str, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        config = self.config
        unknown = [s for s in config.noise_splits if s not in self.splits]
        if unknown:
            raise UserError(
                f"dataset.noise_splits: there is no split {unknown[0]!r}",
                f"Splits: {', '.join(self.splits)}.",
            )
        if split not in config.noise_splits:
            return clean
        assert self.spec.image_shape is not None
        return add_noise(clean, config.noise, config.strength, rng, self.spec.image_shape)

    def _restored(self, split: str, rows: int) -> NDArray[np.float32]:
        """Images that a denoiser's run has written for this split."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        given = str(self.config.restored)
        folder = find_run(given, self.context.runs)
        path = folder / RESTORED / f"{split}.safetensors"
        try:
            images = load_file(path)["images"]
        except (OSError, SafetensorError, KeyError) as error:
            raise UserError(
                f"dataset.restored: {path} cannot be read ({error})",
                "Evaluate the denoiser with evaluator=[…,restored_images] first.",
            ) from error
        if images.shape != (rows, int(np.prod(self.spec.image_shape or ()))):
            raise UserError(
                f"dataset.restored: {path} holds {images.shape[0]:,} images, not {rows:,}",
                "Use the same data set, split and train_rows as the denoiser.",
            )
        return images.astype(np.float32) / np.float32(255)
