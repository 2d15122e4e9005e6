"""Texts that go on piece by piece, with a real vocabulary and a tiny model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from scratchlab.data.contract import DataContext
from scratchlab.data.sets.corpora import TextFile
from scratchlab.decoding.continuation import Continuation
from scratchlab.decoding.sampling import Sampling
from scratchlab.errors import UserError
from scratchlab.estimators.ngrams.model import NGram
from scratchlab.models.gpt import GPT

TEXT = 'He said: "Wait (a while), it\'s 5 % of the well-known cost."\nShe did not wait.\n'


def corpus(folder: Path, tokenizer: str) -> TextFile:
    (folder / "text.txt").write_text(TEXT * 30)
    options = {"paths": [str(folder / "text.txt")], "tokenizer": tokenizer, "block_size": 12}
    return TextFile(TextFile.Config(**options), DataContext(None, folder / "cache"))


def writer(dataset: TextFile, said: list[str] | None = None, **options: Any) -> Continuation:
    torch.manual_seed(0)
    model = GPT(GPT.Config(d_model=16, n_heads=2, n_layers=1, positions="none"), dataset.spec)
    with torch.no_grad():
        model.embedding.weight.mul_(20)
    options = {"max_new_tokens": 30, "stop_at_eos": False, "temperature": 1.5, **options}
    decoder = Sampling(Sampling.Config(**options))
    return Continuation(model.eval(), dataset, decoder, (said if said is not None else []).append)


@pytest.mark.parametrize("tokenizer", ["char", "word", "bpe", "whitespace"])
def test_pieces_come_one_by_one_and_add_up_to_the_text_of_all_tokens(
    tmp_path: Path, tokenizer: str
) -> None:
    dataset = corpus(tmp_path, tokenizer)
    one = writer(dataset)
    pieces = list(one.stream("She did"))
    assert len(pieces) == 30
    prompt = dataset.encode("She did")
    drawn = one.decoder.generate_batch(one.model, [prompt], dataset.spec)[0]
    whole = dataset.decode([*prompt, *drawn])
    assert dataset.decode(prompt) + "".join(pieces) == whole
    texts = ["She did", "He said: it", "She did", "wait"]
    wheres = [f"prompt {i}" for i in range(4)]
    assert one.batch(texts, wheres) == ["".join(one.stream(t)) for t in texts]


def test_seeds_draw_other_texts_and_temperature_zero_always_the_same(tmp_path: Path) -> None:
    dataset = corpus(tmp_path, "char")

    def text(**options: Any) -> str:
        return "".join(writer(dataset, **options).stream("Wait"))

    assert text(seed=1) == text(seed=1) != text(seed=2)
    assert text(seed=1, temperature=0) == text(seed=2, temperature=0) == text(top_k=1)


def test_remarks_are_made_once_for_each_kind(tmp_path: Path) -> None:
    said: list[str] = []
    one = writer(corpus(tmp_path, "word"), said)
    one.batch(["He never said never", "Nor did she", "it " * 20], ["a", "b", "c"])
    assert len(said) == 2
    assert said[0].startswith("a: 2 of 4 words are not in the vocabulary")
    assert said[1].startswith("c has 20 words, more than the model's block of 12")


@pytest.mark.filterwarnings("ignore:the counts of order")
def test_an_n_gram_model_goes_on_to_the_end_of_the_line(tmp_path: Path) -> None:
    dataset = corpus(tmp_path, "word")
    model = NGram(order=3).fit(*dataset.sentences("train"), unk_id=dataset.spec.unk_id)
    decoder = Sampling(Sampling.Config(temperature=0.0))
    going = Continuation(model, dataset, decoder, [].append)
    assert "".join(going.stream("she did")) == " not wait."
    assert going.batch(["she did", "he said"], ["a", "b"])[0] == " not wait."
    with pytest.raises(UserError, match="draws from all words"):
        Continuation(model, dataset, Sampling(Sampling.Config(top_k=3)), [].append).stream("she")
