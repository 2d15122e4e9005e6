"""Every kind of data set from tiny files, in the variants that must not be taken for each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from scratchlab.data.contract import DataContext, Dataset
from scratchlab.registry import parts

WORDS = ("the", "a", "red", "cat", "dog", "house", "river", "sees", "eats", "near", "and", "7")
TEXTS = ("ABC", "one", "two", "three")


def sentence(number: int, words: int = 6) -> str:
    return " ".join(WORDS[(number * 7 + i * (number % 5 + 1)) % len(WORDS)] for i in range(words))


def write_files(folder: Path) -> Path:
    """The files that :func:`variants` names."""
    folder.mkdir()
    for number, name in enumerate(TEXTS):
        lines = [sentence(i + 41 * number, 5 + i % 4) for i in range(24)]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n\n")
        (folder / f"{name}.back").write_text("\n".join(" ".join(reversed(x)) for x in
                                                       map(str.split, lines)) + "\n\n")  # fmt: skip
        rows = [
            f"{line}\t{' '.join(line.split()[::-1])}\t{i % 3}\n" for i, line in enumerate(lines)
        ]
        (folder / f"{name}.tsv").write_text("text\tback\tlabel\n" + "".join(rows))
        records = [{"prompt": line, "response": line.split()[0]} for line in lines]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
        cells = [f"{line},{' '.join(line.split()[:2])}\n" for line in lines]
        (folder / f"{name}.csv").write_text("article,highlights\n" + "".join(cells))
        numbers = [
            f"{i * (number + 2) % 11},{len(x)},{'xyz'[i % 3]}\n" for i, x in enumerate(lines)
        ]
        (folder / f"{name}.table.csv").write_text("a,b,c\n" + "".join(numbers))
        asked = [f"where is {line.split()[0]} {i}?\there {i % 4}\n" for i, line in enumerate(lines)]
        (folder / f"{name}.asked").write_text("".join(asked))
        facts = [
            {"question": f"{line} {i}?", "answer": f"it {i % 4}"} for i, line in enumerate(lines)
        ]
        (folder / f"{name}.facts.jsonl").write_text("".join(json.dumps(f) + "\n" for f in facts))
        _write_images(folder / f"{name}.images", number)
    everything = [
        (folder / f"{name}.{kind}").read_text() for name in TEXTS for kind in ("txt", "asked")
    ]
    (folder / "all.txt").write_text("".join(everything))
    _write_checkpoint(folder / "checkpoint")
    return folder


def _write_images(folder: Path, seed: int) -> None:
    from PIL import Image

    random = np.random.default_rng(seed)
    for name in ("left", "right"):
        (folder / name).mkdir(parents=True)
        for i in range(6):
            pixels = random.integers(0, 256, (4, 4), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")


def _write_checkpoint(folder: Path) -> None:
    """What the tokenizer of a checkpoint is read from."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: i for i, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), special, strict=True))
    (folder / "special_tokens_map.json").write_text(json.dumps(names))
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")


