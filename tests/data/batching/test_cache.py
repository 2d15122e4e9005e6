"""The cache gives back what was built, survives damage and writers at the same time."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from scratchlab.data.batching.cache import Arrays, cached, content_key, pack_text, unpack_text


def arrays() -> Arrays:
    content, offsets = pack_text(["un", "", "l’été\n"])
    return {"content": content, "offsets": offsets, "ids": np.arange(5000, dtype=np.int32)}


def never() -> Arrays:
    raise AssertionError("built although it was there")


def same(one: Arrays, other: Arrays) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def test_an_entry_is_built_once(tmp_path: Path) -> None:
    assert same(cached(tmp_path, "a", "k", arrays), arrays())
    read = cached(tmp_path, "a", "k", never)
    assert same(read, arrays())
    assert unpack_text(read["content"], read["offsets"]) == ["un", "", "l’été\n"]
    assert [p.name for p in tmp_path.iterdir()] == ["a-k.npz"]


def test_another_key_is_another_entry() -> None:
    key = content_key(options={"a": 1, "b": [2]}, data={"f": "x"})
    assert key == content_key(data={"f": "x"}, options={"b": [2], "a": 1})
    assert key != content_key(options={"a": 1, "b": [3]}, data={"f": "x"})
    assert key != content_key(options={"a": 1, "b": [2]}, data={"f": "y"})


@pytest.mark.parametrize("damage", ["truncated", "bit flipped", "empty", "other text", "a pickle"])
def test_a_damaged_entry_is_built_again(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    cached(tmp_path, "a", "k", arrays)
    path = tmp_path / "a-k.npz"
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        del content[len(content) // 2 :]
    elif damage == "bit flipped":
        content[len(content) // 2] ^= 16
    elif damage == "empty":
        content.clear()
    elif damage == "other text":
        content[:] = b"hello"
    path.write_bytes(content)
    if damage == "a pickle":
        with path.open("wb") as file:
            np.savez(file, ids=np.array([{"a": 1}], dtype=object))
    with caplog.at_level(logging.WARNING):
        assert same(cached(tmp_path, "a", "k", arrays), arrays())
    assert "is damaged" in caplog.text
    assert same(cached(tmp_path, "a", "k", never), arrays())


def test_writers_at_the_same_time_leave_one_whole_entry(tmp_path: Path) -> None:
    results: list[Arrays] = []
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        results.append(cached(tmp_path, "a", "k", arrays))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert all(same(r, arrays()) for r in results)
    assert [p.name for p in tmp_path.iterdir()] == ["a-k.npz"]
    assert same(cached(tmp_path, "a", "k", never), arrays())


def test_a_cache_that_cannot_be_written_costs_only_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    with caplog.at_level(logging.WARNING):
        assert same(cached(tmp_path / "file", "a", "k", arrays), arrays())
    assert "prepared data is not kept" in caplog.text


def test_a_full_disk_leaves_no_entry_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with caplog.at_level(logging.WARNING):
        assert same(cached(tmp_path, "a", "k", arrays), arrays())
    assert "disk is full" in caplog.text
    assert list(tmp_path.iterdir()) == []
