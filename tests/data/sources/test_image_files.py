"""Pictures of every kind become the pixels that a person sees; damaged files are named."""

from __future__ import annotations

import gzip
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scratchlab.data.contract import DataContext
from scratchlab.data.sources.image_files import greatest_value, image_paths, read_idx, read_image
from scratchlab.errors import UserError
from scratchlab.registry import find

NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def dataset(name: str, tmp_path: Path, **options: Any) -> Any:
    cls = find("dataset", name).load()
    return cls(cls.Config(**options), DataContext(tmp_path, tmp_path / "cache"))


def black_square(mode: str) -> Image.Image:
    """4 × 4 pixels: black where it is opaque (the middle), transparent elsewhere."""
    alpha = np.zeros((4, 4), np.uint8)
    alpha[1:3, 1:3] = 255
    image = Image.fromarray(np.dstack([np.zeros((4, 4, 3), np.uint8), alpha]))
    if mode == "P":
        palette = Image.new("P", (4, 4), 0)
        palette.putpalette([0, 0, 0, 0, 0, 0])
        palette.paste(1, (1, 1, 3, 3))
        palette.info["transparency"] = 0
        return palette
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
@pytest.mark.parametrize(("ground", "around"), [("white", 255), ("black", 0), ("grey", 128)])
def test_what_is_transparent_shows_the_ground(
    mode: str, ground: str, around: int, tmp_path: Path
) -> None:
    wanted = np.full((4, 4), around)
    wanted[1:3, 1:3] = 0
    black_square(mode).save(tmp_path / "shape.png")
    assert (read_image(tmp_path / "shape.png", ground=ground) == wanted).all()
    assert (read_image(tmp_path / "shape.png", (1, 4, 4), ground)[0] == wanted).all()


def test_a_folder_and_a_single_picture_lie_on_the_ground_that_is_chosen(tmp_path: Path) -> None:
    for name, image in (("a", black_square("RGBA")), ("b", Image.new("RGB", (4, 4), "red"))):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(8):
            image.save(tmp_path / "pictures" / name / f"{number}.png")
    white = dataset("image_folder", tmp_path, path="pictures")
    black = dataset("image_folder", tmp_path, path="pictures", ground="black")
    picture = str(tmp_path / "pictures/a/0.png")
    assert white.raw.X[0].mean() == 255 * 12 / 16 and black.raw.X[0].max() == 0
    assert white.encode(picture).mean() == pytest.approx(12 / 16)
    assert black.encode(picture).max() == 0


def test_a_photograph_stands_as_its_exif_says(tmp_path: Path) -> None:
    pixels = np.zeros((2, 6), np.uint8)
    pixels[:, 3:] = 255  # the right half is white
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter clockwise: the right side becomes the lower one
    Image.fromarray(pixels).save(tmp_path / "photo.png", exif=exif)
    seen = read_image(tmp_path / "photo.png")
    assert seen.shape == (1, 6, 2)
    assert (seen[0, :3] == 0).all() and (seen[0, 3:] == 255).all()


@pytest.mark.parametrize(
    ("values", "white"),
    [
        (np.array([[0.0, 0.25, 1.0]], np.float32), 1),
        (np.array([[0.0, 63.75, 255.0]], np.float32), 255),
        (np.array([[0, 16384, 65535]], np.int32), 65535),
        (np.array([[0, 64, 255]], np.int32), 255),
        (np.array([[0, 2**29, 2**31 - 1]], np.int32), 2**31 - 1),
        (np.array([[0, 16384, 65535]], np.uint16), 65535),
    ],
)
def test_pictures_of_many_bits_keep_their_shades(
    values: np.ndarray[Any, Any], white: float, tmp_path: Path
) -> None:
    Image.fromarray(values).save(tmp_path / "shades.tiff")
    assert read_image(tmp_path / "shades.tiff")[0, 0].tolist() == [0, 64, 255]
    assert values.max() == white


def test_a_dark_picture_is_as_dark_as_beside_the_others(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(8):
            shades = np.full((2, 2), 0.5 if (name, number) == ("a", 3) else 200.0, np.float32)
            Image.fromarray(shades).save(tmp_path / "pictures" / name / f"{number}.tiff")
    data = dataset("image_folder", tmp_path, path="pictures")
    dark = tmp_path / "pictures/a/3.tiff"
    assert greatest_value(dark) == 0.5 and data.own_preparation["greatest"] == 255
    assert data.raw.X[3].max() <= 1 and data.raw.X[4].max() == 200
    assert data.encode(str(dark)).max() < 0.01


def test_values_below_black_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "depth.tiff"
    for value in (-1.0, np.nan, np.inf):
        Image.fromarray(np.array([[value, 1.0]], np.float32)).save(path)
        with pytest.raises(UserError, match=r"depth\.tiff is no image .*negative or no numbers"):
            read_image(path)


def test_hidden_files_and_folders_are_not_trained_on(tmp_path: Path) -> None:
    for name in (".git/a.png", "cat/.cache/b.png", "cat/1.png", "cat/Thumbs.db", "cat/sub/2.png",
                 "cat/.DS_Store", "__MACOSX/cat/3.png", "cat/__MACOSX/._1.png"):  # fmt: skip
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "p" / name).write_bytes(b"")
    found = image_paths(tmp_path / "p")
    assert {k: [p.name for p in v] for k, v in found.items()} == {"cat": ["1.png", "2.png"]}


