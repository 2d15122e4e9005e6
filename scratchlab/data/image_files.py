"""Images from files: MNIST's own format, and folders of pictures."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchlab.data.sources import GZIP_MAGIC
from scratchlab.errors import UserError

IDX_BYTES = 0x08  # the code of unsigned bytes in the header


def read_idx(path: Path) -> NDArray[np.uint8]:
    """An array of bytes in the IDX format of MNIST (packed with gzip or not)."""
    try:
        content = path.read_bytes()
        if content.startswith(GZIP_MAGIC):
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: damaged gzip file ({error})") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != IDX_BYTES:
        raise UserError(f"{path} is no IDX file of bytes", "Get the file again.")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    if len(content) - start != int(np.prod(shape)):
        raise UserError(
            f"{path}: {len(content) - start:,} bytes of content, but its header promises "
            f"{int(np.prod(shape)):,}",
            "Get the file again.",
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def read_image(path: Path, shape: tuple[int, int, int] | None = None) -> NDArray[np.uint8]:
    """A picture [channels, height, width]; with ``shape`` in this size and number of channels.

    Raises:
        UserError: the file is not there or is no picture.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as file:
            opened: Image.Image = file
            if opened.mode.startswith("I"):  # 16 bits a pixel, which convert() would cut off at 255
                values = np.asarray(opened, dtype=np.float64) / 257
                opened = Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
            grey = opened.mode in ("1", "L", "LA", "I", "I;16") if shape is None else shape[0] == 1
            image: Any = opened.convert("L" if grey else "RGB")
            if shape is not None and image.size != (shape[2], shape[1]):
                image = image.resize((shape[2], shape[1]), Image.Resampling.BILINEAR)
            pixels = np.asarray(image, dtype=np.uint8)
    except FileNotFoundError as error:
        raise UserError(f"there is no image {path}") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"{path}: {error}", "Make the image smaller.") from error
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise UserError(
            f"{path} is no image that can be read", "Take it out of the folder, or mend it."
        ) from error
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)


def image_paths(folder: Path) -> dict[str, list[Path]]:
    """The files of a folder by class: ``folder/CLASS/FILE``; hidden files are passed over."""
    classes = {}
    for sub in sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")):
        files = [p for p in sorted(sub.rglob("*")) if p.is_file() and not p.name.startswith(".")]
        if not files:
            raise UserError(f"{sub} holds no images", "Take the empty folder away.")
        classes[sub.name] = files
    if not classes:
        raise UserError(
            f"{folder} has no folders of images", "Each class is a folder: FOLDER/CLASS/FILE.png."
        )
    return classes
