"""Runs written for other programs: ``export=hf``, back through ``init_from``, ``export=arpa``."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from scratchlab.data.contract import DataContext
from scratchlab.data.sets.corpora import TextFile
from scratchlab.estimators.ngrams.model import NGram
from scratchlab.models.formats.exporting import arpa_words, export_model

TEXT = "One for sorrow,\nTwo for joy,\nThree for a girl,\nFour for a boy.\n" * 20
WORDS = [
    "train",
    "model=gpt",
    "model.d_model=16",
    "model.n_heads=2",
    "model.n_layers=1",
    "dataset=text_file",
    "dataset.paths=[text.txt]",
    "dataset.block_size=16",
    "trainer.max_steps=5",
    "trainer.precision=fp32",
    "evaluator=[perplexity]",
    "tracker=[jsonl]",
    "threads=1",
    "name=out",
]


@pytest.mark.slow
def test_an_exported_run_is_read_by_transformers_and_gone_on_with(
    launcher: Any, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    (tmp_path / "text.txt").write_text(TEXT)
    options = ["model.positions=learned", "run_id=one"]
    done = launcher.run(*WORDS, *options, "export=hf", cwd=tmp_path)
    assert done.code == 0, done.err
    folder = tmp_path / "outputs/out/one/export/hf"
    theirs = transformers.GPT2LMHeadModel.from_pretrained(folder).eval()

    from safetensors.torch import load_file

    from scratchlab.models.formats.gpt2 import load_gpt2

    ours = load_gpt2(folder).eval()
    tokens = torch.randint(0, theirs.config.vocab_size, (2, 16))
    assert (ours(tokens) - theirs(tokens).logits).abs().max() < 1e-4
    best = load_file(tmp_path / "outputs/out/one/checkpoints/best/model.safetensors")
    assert torch.equal(best["embedding.weight"], theirs.transformer.wte.weight)

    # The weights that training starts from are those of the folder: nothing is learnt at rate 0.
    start = [f"init_from={folder}", "optimizer.lr=0", "run_id=two"]
    done = launcher.run(*WORDS, *start, "trainer.max_steps=1", cwd=tmp_path)
    assert done.code == 0, done.err
    again = load_file(tmp_path / "outputs/out/two/checkpoints/last/model.safetensors")
    assert all(torch.equal(again[name], best[name]) for name in best)

    # What LoRA trained is merged into the weights.
    adapted = [f"init_from={folder}", "method=lora", "run_id=merged", "export=hf"]
    done = launcher.run(*WORDS, *adapted, cwd=tmp_path)
    assert done.code == 0, done.err
    trained = load_file(tmp_path / "outputs/out/merged/checkpoints/best/model.safetensors")
    merged = load_gpt2(tmp_path / "outputs/out/merged/export/hf").state_dict()
    layers = [name.removesuffix(".lora_a") for name in trained if name.endswith(".lora_a")]
    assert layers and best.keys() <= merged.keys()
    for name in layers:
        change = 16 / 8 * trained[f"{name}.lora_b"] @ trained[f"{name}.lora_a"]
        expected = best[f"{name}.weight"] + change
        assert change.abs().max() > 0
        torch.testing.assert_close(merged[f"{name}.weight"], expected, rtol=1e-5, atol=1e-6)

    # The tokenizer is there as well; a measurement exports nothing again, also of another model.
    ids = transformers.AutoTokenizer.from_pretrained(folder)(TEXT[:40])["input_ids"]
    from scratchlab.data.tokenizers.files import read_text_tokenizer

    assert ids == read_text_tokenizer(folder).encode(TEXT[:40])
    for more in ([], ["method=int8"]):
        done = launcher.run("eval", "outputs/out/one", *more, cwd=tmp_path)
        assert done.code == 0, done.err
    assert not list((tmp_path / "outputs/out/one/evaluations").glob("*/export"))
    other = [*WORDS, f"init_from={folder}", "model.positions=rotary", "run_id=three"]
    message = launcher.run(*other, cwd=tmp_path).refused()
    assert "model.positions=rotary: the checkpoint" in message and "has learned" in message


SAMPLE = (
    "The cat's mat, l'homme costs 3.50 (or 1,000) -- well... no!!! \"Ok\"?\nNew line t-shirt "
    "café cafe\u0301 naïve 東京 😀👍🏽 jusqu'à\n\n  two  spaces\tTab x_y a1b2 नमस्ते "
)


@pytest.mark.parametrize("kind", ["char", "whitespace", "word"])
def test_transformers_reads_an_exported_tokenizer_to_the_same_ids(
    tmp_path: Path, kind: str
) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    from scratchlab.data.tokenizers.hf_tokenizer import unwritable, write_hf_tokenizer
    from scratchlab.data.tokenizers.learned import RUNNING
    from scratchlab.data.tokenizers.learning import learn

    tokenizer = learn(kind, lambda: [SAMPLE], None, 1, special=RUNNING[kind], lines=True)
    assert unwritable(tokenizer) is None
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    write_hf_tokenizer(tokenizer, tmp_path, 64)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    texts = [SAMPLE, "The mat\n", "", "\n\n"]
    texts += [] if kind == "char" else ["a zebra (unknown)\nhere's <unk>", "Tab\x1cx_y", "😀5 👍7"]
    for text in texts:
        assert theirs(text)["input_ids"] == tokenizer.encode(text), text
    assert theirs.model_max_length == 64
    ends = None if kind == "char" else "<eos>"
    assert theirs.eos_token == ends


def test_transformers_cuts_and_joins_pieces_of_words_as_here(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    import argparse

    from scratchlab.data.tokenizers.hf_tokenizer import LISTED, unwritable, write_hf_tokenizer
    from scratchlab.data.tokenizers.learning import learn

    code = Path(argparse.__file__).read_text(encoding="utf-8")[:60_000]
    tokenizer = learn("bpe", lambda: [SAMPLE, code], 600, 1, lines=True)
    assert unwritable(tokenizer, SAMPLE + code) is None
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    write_hf_tokenizer(tokenizer, tmp_path, 64)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    edges = [
        "",
        "\n",
        " ",
        "  ",
        "   ",
        "a ",
        " a",
        "  a",
        "a  b",
        "\n\n a \n",
        "a\r\nb",
        "\ta\t b",
    ]
    signs = [
        "<unk> <pad> <eos>",
        "▁",
        "a▁b ￭x￮41￮",
        "￭ 5 ",
        "(1 )2 e\u0301(e\u0301)e \u0301 \u0301a",
    ]
    unknown = [
        "a’s “b”—€",
        "Œß\x00\x7f",
        "😀A1 5😀",
        "«\u00a0a\u00a0»",
        "ж Ω北京",
        "𠮷a",
        "a\U0001f9ff",
    ]
    unknown += ["".join(map(chr, (c for c in LISTED[k::997] if chr(c).isalpha()))) for k in (1, 2)]
    for text in [*edges, *signs, *unknown, SAMPLE, SAMPLE[::-1], code]:
        ids = theirs(text)["input_ids"]
        assert ids == tokenizer.encode(text), text
        assert theirs.decode(ids) == tokenizer.decode(ids) == text
    chance = random.Random(3)
    digits = tokenizer.encode("\U00102345")  # a model may write marks and halves of spellings
    for _ in range(300):
        some = [*digits, *range(4, len(tokenizer))]
        weights = [*[20] * len(digits), *[1] * (len(tokenizer) - 4)]
        ids = chance.choices(some, weights, k=9)
        assert theirs.decode(ids) == tokenizer.decode(ids), ids
    assert theirs.eos_token == "\n" and theirs.eos_token_id == tokenizer.eos_id


def test_a_tokenizer_that_transformers_would_read_otherwise_is_not_written() -> None:
    from scratchlab.data.tokenizers.hf_tokenizer import unwritable
    from scratchlab.data.tokenizers.learning import learn

    masked = learn("bpe", lambda: [SAMPLE], 200, 1, lines=True, mask=True)
    assert "dataset.tokenizer=char or pretrained" in str(unwritable(masked))
    pieces = learn("bpe", lambda: [SAMPLE], 200, 1, lines=True)
    why = str(unwritable(pieces, "ok\na \U0003ffff"))
    assert "cuts 'a \\U0003ffff' in another way" in why


def test_what_a_format_has_no_place_for_is_refused_before_training(
    light_launcher: Any, tmp_path: Path
) -> None:
    message = light_launcher.run("train", "model=rnn_lm", "export=hf", cwd=tmp_path).refused()
    assert "rnn_lm cannot be written in the format 'hf'" in message
    assert "model=gpt" in message
    message = light_launcher.run("train", "model=gpt", "export=onnx", cwd=tmp_path).refused()
    assert "export" in message and "arpa" in message


def test_positions_that_gpt2_does_not_have_are_refused_before_training(
    launcher: Any, tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    words = [*WORDS, "model.positions=rotary", "run_id=one", "export=hf"]
    message = launcher.run(*words, cwd=tmp_path).refused()
    assert "model.positions=learned" in message
    assert not list((tmp_path / "outputs/out/one/checkpoints").glob("*"))


def test_a_model_that_reads_pieces_is_exported_with_its_tokenizer(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    from scratchlab.models.gpt import GPT

    (tmp_path / "text.txt").write_text(TEXT)
    options = {"paths": [str(tmp_path / "text.txt")], "tokenizer": "bpe", "block_size": 8}
    dataset = TextFile(TextFile.Config(**options), DataContext(None, tmp_path / "cache"))
    sizes = {"d_model": 8, "n_heads": 2, "n_layers": 1, "positions": "learned"}
    model = GPT(GPT.Config(**sizes), dataset.spec)
    theirs = transformers.AutoTokenizer.from_pretrained(
        export_model(model, dataset, "hf", tmp_path)
    )
    assert theirs(TEXT)["input_ids"] == dataset.encode(TEXT)


@pytest.mark.parametrize("tokenizer", ["word", "char"])
def test_an_n_gram_model_of_a_data_set_is_written_with_its_words(
    tmp_path: Path, tokenizer: str
) -> None:
    kenlm = pytest.importorskip("kenlm", reason="the package kenlm is not installed")
    (tmp_path / "text.txt").write_text(TEXT)
    options = {"paths": [str(tmp_path / "text.txt")], "tokenizer": tokenizer, "block_size": 8}
    dataset = TextFile(TextFile.Config(**options), DataContext(None, tmp_path / "cache"))
    with pytest.warns(UserWarning, match="discounts"):
        model = NGram(order=3).fit(*dataset.sentences("train"), unk_id=dataset.spec.unk_id)
    path = export_model(model, dataset, "arpa", tmp_path / "export")
    assert path == tmp_path / "export/model.arpa"
    tokens, offsets = dataset.sentences("val")
    words = arpa_words(dataset.tokenizer.tokens)
    reader = kenlm.Model(str(path))
    mine = model.score_tokens(tokens, offsets).sentence_log10
    for number, (begin, end) in enumerate(pairwise(offsets)):
        line = " ".join(words[i] for i in tokens[begin:end])
        assert reader.score(line) == pytest.approx(mine[number], abs=1e-4)
