"""Whatever a file of text holds, every data set reads it or refuses it with its name."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchlab.commands.predict import _lines
from scratchlab.data.sources.hub import HubSet, load_hub_pairs
from scratchlab.errors import UserError
from tests.support.kinds import build, sentence, write_files

LINES = [sentence(i, 5 + i % 4) for i in range(24)]
Generator = np.random.Generator


def cut(content: bytes, rng: Generator) -> bytes:
    return content[: rng.integers(len(content))]


def flipped(content: bytes, rng: Generator) -> bytes:
    raw = bytearray(content)
    for place in rng.integers(len(raw), size=3).tolist():
        raw[place] ^= 1 << int(rng.integers(8))
    return bytes(raw)


def shuffled(content: bytes, rng: Generator) -> bytes:
    """A piece is where another was."""
    a, b, c = sorted(rng.integers(len(content), size=3).tolist())
    return content[:a] + content[b:c] + content[a:b] + content[c:]


def strewn(content: bytes, rng: Generator) -> bytes:
    """Something that means something stands where it should not."""
    marks = (b'"', b"\t", b",", b"\n", b"\r", b"\0", b"{", b"]", b"\\ud800", b"\xe2\x80\xa8", b";;",
             b"\xff\xfe", b"\n\n\n", b"NaN", b"1e999", b"9" * 5000, b"[" * 5000)  # fmt: skip
    place = rng.integers(len(content))
    return content[:place] + marks[rng.integers(len(marks))] + content[place:]


def exchanged(content: bytes, rng: Generator) -> bytes:
    """One mark is another one everywhere."""
    a, b = rng.choice([b",", b"\t", b"\n", b" ", b'"', b":", b"e", b"\r"], 2, replace=False)
    return content.replace(a, b)


def of_another_kind(content: bytes, rng: Generator) -> bytes:
    kinds = (b"", b"\n", b"\xef\xbb\xbf", b"\x1f\x8b", b"\x1f\x8b\x08\0", b"\x89PNG\r\n\x1a\n\0\0",
             b"PK\x03\x04\x14", b"null", b"[1, 2]\n", b"{}\n", b"a,b\n", b"a\tb\n1\t2\n", b"0",
             *(content.decode("latin-1").encode(kind) for kind in ("utf-16", "utf-16-be")),
             bytes(5000), bytes(range(256)), b"," * 5000, b'"' * 5001)  # fmt: skip
    return kinds[rng.integers(len(kinds))]


DAMAGES = (cut, flipped, shuffled, strewn, exchanged, of_another_kind)


def spoiled(content: bytes, number: int, rng: Generator) -> bytes:
    """The ``number``-th way of damaging a file, plain or packed, before or after packing."""
    damage = DAMAGES[number % len(DAMAGES)]
    turn = number // len(DAMAGES) % 3
    if turn == 0:
        return damage(content, rng)
    if turn == 1 and damage is not of_another_kind:
        return damage(gzip.compress(content, mtime=0), rng)
    return gzip.compress(damage(content, rng), mtime=0)


def text(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def table(mark: str, header: str, rows: Callable[[int], tuple[str, ...]]) -> bytes:
    return text([header.replace(",", mark), *(mark.join(rows(i)) for i in range(24))])


BACK = [" ".join(line.split()[::-1]) for line in LINES]
NEWS = table(",", "article,highlights", lambda i: (f'"{LINES[i]},\n{i}"', LINES[i][:9]))
LABELLED = table(",", "text,label", lambda i: (LINES[i], str(i % 2)))
OBJECTS = text([json.dumps({"text": line, "label": i % 2}) for i, line in enumerate(LINES)])
ASKED = [json.dumps({"prompt": line, "response": "a cat"}) for line in LINES]
QUESTIONS = [f"where is {line}?\there {i % 4}" for i, line in enumerate(LINES)]
WINE = table(";", '"a","b","quality"', lambda i: (str(i), "0.5", str(3 + i % 3)))
HOUSES = table(",", "CRIM,RM,MEDV", lambda i: (f"{i}.5", "6", f"2{i}.1"))
OWN_ROWS = table(",", "a,b,c", lambda i: (f"{i}.5", '"x, y"', "no" if i % 2 else "yes"))
FEW = {"vocab_size": 90, "min_frequency": 1, "batch_tokens": 60}
BLOCKS = {"block_size": 4, "batch_size": 2}
PROMPTED = {"vocab_size": 120, "batch_tokens": 90, "max_length": 90}

# Of each data set: its options and its files below the folder of data files.
SETS: dict[str, tuple[str, dict[str, Any], dict[str, bytes]]] = {
    "running text": ("text_file", {"paths": ["a.txt", "b.txt"], **BLOCKS},
                     {"a.txt": text(LINES), "b.txt": text(BACK)}),
    "words": ("text_file", {"paths": ["a.txt"], "tokenizer": "word", **BLOCKS},
              {"a.txt": text(LINES)}),
    "shakespeare": ("tiny_shakespeare", {"source": "files", **BLOCKS},
                    {"tinyshakespeare/input.txt": text(LINES * 2)}),
    "wikitext": ("wikitext2", {"source": "files", **BLOCKS},
                 {f"wikitext2/{s}.txt": text(LINES) for s in ("train", "valid", "test")}),
    "parallel": ("parallel_text", {"train_source": "a", "train_target": "b", "val_sentences": 2,
                                   "test_sentences": 2, **FEW},
                 {"a": text(LINES), "b": text(BACK)}),
    "columns": ("parallel_text", {"tsv": "a.tsv", "val_sentences": 2, "test_sentences": 2, **FEW},
                {"a.tsv": text([f"{a}\t{b}" for a, b in zip(LINES, BACK, strict=True)])}),
    "multi30k": ("multi30k_en_fr", {"source": "files", **FEW},
                 {f"multi30k/{s}.{side}": text(LINES) for side in ("en", "fr")
                  for s in ("train", "val", "test_2016_flickr")}),
    "tatoeba": ("tatoeba_en_fr", {"source": "files", "val_sentences": 2, "test_sentences": 2,
                                  **FEW},
                {"tatoeba_eng_fra/fra.txt": text([f"{i} {a}\t{a}" for i, a in enumerate(LINES)])}),
    "news": ("cnn_dailymail", {"source": "files", "train_file": "a.csv", "test_file": "b.csv",
                               **PROMPTED}, {"a.csv": NEWS, "b.csv": NEWS}),
    "news pairs": ("cnn_dailymail_pairs", {"source": "files", "train_file": "a.csv",
                                           "test_file": "b.csv", **FEW},
                   {"a.csv": NEWS, "b.csv": NEWS}),
    "instructions": ("instructions", {"path": "a.jsonl", **PROMPTED}, {"a.jsonl": text(ASKED)}),
    "documents": ("wiki_spans", {"corpus": "a.txt", "block_size": 32, "batch_size": 4},
                  {"a.txt": text(LINES)}),
    "questions": ("birthplaces", {"train": "q.tsv", "val": "r.tsv", "corpus": "a.txt",
                                  "block_size": 60, "batch_size": 4},
                  {"q.tsv": text(QUESTIONS), "r.tsv": text(QUESTIONS), "a.txt": text(QUESTIONS)}),
    "labelled csv": ("text_classification", {"path": "a.csv"}, {"a.csv": LABELLED}),
    "labelled tsv": ("text_classification", {"path": "a.tsv", "val_path": "b.tsv"},
                     {"a.tsv": LABELLED.replace(b",", b"\t"),
                      "b.tsv": LABELLED.replace(b",", b"\t")}),
    "labelled jsonl": ("text_classification", {"path": "a.jsonl"}, {"a.jsonl": OBJECTS}),
    "sst2": ("sst2", {}, {f"sst2/{s}.tsv": table("\t", "sentence,label", lambda i, s=s: (
        f"{s} {i} {LINES[i]}", str(i % 2))) for s in ("train", "dev", "test")}),
    "reviews": ("mr", {}, {f"mr_polarity/rt-polarity.{s}": text([f"{s} {i} é {line}" for i, line in
                                                                 enumerate(LINES)])
                           for s in ("neg", "pos")}),
    "table": ("table", {"path": "a.csv", "val_fraction": 0.2}, {"a.csv": OWN_ROWS}),
    "wine": ("wine_quality", {}, {f"wine_quality/winequality-{c}.csv": WINE
                                  for c in ("red", "white")}),
    "houses": ("boston_housing", {}, {"boston_housing/boston_housing.csv": HOUSES}),
}  # fmt: skip
WITH_CHECKPOINT = ("text_classification", "sst2", "mr")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_files(tmp_path_factory.mktemp("kinds") / "files") / "checkpoint")


def read(name: str, options: dict[str, Any], root: Path, checkpoint: str) -> None:
    """All that training takes from a data set at its start."""
    if name in WITH_CHECKPOINT:
        options = {**options, "checkpoint": checkpoint}
    shutil.rmtree(root.parent / "cache", ignore_errors=True)
    dataset = build(name, options, root, root.parent / "cache")
    assert dataset.spec.task
    for split in dataset.splits:
        assert dataset.size(split) > 0
        for batch in itertools.islice(dataset.batches(split, seed=0, epoch=0), 2):
            assert batch is not None


@pytest.mark.parametrize("kind", SETS)
def test_a_damaged_file_is_read_or_refused_by_every_data_set(
    kind: str, tmp_path: Path, checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, options, files = SETS[kind]
    root = tmp_path / "data"
    for file, content in files.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(content)
    monkeypatch.chdir(root)
    read(name, options, root, checkpoint)
    rng = np.random.default_rng([7, *kind.encode()])
    names, refused = list(files), 0
    for number in range(CASES):
        file = names[rng.integers(len(names))]
        content = spoiled(files[file], number, rng)
        (root / file).write_bytes(content)
        try:
            read(name, options, root, checkpoint)
        except UserError as error:
            refused += 1
            assert len(str(error)) < 2000, str(error)
        except Exception as error:
            raise AssertionError(f"{file} of {content[:300]!r}") from error
        (root / file).write_bytes(files[file])
    assert refused > CASES // 10
    for file in names:  # a named pipe would be waited for
        (root / file).unlink()
        os.mkfifo(root / file)
        with pytest.raises(UserError, match="is a named pipe"):
            read(name, options, root, checkpoint)
        (root / file).unlink()
        (root / file).write_bytes(files[file])


CASES = 24


def test_damaged_lines_for_predict_are_read_or_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    path = tmp_path / "lines.txt"
    for number in range(200):
        path.write_bytes(spoiled(text(LINES), number, rng))
        try:
            assert all("\n" not in line for line in _lines(str(path)))
        except UserError as error:
            assert str(path) in error.message


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_damaged_folder_in_the_form_of_the_hub_is_read_or_refused(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    content = text([json.dumps({"en": a, "fr": a}) for a in LINES])
    if kind == "csv":
        content = table(",", "en,fr", lambda i: (LINES[i], LINES[i]))
    if kind == "parquet":
        table_of = datasets.Dataset.from_dict({"en": LINES, "fr": BACK})
        table_of.to_parquet(tmp_path / "good.parquet")
        content = (tmp_path / "good.parquet").read_bytes()
    rng = np.random.default_rng(8)
    for number in range(12):
        folder = tmp_path / f"hub{number}"
        folder.mkdir()
        (folder / f"train.{kind}").write_bytes(spoiled(content, number, rng))
        try:
            load_hub_pairs(HubSet(str(folder), None, ("en", "fr")), "by hand")
        except UserError:
            continue
