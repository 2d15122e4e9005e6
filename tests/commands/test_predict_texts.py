"""``predict`` on prompts and classes, with the input of people who have not read the manual."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scratchlab.cli import main

Captured = pytest.CaptureFixture[str]
WORDS = ("small", "big", "cat", "dog", "bird", "sees", "likes", "hears", "and", "the")


def sentence(start: int, length: int) -> str:
    return " ".join(WORDS[(start * k + k * k) % len(WORDS)] for k in range(1, length + 1))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def predict(capfd: Captured, *words: str) -> tuple[int, list[str], str]:
    capfd.readouterr()
    code = main(["predict", *words])
    out, err = capfd.readouterr()
    return code, out.split("\n")[:-1], err


def strange_input(capfd: Captured, run: str, longest: int) -> list[str]:
    """What comes out for an empty line, a plain one, one longer than the context, and at last
    bytes that are no text."""
    lines = ["", "   ", sentence(1, 6), sentence(2, 8 * longest), "⏎ 漢字 \u202e"]
    Path("lines.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    code, answers, err = predict(capfd, run, "input=lines.txt")
    assert code == 0 and len(answers) == len(lines), err
    assert answers[:2] == ["", ""]
    notes = [line for line in err.splitlines() if line.startswith("note: ")]
    assert len(notes) == 1 and "is cut to" in notes[0] and "its end is not read" in notes[0]
    Path("bad.txt").write_bytes(b"good line\nbad \xff line\n")
    code, _, err = predict(capfd, run, "input=bad.txt")
    assert code == 2 and "bad.txt, line 2: byte 0xff is not UTF-8" in err and "iconv" in err
    code, _, err = predict(capfd, run, "bad \udcff argument")
    assert code == 2 and "text 1: character 5 is no UTF-8" in err
    assert "Traceback" not in err
    return answers


def test_prompts_are_answered_one_a_line_and_what_is_cut_is_said(
    folder: Path, capfd: Captured
) -> None:
    rows = [{"prompt": sentence(i, 5 + i // 10), "response": sentence(i + 3, 3)} for i in range(30)]
    Path("qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [
        "model=gpt", "model.d_model=16", "model.n_heads=2", "model.n_layers=1",
        "dataset=instructions", "dataset.path=qa.jsonl", "dataset.vocab_size=120",
        "dataset.max_length=64", "trainer.max_steps=2", "evaluator=[perplexity]", "threads=1",
        "cache_dir=cache", "name=qa", "decoding.max_new_tokens=5",
    ]  # fmt: skip
    assert main(["train", *words]) == 0
    strange_input(capfd, "outputs/qa/latest", 64)
    code, answers, _ = predict(capfd, "outputs/qa/latest", f"{sentence(1, 3)}\n{sentence(2, 3)}")
    assert code == 0 and len(answers) == 1  # an argument of two lines is one text

    Path("qa.jsonl").write_bytes(b'{"prompt": "caf\xe9", "response": "no"}\n')
    assert main(["train", *words, "run_id=bad"]) == 2
    assert "line 1: byte 0xe9 is not UTF-8" in capfd.readouterr().err


def bert(folder: Path) -> str:
    """A folder of a tiny BERT with a tokenizer of words."""
    transformers: Any = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: i for i, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=32,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"pad_token": 0, "unk_token": 1, "cls_token": 2, "sep_token": 3}
    (folder / "special_tokens_map.json").write_text(
        json.dumps({name: special[i] for name, i in names.items()})
    )
    return str(folder)


def test_texts_get_a_class_a_line_and_what_is_cut_is_said(folder: Path, capfd: Captured) -> None:
    checkpoint = bert(folder / "bert")
    lines = [f"{sentence(i, 5 + i // 10)},{'good' if i % 2 else 'bad'}" for i in range(40)]
    Path("rows.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    words = [
        "model=bert", f"model.checkpoint={checkpoint}", "dataset=text_classification",
        "dataset.path=rows.csv", "dataset.max_length=32", "trainer.max_steps=2", "threads=1",
        "cache_dir=cache", "name=classes", "evaluator=[classification]",
    ]  # fmt: skip
    assert main(["train", *words]) == 0
    answers = strange_input(capfd, "outputs/classes/latest", 32)
    for answer in answers[2:]:
        name, share = answer.split("\t")
        assert name in ("good", "bad") and 0.5 <= float(share) <= 1.0
