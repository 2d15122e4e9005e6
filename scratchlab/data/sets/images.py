"""Data sets of images: digits, MNIST (clean and noisy) and the user's own folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchlab.config.reading import require
from scratchlab.data.contract import Provenance
from scratchlab.data.kinds.image_rows import ImageDataset, ImageOptions
from scratchlab.data.kinds.rows import Raw
from scratchlab.data.sets.embedded_rows import read_bunch
from scratchlab.data.sources.hub import load_hub_images
from scratchlab.data.sources.image_files import (
    check_digits,
    greatest_value,
    image_paths,
    read_idx,
    read_image,
    value_range,
)
from scratchlab.data.sources.locating import SourceOptions, by_hand, locate
from scratchlab.errors import UserError, shortened
from scratchlab.registry import option, register
from scratchlab.regular_files import expanded

TEN = tuple(str(digit) for digit in range(10))
MNIST_FILES = (
    "mnist/train-images-idx3-ubyte.gz",
    "mnist/train-labels-idx1-ubyte.gz",
    "mnist/t10k-images-idx3-ubyte.gz",
    "mnist/t10k-labels-idx1-ubyte.gz",
)
KEPT_SCHEMA = {"classes": "list[str]", "shape": "list[int]", "greatest?": "float | None"}
LARGEST = 65_535  # pixels of a side
MNIST_HUB = "ylecun/mnist"
HUB_PARTS = ("train, images", "train, labels", "test, images", "test, labels")
MNIST_ORIGIN = "http://yann.lecun.com/exdb/mnist"


@register(
    "dataset",
    "digits",
    task="classification",
    also=("reconstruction",),
    sources=("embedded",),
    holds=("rows", "images"),
)
class Digits(ImageDataset):
    """1,797 handwritten digits of 8 × 8 pixels."""

    @dataclass(frozen=True)
    class Config(ImageOptions):
        pass

    def read(self, kept: Mapping[str, Any] | None) -> Raw:
        raw = read_bunch("load_digits", "1,797 digits of 8 × 8 pixels", "digit")
        raw.X = (raw.X / 16).astype(np.float32)
        raw.image_shape = (1, 8, 8)
        return raw


@register(
    "dataset",
    "noisy_digits",
    task="classification",
    also=("reconstruction",),
    sources=("embedded",),
    holds=("rows", "images"),
)
class NoisyDigits(Digits):
    """The digits of 8 × 8 pixels, spoilt: Gaussian noise, salt and pepper, or blur."""

    @dataclass(frozen=True)
    class Config(ImageOptions):
        noise: str = option(
            "gaussian",
            "what spoils the images",
            choices=("none", "gaussian", "salt_pepper", "blur"),
        )


@dataclass(frozen=True)
class MnistOptions(SourceOptions, ImageOptions):
    """Where MNIST comes from; it has a test split of its own."""

    val_fraction: float = option(
        0.0833, "share of the 60,000 training images to validate on", min=0, below=1
    )
    hub_id: str = option(
        "ylecun/mnist", "data set on the hub, or a folder of its form", path="name"
    )


class MnistImages(ImageDataset):
    """28 × 28 pixels from the files of MNIST or from the hub."""

    def read(self, kept: Mapping[str, Any] | None) -> Raw:
        facts, config = self.registered_facts, self.config
        files = locate(facts, config, self.context)
        if files is not None:
            paths = list(files.paths.values())
            return self._raw([read_idx(p) for p in paths], files.provenance, list(map(str, paths)))
        arrays = load_hub_images(config.hub_id, by_hand(facts, self.context.root))
        digest = hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()
        what = [f"{config.hub_id} ({part})" for part in HUB_PARTS]
        provenance = Provenance("hub", config.hub_id, {config.hub_id: digest})
        return self._raw(arrays, provenance, what)

    def _raw(
        self, arrays: list[NDArray[np.uint8]], provenance: Provenance, names: list[str]
    ) -> Raw:
        check_digits(names, arrays, len(TEN))
        train, train_labels, test, test_labels = arrays
        images = np.concatenate([train, test])
        return Raw(
            X=images.reshape(len(images), -1),
            y=np.concatenate([train_labels, test_labels]).astype(np.int64),
            feature_names=pixel_names((1, *images.shape[1:])),
            class_names=TEN,
            target_name="digit",
            provenance=provenance,
            image_shape=(1, *images.shape[1:]),
            given={
                "train": np.arange(len(train)),
                "test": np.arange(len(train), len(images)),
            },
        )


@register(
    "dataset",
    "mnist",
    task="classification",
    also=("reconstruction",),
    sources=("files", "hub"),
    files=MNIST_FILES,
    hub=MNIST_HUB,
    origin=MNIST_ORIGIN,
    holds=("rows", "images"),
)
class Mnist(MnistImages):
    """MNIST (LeCun et al. 1998): 70,000 handwritten digits of 28 × 28 pixels."""

    @dataclass(frozen=True)
    class Config(MnistOptions):
        pass


@register(
    "dataset",
    "noisy_mnist",
    task="classification",
    also=("reconstruction",),
    sources=("files", "hub"),
    files=MNIST_FILES,
    hub=MNIST_HUB,
    origin=MNIST_ORIGIN,
    holds=("rows", "images"),
)
class NoisyMnist(MnistImages):
    """MNIST, spoilt: Gaussian noise, salt and pepper, or blur, of any strength."""

    @dataclass(frozen=True)
    class Config(MnistOptions):
        noise: str = option(
            "gaussian",
            "what spoils the images",
            choices=("none", "gaussian", "salt_pepper", "blur"),
        )


@register(
    "dataset",
    "image_folder",
    task="classification",
    also=("reconstruction",),
    sources=("files",),
    holds=("rows", "images"),
)
class ImageFolder(ImageDataset):
    """Your own images: a folder for each class, or such folders below train/, val/ and test/."""

    @dataclass(frozen=True)
    class Config(ImageOptions):
        path: str = option("", "the folder", path="data")
        height: int | None = option(None, "pixels; null: of the first image", min=1)
        width: int | None = option(None, "pixels; null: of the first image", min=1)
        channels: int | None = option(None, "1: grey, 3: colour; null: as it is", choices=(1, 3))

    def read(self, kept: Mapping[str, Any] | None) -> Raw:
        if not self.config.path:
            raise UserError("image_folder needs to know your images", "Give dataset.path=FOLDER.")
        root = self._folder()
        parts = {s: root / s for s in self.splits if (root / s).is_dir()}
        if "train" not in parts:
            parts = {"": root}
        found = {split: image_paths(folder) for split, folder in parts.items()}
        kept = _kept(kept) if kept else None
        names = tuple(kept["classes"]) if kept else tuple(next(iter(found.values())))
        paths: list[Path] = []
        labels: list[int] = []
        given = {}
        for split, classes in found.items():
            extra = sorted(set(classes) - set(names))
            if extra:
                raise UserError(
                    f"{parts[split]}: the class {extra[0]!r} is not in training",
                    f"Classes: {', '.join(names)}.",
                )
            first = len(paths)
            for name in names:
                paths += classes.get(name, [])
                labels += [names.index(name)] * len(classes.get(name, []))
            if split:
                given[split] = np.arange(first, len(paths))
        shape = tuple(kept["shape"]) if kept else self._shape(paths[0])
        ground = self.config.ground
        greatest = kept.get("greatest") if kept else _greatest(paths)
        images = np.stack([read_image(p, shape, ground, greatest).ravel() for p in paths])
        digest = hashlib.sha256(images.tobytes()).hexdigest()
        return Raw(
            X=images,
            y=np.array(labels, dtype=np.int64),
            feature_names=pixel_names(shape),
            class_names=names,
            target_name="folder",
            provenance=Provenance("files", str(root), {root.name: digest}),
            image_shape=shape,
            given=given,
            cells=[[str(path.relative_to(root))] for path in paths],
            columns=("file",),
            preparation={"classes": list(names), "shape": list(shape), "greatest": greatest},
        )

    def _folder(self) -> Path:
        tried = [expanded(self.config.path)]
        if self.context.root is not None:
            tried.append(self.context.root / self.config.path)
        for path in tried:
            if path.is_dir():
                return path
        raise UserError(f"no folder {' nor '.join(map(str, tried))}", "Check dataset.path.")

    def _shape(self, path: Path) -> tuple[int, int, int]:
        channels, height, width = read_image(path).shape
        config = self.config
        return (
            config.channels or channels,
            config.height or height,
            config.width or width,
        )


def _greatest(paths: list[Path]) -> float | None:
    """What white is in those of the pictures that do not say it."""
    tops = [top for path in paths if (top := greatest_value(path)) is not None]
    return value_range(tops) if tops else None


def _kept(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint says of its images, checked."""
    found = require(content, KEPT_SCHEMA, "preparation", ("own",))
    shape = found["shape"]
    if len(shape) != 3 or shape[0] not in (1, 3) or not all(1 <= n <= LARGEST for n in shape):
        raise UserError(
            f"preparation: own.shape: {shortened(shape)} is no shape of images",
            f"It has 1 or 3 channels, a height and a width (each at most {LARGEST:,}).",
        )
    return found


def pixel_names(shape: tuple[int, ...]) -> tuple[str, ...]:
    """A name for each feature of an image [channels, height, width]."""
    _, height, width = shape
    places = [f"{row},{column}" for row in range(height) for column in range(width)]
    return tuple(f"pixel {p}" for _ in range(shape[0]) for p in places)