def variants(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Names and options of data sets; one after the other they may share a cache."""

    def names(ending: str, *stems: str) -> list[str]:
        return [str(folder / f"{stem}.{ending}") for stem in stems]

    found: list[tuple[str, dict[str, Any]]] = []

    def add(name: str, *options: dict[str, Any], **common: Any) -> None:
        found.extend((name, {**common, **o}) for o in options)

    one, two, three = (names("txt", stem) for stem in ("one", "two", "three"))
    divided = [
        {"paths": one, "val_paths": two, "test_paths": three},
        {"paths": one + two, "val_paths": three},
        {"paths": two, "val_paths": one, "test_paths": three},
        {"paths": one + two + three},
        {"paths": three + two + one},
        {"paths": one + one, "val_paths": two},
        {"paths": one, "val_paths": two},
        {"paths": one, "val_paths": two, "empty_lines": "drop"},
        {"paths": one, "val_paths": two, "lines": "sentences"},
        {"paths": one, "val_fraction": 0.3},
        {"paths": one, "val_fraction": 0.2, "test_fraction": 0.1},
    ]
    add("text_file", *divided, block_size=4, batch_size=2)
    for tokens in (
        {"tokenizer": "word"},
        {"tokenizer": "word", "vocab_size": 8},
        {"tokenizer": "word", "min_frequency": 9},
        {"tokenizer": "whitespace"},
        {"tokenizer": "bpe", "vocab_size": 60},
        {"tokenizer": "bpe", "vocab_size": 70},
        {"tokenizer": "pretrained", "checkpoint": str(folder / "checkpoint")},
    ):
        add("text_file", *divided[:2], block_size=4, batch_size=2, **tokens)

    def sides(split: str, stem: str) -> dict[str, str]:
        source, target = names("txt", stem)[0], names("back", stem)[0]
        return {f"{split}_source": source, f"{split}_target": target}

    add(
        "parallel_text",
        sides("train", "one") | sides("val", "two") | sides("test", "three"),
        sides("train", "two") | sides("val", "one") | sides("test", "three"),
        sides("train", "one") | sides("val", "three") | sides("test", "two"),
        sides("train", "one") | sides("val", "two"),
        sides("train", "one"),
        sides("train", "one") | {"split_seed": 1},
        sides("train", "one") | {"reverse": True},
        sides("train", "one") | {"max_length": 8},
        sides("train", "one") | {"max_length": 8, "too_long": "truncate"},
        sides("train", "one") | {"tokenizer": "word"},
        sides("train", "one") | {"tokenizer": "char", "shared_vocabulary": False},
        {"tsv": names("tsv", "one")[0], "tsv_columns": [1, 2]},
        {"tsv": names("tsv", "one")[0], "tsv_columns": [2, 1]},
        {"tsv": names("tsv", "two")[0], "tsv_columns": [1, 2]},
        vocab_size=70, min_frequency=1, val_sentences=2, test_sentences=2, batch_tokens=40,
        max_train_examples=12,
    )  # fmt: skip
    news = [
        {"train_file": names("csv", "one")[0], "test_file": names("csv", "two")[0]},
        {"train_file": names("csv", "two")[0], "test_file": names("csv", "one")[0]},
        {"train_file": names("csv", "one")[0], "test_file": names("csv", "one")[0]},
        {"train_file": names("csv", "one")[0], "test_file": names("csv", "two")[0],
         "val_share": 0.3},
    ]  # fmt: skip
    add("cnn_dailymail", *news, vocab_size=100, batch_tokens=60, max_length=60)
    add(
        "cnn_dailymail", news[0] | {"packing": True}, vocab_size=120, batch_tokens=90, max_length=60
    )
    add("cnn_dailymail_pairs", *news, vocab_size=70, batch_tokens=60, max_length=60)
    add(
        "instructions",
        {"path": names("jsonl", "one")[0], "val_path": names("jsonl", "two")[0]},
        {"path": names("jsonl", "two")[0], "val_path": names("jsonl", "one")[0]},
        {"path": names("jsonl", "two")[0]},
        vocab_size=100, batch_tokens=60, max_length=60,
    )  # fmt: skip
    texts = [{"corpus": names("txt", stem)[0]} for stem in ("one", "two")]
    pieces = {"tokenizer": "bpe", "vocab_size": 70}
    add("wiki_spans", *texts, texts[0] | pieces, texts[0] | {"held_out": 5}, block_size=32,
        batch_size=4)  # fmt: skip
    add(
        "birthplaces",
        *(
            {"train": names("asked", a)[0], "val": names("asked", b)[0]}
            for a, b in (("one", "two"), ("two", "one"), ("one", "one"))
        ),
        corpus=str(folder / "all.txt"), block_size=40, batch_size=4,
    )  # fmt: skip
    add(
        "text_classification",
        {"path": names("tsv", "one")[0], "val_path": names("tsv", "two")[0]},
        {"path": names("tsv", "two")[0], "val_path": names("tsv", "one")[0]},
        {"path": names("tsv", "one")[0]},
        checkpoint=str(folder / "checkpoint"), batch_tokens=40,
    )  # fmt: skip
    parted = {"path": names("tsv", "one")[0], "val_path": names("tsv", "two")[0]}
    for tokens in ({"tokenizer": "word"}, {"tokenizer": "bpe", "vocab_size": 70}):
        add("text_classification", parted, batch_tokens=40, **tokens)
    for kind in ("word", "char"):
        add("instructions", {"path": names("jsonl", "one")[0]}, tokenizer=kind, vocab_size=100,
            batch_tokens=60, max_length=60)  # fmt: skip
    documents = [{"path": path} for path in names("txt", "one", "two")]
    cut = {"passage_words": 4, "passage_overlap": 1}
    add("documents", *documents, documents[0] | cut)
    facts = names("facts.jsonl", *TEXTS[1:])
    add(
        "document_questions",
        documents[0] | {"questions": facts[0]},
        documents[0] | {"questions": facts[1]},
        documents[1] | {"questions": facts[0], "test_questions": facts[2]},
        documents[1] | {"questions": facts[0]} | cut,
        tokenizer="word", vocab_size=200, batch_tokens=200, max_length=60,
    )  # fmt: skip
    rows = {"val_fraction": 0.2, "batch_size": 4}
    tables = [{"path": path} for path in names("table.csv", "one", "two")]
    add(
        "table",
        *tables,
        tables[0] | {"target": "a", "target_type": "number", "split_seed": 3},
        **rows,
    )
    pictures = [{"path": str(folder / f"{stem}.images")} for stem in ("one", "two")]
    add("image_folder", *pictures, **rows)
    add("noisy_digits", {}, {"noise": "blur"}, train_rows=20, batch_size=8)
    return found


def build(name: str, options: dict[str, Any], files: Path, cache: Path) -> Dataset:
    """A data set as it is made for a run; ``files`` is the folder of data files."""
    cls = parts("dataset")[name].load()
    found: Dataset = cls(cls.Config(**options), DataContext(files, cache))
    return found