def png_of(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims this size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("width", "height"), [(13100, 10000), (50_000, 50_000)])
def test_a_picture_that_claims_too_many_pixels_is_refused_by_its_header(
    width: int, height: int, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    (tmp_path / "bomb.png").write_bytes(png_of(width, height))
    with pytest.raises(UserError, match=r"bomb\.png: .*pixels"):
        read_image(tmp_path / "bomb.png", (1, 4, 4))
    assert not len(recwarn)


def idx(array: np.ndarray[Any, Any]) -> bytes:
    header = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes((0, 0, 8, array.ndim)) + header + array.astype(np.uint8).tobytes()


def mnist(tmp_path: Path, **changes: Any) -> Path:
    """Files of 40 and 20 images; ``changes`` by 0 to 3 replace an array (or bytes) of them."""
    rng = np.random.default_rng(0)
    arrays: list[Any] = []
    for count in (40, 20):
        arrays += [rng.integers(0, 256, (count, 4, 4)), np.arange(count) % 10]
    (tmp_path / "mnist").mkdir(exist_ok=True)
    for number, name in enumerate(NAMES):
        content = changes.get(f"file_{number}", arrays[number])
        packed = content if isinstance(content, bytes) else gzip.compress(idx(content), mtime=0)
        (tmp_path / "mnist" / name).write_bytes(packed)
    return tmp_path


def test_whole_files_of_digits_are_read(tmp_path: Path) -> None:
    data = dataset("mnist", mnist(tmp_path), val_fraction=0.25)
    assert [data.size(s) for s in data.splits] == [30, 10, 20]


LABELS = np.arange(20) % 10


@pytest.mark.parametrize(
    ("number", "content", "message"),
    [
        (3, gzip.compress(b"\0\0\x08\x01\0\0", mtime=0), "the header is cut off"),
        (2, gzip.compress(b"\0\0\x08\x00", mtime=0), "the header is cut off"),
        (3, gzip.compress(b"\0\0\x08\x01\xff\xff\xff\xff", mtime=0), "promises 4,294,967,295"),
        (2, gzip.compress(b"\0\0\x08\x03" + b"\xff" * 12, mtime=0), "its header promises"),
        (3, gzip.compress(idx(LABELS) + b"\0" * 99, mtime=0), "more than 20 bytes"),
        (3, np.where(np.arange(20) == 6, 37, LABELS), "label 37 at place 7"),
        (3, LABELS[:19], "20 images, but"),
        (3, np.full(20, 4), "all 20 labels are 4"),
        (2, np.zeros((20, 16)), "not 20 × 16"),
        (2, np.arange(20), "Are files swapped?"),
        (3, np.zeros((20, 4, 4)), "Are files swapped?"),
        (2, np.zeros((20, 5, 5)), "images of 4 × 4, "),
        (2, np.zeros((0, 4, 4)), "not 0 × 4 × 4"),
    ],
)
def test_damaged_and_swapped_files_of_digits_are_named(
    number: int, content: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        dataset("mnist", mnist(tmp_path, **{f"file_{number}": content})).rows("train")
    assert message in str(caught.value) and NAMES[number] in str(caught.value)


def test_the_training_images_in_place_of_the_test_images_are_seen(tmp_path: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (40, 4, 4))
    root = mnist(tmp_path, file_0=images, file_2=images, file_3=np.arange(40) % 10)
    with pytest.raises(UserError, match="hold the same images"):
        dataset("mnist", root).rows("train")


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Bytes changed, cut off, left out or doubled."""
    raw = np.frombuffer(content, np.uint8).copy()
    kind, place = rng.integers(4), int(rng.integers(len(raw)))
    if kind == 0:
        places = rng.integers(len(raw), size=int(rng.integers(1, 9)))
        raw[places] = rng.integers(0, 256, len(places))
        return raw.tobytes()
    length = int(rng.integers(1, 40))
    middle = content[place : place + length] * 2 if kind == 1 else b""
    return content[:place] + middle + (b"" if kind == 2 else content[place + length :])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO"])
def test_a_damaged_picture_is_read_or_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng([5, len(kind), ord(kind[0])])
    buffer = BytesIO()
    pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, kind)
    path = tmp_path / f"picture.{kind.lower()}"
    for _ in range(60):
        path.write_bytes(damaged(buffer.getvalue(), rng))
        try:
            assert read_image(path, (3, 8, 8)).shape == (3, 8, 8)
        except UserError as error:
            assert str(path) in error.message and "\n" not in error.message


def test_a_damaged_file_of_digits_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    whole = idx(rng.integers(0, 256, (5, 4, 4)))
    path = tmp_path / "digits"
    for number in range(200):
        packed = number % 2 == 0
        path.write_bytes(damaged(gzip.compress(whole, mtime=0) if packed else whole, rng))
        try:
            assert read_idx(path).dtype == np.uint8
        except UserError as error:
            assert str(path) in error.message and "\n" not in error.message


def test_a_line_that_is_too_long_for_a_name_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no image"):
        read_image(tmp_path / ("a" * 300))
