"""Images: MNIST's files, folders of pictures, noise."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from scratchlab.data.contract import DataContext
from scratchlab.data.kinds.noise import add_noise
from scratchlab.data.sources.image_files import read_idx
from scratchlab.errors import UserError
from scratchlab.registry import find

SHARED = os.environ.get("SCRATCHLAB_DATA")


def dataset(name: str, tmp_path: Path, **options: Any) -> Any:
    cls = find("dataset", name).load()
    context = DataContext(tmp_path, tmp_path / "cache", runs=tmp_path / "outputs")
    return cls(cls.Config(**options), context)


def folder(tmp_path: Path, per_class: int = 10) -> Path:
    root = tmp_path / "pictures"
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for i in range(per_class):
            pixels = rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


@pytest.mark.parametrize(
    "shape", [[], [1], [6, 5], [3, 0, 5], [2, 6, 5], [3, -6, 5], [3, 6, 10**9], [1, 1, 1, 1]]
)
def test_a_kept_shape_that_no_image_has_is_refused(tmp_path: Path, shape: list[int]) -> None:
    data = dataset("image_folder", tmp_path, path=str(folder(tmp_path, 4)))
    kept = {**data.own_preparation, "shape": shape}
    with pytest.raises(UserError, match=r"own\.shape: \[.*is no shape of images"):
        data.read(kept)
    assert data.read(data.own_preparation).image_shape == (3, 6, 5)


def test_a_folder_of_pictures_has_a_class_for_each_folder(tmp_path: Path) -> None:
    data = dataset("image_folder", tmp_path, path=str(folder(tmp_path)))
    assert data.spec.class_names == ("cat", "dog") and data.spec.image_shape == (3, 6, 5)
    batch = next(data.batches("val", seed=0, epoch=0))
    assert batch.inputs.shape == (2, 3, 6, 5) and 0 <= batch.inputs.min() <= batch.inputs.max() <= 1
    grey = dataset("image_folder", tmp_path, path="pictures", channels=1, height=4, width=4)
    assert grey.spec.image_shape == (1, 4, 4)
    assert grey.encode(str(tmp_path / "pictures/cat/0.png")).shape == (1, 16)


def test_images_know_their_files_and_16_bits_keep_their_shades(tmp_path: Path) -> None:
    root = folder(tmp_path)
    shades = np.linspace(0, 65535, 30).astype(np.uint16).reshape(6, 5)
    Image.fromarray(shades).save(root / "cat" / "0.png")
    data = dataset("image_folder", tmp_path, path=str(root), channels=1)
    shown = {data.original(s, i)["file"]: i for s in ("test",) for i in range(data.size(s))}
    assert len(shown) == data.size("test") and all((root / name).is_file() for name in shown)
    assert np.allclose(data.encode(str(root / "cat/0.png")), shades.ravel() / 65535, atol=0.003)


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    root = folder(tmp_path)
    (root / "dog" / ".DS_Store").write_text("hidden")
    (root / "dog" / "notes.txt").write_text("not a picture")
    with pytest.raises(UserError, match=r"notes\.txt is no image"):
        dataset("image_folder", tmp_path, path=str(root)).rows("train")
    (root / "dog" / "notes.txt").unlink()
    (root / "empty").mkdir()
    with pytest.raises(UserError, match="empty holds no images"):
        dataset("image_folder", tmp_path, path=str(root)).rows("train")
    with pytest.raises(UserError, match="no folder"):
        dataset("image_folder", tmp_path, path="nowhere").rows("train")


def test_one_class_alone_and_too_few_images_are_refused(tmp_path: Path) -> None:
    root = folder(tmp_path, per_class=2)
    with pytest.raises(UserError, match="too few to split off"):
        dataset("image_folder", tmp_path, path=str(root)).rows("train")
    for path in (root / "dog").iterdir():
        path.unlink()
    (root / "dog").rmdir()
    with pytest.raises(UserError, match="all rows have the class 'cat'"):
        dataset("image_folder", tmp_path, path=str(root)).rows("train")


def test_idx_files_are_read_and_damage_is_named(tmp_path: Path) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    content = b"\0\0\x08\x03" + struct.pack(">3I", 2, 3, 4) + pixels.tobytes()
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(content))
    assert np.array_equal(read_idx(path), pixels)
    path.write_bytes(gzip.compress(content[:-1]))
    with pytest.raises(UserError, match="23 bytes of content, but its header promises 24"):
        read_idx(path)
    path.write_bytes(gzip.compress(content)[:-9])
    with pytest.raises(UserError, match="damaged gzip"):
        read_idx(path)
    path.write_bytes(b"hello")
    with pytest.raises(UserError, match="no IDX file"):
        read_idx(path)


@pytest.mark.skipif(SHARED is None, reason="SCRATCHLAB_DATA is not set")
def test_mnist_has_its_own_test_split() -> None:
    cls = find("dataset", "mnist").load()
    data = cls(cls.Config(train_rows=1000), DataContext(Path(SHARED or ""), Path("unused")))
    assert [data.size(s) for s in data.splits] == [1000, 4998, 10_000]
    assert np.bincount(data.rows("test")[1]).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip


def test_noise_has_the_strength_that_was_asked_for() -> None:
    X = np.full((200, 64), 0.5, np.float32)

    def spoil(kind: str, strength: float) -> Any:
        return add_noise(X, kind, strength, np.random.default_rng(0), (1, 8, 8))

    assert spoil("gaussian", 0.1).std() == pytest.approx(0.1, rel=0.02)
    salted = spoil("salt_pepper", 0.3)
    assert (salted != 0.5).mean() == pytest.approx(0.3, abs=0.01)
    assert (salted == 1).mean() == pytest.approx(0.15, abs=0.01)
    assert np.allclose(spoil("blur", 1.0), 0.5)
    assert np.array_equal(spoil("gaussian", 0.0), X)


def test_noise_is_the_same_at_every_reading_and_new_in_every_epoch(tmp_path: Path) -> None:
    data, again = (dataset("noisy_digits", tmp_path) for _ in range(2))
    assert np.array_equal(data.rows("test")[0], again.rows("test")[0])
    clean = dataset("digits", tmp_path).rows("test")[0]
    assert np.array_equal(data.clean_rows("test"), clean)
    assert np.abs(data.rows("test")[0] - clean).mean() > 0.2

    def batch(epoch: int, start: int = 2) -> Any:
        return next(data.batches("train", seed=1, epoch=epoch, start=start))

    assert (batch(0).inputs == batch(0).inputs).all()
    assert not (batch(0).inputs == batch(1).inputs).all()
    assert (batch(0).clean <= 1).all() and batch(0).clean.shape == batch(0).inputs.shape
    with pytest.raises(UserError, match="noise_splits"):
        dataset("noisy_digits", tmp_path, noise_splits=["tst"]).rows("test")


def test_restored_images_take_the_place_of_noisy_ones(tmp_path: Path) -> None:
    run = tmp_path / "outputs" / "x" / "one"
    (run / "restored").mkdir(parents=True)
    (run / "config.yaml").write_text("name: x\n")
    images = np.full((360, 64), 51, np.uint8)
    save_file({"images": images}, run / "restored" / "test.safetensors")
    data = dataset("noisy_digits", tmp_path, restored="x/one")
    assert np.allclose(data.rows("test")[0], 0.2)
    save_file({"images": images[:5]}, run / "restored" / "test.safetensors")
    with pytest.raises(UserError, match="holds 5 images, not 360"):
        dataset("noisy_digits", tmp_path, restored="x/one").rows("test")
    with pytest.raises(UserError, match="restored_images"):
        data.rows("val")
