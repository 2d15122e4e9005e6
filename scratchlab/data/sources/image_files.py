"""Images from files: MNIST's own format, and folders of pictures."""

from __future__ import annotations

import math
import struct
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scratchlab.data.sources.reading import open_unpacked
from scratchlab.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

IDX_BYTES = 0x08  # the code of unsigned bytes in the header
MOST_IDX_BYTES = 1 << 32
MOST_PIXELS = 1 << 26  # of one picture, by its header, before anything of it is decoded
# What systems and archives leave beside the pictures.
LEFT_BY_SYSTEMS = frozenset(("__macosx", "thumbs.db", "desktop.ini", "@eadir"))
# What white may be in pictures of whole numbers of 32 bits or of floats, which do not say it.
VALUE_RANGES = (1, 255, 65535, 2**31 - 1, 2**32 - 1)
AGAIN = "Get the file again."


def read_idx(path: Path) -> NDArray[np.uint8]:
    """An array of bytes in the IDX format of MNIST (packed with gzip or not).

    Raises:
        UserError: the file cannot be read or unpacked, or its size is not what its header promises.
    """
    with open_unpacked(path) as file:
        return _idx_array(path, file)


def _idx_array(path: Path, file: IO[bytes]) -> NDArray[np.uint8]:
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] != IDX_BYTES:
        raise UserError(f"{path} is no IDX file of bytes", AGAIN)
    header = file.read(4 * start[3])
    if not start[3] or len(header) < 4 * start[3]:
        raise UserError(f"{path}: the header is cut off", AGAIN)
    shape = struct.unpack(f">{start[3]}I", header)
    size = math.prod(shape)
    if size > MOST_IDX_BYTES:
        raise UserError(f"{path}: its header promises {size:,} bytes of content", AGAIN)
    content = file.read(size + 1)  # at the end the checksum is compared, which more would not reach
    if len(content) != size:
        found = f"{len(content):,}" if len(content) < size else f"more than {size:,}"
        raise UserError(
            f"{path}: {found} bytes of content, but its header promises {size:,}", AGAIN
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def check_digits(files: Sequence[str], arrays: list[NDArray[np.uint8]], classes: int) -> None:
    """UserError unless images and labels (of train, then of test) are what they should be."""
    for number, part in enumerate(("train", "test")):
        image_file, label_file = files[2 * number : 2 * number + 2]
        images, labels = arrays[2 * number : 2 * number + 2]
        for name, array, dimensions, what in (
            (image_file, images, 3, "images [number, height, width]"),
            (label_file, labels, 1, "labels [number]"),
        ):
            if array.ndim != dimensions or array.size == 0:
                shape = " × ".join(map(str, array.shape))
                other = " Are files swapped?" if array.ndim in (1, 3) and array.size else ""
                raise UserError(f"{name}: {what} of {part} belong here, not {shape}", AGAIN + other)
        if len(images) != len(labels):
            raise UserError(
                f"{image_file} holds {len(images):,} images, "
                f"but {label_file} holds {len(labels):,} labels",
                "Get both files again.",
            )
        if labels.max() >= classes:
            place = int(np.argmax(labels >= classes))
            raise UserError(
                f"{label_file}: label {labels[place]} at place {place + 1:,}, but there are "
                f"{classes} classes from 0",
                AGAIN,
            )
        if len(labels) > 1 and labels.min() == labels.max():
            raise UserError(f"{label_file}: all {len(labels):,} labels are {labels[0]}", AGAIN)
    if arrays[0].shape[1:] != arrays[2].shape[1:]:
        sizes = [" × ".join(map(str, a.shape[1:])) for a in (arrays[0], arrays[2])]
        raise UserError(f"{files[0]} holds images of {sizes[0]}, {files[2]} of {sizes[1]}", AGAIN)
    if np.array_equal(arrays[0], arrays[2]):
        raise UserError(f"{files[0]} and {files[2]} hold the same images", AGAIN)


def read_image(
    path: Path,
    shape: tuple[int, int, int] | None = None,
    ground: str = "white",
    greatest: float | None = None,
) -> NDArray[np.uint8]:
    """A picture [channels, height, width]; with ``shape`` in this size and number of channels.

    It stands as its EXIF says, and what is transparent lies on ``ground``. ``greatest`` is white in
    pictures of 32 bits a value (default: what fits the picture).

    Raises:
        UserError: the file is not there, is no picture, or has more pixels than are read.
    """

    found: NDArray[np.uint8] = _open(path, lambda i: image_pixels(i, shape, ground, greatest))
    return found


def image_pixels(
    image: Image.Image,
    shape: tuple[int, int, int] | None = None,
    ground: str = "white",
    greatest: float | None = None,
) -> NDArray[np.uint8]:
    """An opened picture as :func:`read_image` returns it."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if (top := _top_of(image)) is not None:
        white = 65535 if image.mode.startswith("I;16") else greatest or value_range([top])
        values = np.asarray(image, dtype=np.float64) * (255 / white)
        image = Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
    grey = image.mode in ("1", "L", "LA", "La") if shape is None else shape[0] == 1
    if image.has_transparency_data or image.mode in ("PA", "La"):
        if image.mode in ("RGBa", "La"):  # colours times alpha
            image = image.convert("RGBA" if image.mode == "RGBa" else "LA")
        below = Image.new("RGBA", image.size, ground)
        image = Image.alpha_composite(below, image.convert("RGBA"))
    image = image.convert("RGB")
    if grey:
        image = image.convert("L")
    if shape is not None and image.size != (shape[2], shape[1]):
        image = image.resize((shape[2], shape[1]), Image.Resampling.BILINEAR)
    found = np.asarray(image, dtype=np.uint8)
    return found[None] if found.ndim == 2 else np.moveaxis(found, -1, 0)


def greatest_value(path: Path) -> float | None:
    """The greatest value of a picture of 32 bits a value; None of any other."""
    return _open(path, lambda image: None if image.mode.startswith("I;16") else _top_of(image))


def value_range(tops: Iterable[float]) -> float:
    """What white is in pictures with these greatest values: the least usual range that holds all.

    All pictures of a data set have one range, or a dark one would be made as bright as the others.
    """
    top = max(tops)
    return next((limit for limit in VALUE_RANGES if top <= limit), top)


def _top_of(image: Image.Image) -> float | None:
    """The greatest value of a picture of more than 8 bits; ValueError if there is no black."""
    if image.mode[0] not in "IF":
        return None
    values = np.asarray(image)
    if not np.isfinite(values).all() or values.min() < 0:
        raise ValueError("values that are negative or no numbers")
    return float(values.max())


def _open(path: Path, read: Any) -> Any:
    """What ``read`` makes of an opened picture; UserError that names the file."""
    from PIL import Image

    try:
        there = path.exists()
    except OSError:  # a name that is too long, a folder that may not be looked into
        there = False
    if not there:
        raise UserError(f"there is no image {path}")
    if not path.is_file():
        raise UserError(f"{path} is no regular file")
    mend = "Take it out of the folder, or mend it."
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what is refused here, or is mended
            with Image.open(path) as image:
                if (count := image.width * image.height) > MOST_PIXELS:
                    raise UserError(
                        f"{path}: {count:,} pixels, and at most {MOST_PIXELS:,} are read",
                        "Make the image smaller.",
                    )
                return read(image)
    except (UserError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise UserError(f"{path}: more pixels than are read", "Make the image smaller.") from error
    except ValueError as error:
        raise UserError(f"{path} is no image that can be read ({error})", mend) from error
    except Exception as error:  # Pillow's decoders raise whatever a damaged file makes of them
        raise UserError(f"{path} is no image that can be read", mend) from error


def image_paths(folder: Path) -> dict[str, list[Path]]:
    """The files of a folder by class: ``folder/CLASS/FILE``; what is hidden is passed over."""
    classes = {}
    for sub in sorted(p for p in folder.iterdir() if p.is_dir() and not _is_hidden(p, folder)):
        files = [p for p in sorted(sub.rglob("*")) if p.is_file() and not _is_hidden(p, folder)]
        if not files:
            raise UserError(f"{sub} holds no images", "Take the empty folder away.")
        classes[sub.name] = files
    if not classes:
        raise UserError(
            f"{folder} has no folders of images", "Each class is a folder: FOLDER/CLASS/FILE.png."
        )
    return classes


def _is_hidden(path: Path, folder: Path) -> bool:
    """Whether a file, or a folder on the way to it, is hidden or left by a system."""
    names = path.relative_to(folder).parts
    return any(n.startswith(".") or n.lower() in LEFT_BY_SYSTEMS for n in names)
