"""Masked spans and questions, in characters and in pieces: the format, spelled out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchlab.data.contract import IGNORE, DataContext
from scratchlab.data.sets.knowledge import Biographies, BiographyQuestions, Birthplaces, WikiSpans
from scratchlab.data.tokenizers.files import read_text_tokenizer
from scratchlab.errors import UserError

PEOPLE = {"people": 40, "train_questions": 20, "val_questions": 10, "test_questions": 10}
TOKENS = pytest.mark.parametrize(
    "tokens", [{}, {"tokenizer": "bpe", "vocab_size": 300}, {"tokenizer": "whitespace"}]
)


def spans(home: Path, **options: Any) -> Biographies:
    config = Biographies.Config(**PEOPLE, batch_size=8, **options)
    return Biographies(config, DataContext(None, home))


@TOKENS
def test_an_example_is_the_document_with_its_middle_moved_to_the_end(
    tokens: dict[str, Any], tmp_path: Path
) -> None:
    dataset = spans(tmp_path, block_size=64, **tokens)
    documents, mask = dataset.located.documents, dataset.mask_id
    seen = set()
    for batch in dataset.batches("train", seed=3, epoch=1):
        for row, targets, index in zip(
            batch.tokens.tolist(), batch.targets.tolist(), batch.indices.tolist(), strict=True
        ):
            seen.add(index)
            last = max(i for i, target in enumerate(targets) if target != IGNORE)
            example = [row[0], *targets[: last + 1]]
            assert row[1 : last + 1] == targets[:last]  # predicts the token after each
            assert all(target == IGNORE for target in targets[last + 1 :])
            first, second = (i for i, token in enumerate(example) if token == mask)
            prefix, suffix = example[:first], example[first + 1 : second]
            content = example[second + 1 :]
            restored = [*prefix, *content, *suffix]
            whole = dataset.encode(documents[index])
            assert restored == whole[: len(restored)]
            assert prefix and content and suffix
            assert 4 <= len(restored) <= 7 * 64 // 8 and len(content) <= len(restored) // 2
    assert seen == set(range(len(documents)))


@TOKENS
def test_spans_are_drawn_anew_each_epoch_and_the_same_again(
    tokens: dict[str, Any], tmp_path: Path
) -> None:
    dataset = spans(tmp_path, **tokens)
    texts = [dataset.example("train", 5, epoch=epoch) for epoch in range(6)]
    assert len(set(texts)) > 3
    assert texts == [dataset.example("train", 5, epoch=epoch) for epoch in range(6)]
    assert all(text.count("⁇") == 2 for text in texts)


def test_a_span_is_a_quarter_of_the_text_on_average(tmp_path: Path) -> None:
    dataset = spans(tmp_path)
    drawn = [dataset.drawn("train", seed=0, epoch=epoch) for epoch in range(200)]
    length = np.concatenate([d.length for d in drawn])
    span = np.concatenate([d.span for d in drawn])
    assert (span / length).mean() == pytest.approx(0.25, abs=0.02)
    assert length.min() == 4 and length.max() <= 112


@TOKENS
def test_only_the_answer_and_its_end_are_learned(tokens: dict[str, Any], tmp_path: Path) -> None:
    config = BiographyQuestions.Config(**PEOPLE, **tokens)
    dataset = BiographyQuestions(config, DataContext(None, tmp_path))
    questions, answers = dataset.questions("test"), dataset.answers("test")
    for batch in dataset.batches("test", seed=0, epoch=0):
        for row, targets, index in zip(
            batch.tokens.tolist(), batch.targets.tolist(), batch.indices.tolist(), strict=True
        ):
            learned = [token for token in targets if token != IGNORE]
            assert learned == [*dataset.encode(answers[index]), dataset.mask_id]
            prompt = dataset.prompt(questions[index])
            assert row[: len(prompt)] == prompt and row[len(prompt)] == learned[0]
            assert dataset.read_answer([*learned, 5, 6]) == answers[index]


def test_a_name_has_the_same_pieces_in_a_question_as_in_a_document(tmp_path: Path) -> None:
    dataset = spans(tmp_path, tokenizer="bpe", vocab_size=300)
    tokenizer = dataset.tokenizer
    name = tokenizer.encode("Nora Win")
    for text in ("Nora Win was born.", "Where was Nora Win born?", "In Kiel Nora Win died."):
        ids = tokenizer.encode(text)
        assert any(ids[i : i + len(name)] == name for i in range(len(ids)))
    assert all(tokenizer.decode(tokenizer.encode(d)) == d for d in dataset.located.documents)


@pytest.mark.parametrize("shown", ["Nora ⁇ was born in ⁇ Kiel", "Nora⁇was born in⁇Kiel"])
def test_a_mask_takes_the_place_of_words(shown: str, tmp_path: Path) -> None:
    dataset = spans(tmp_path, tokenizer="bpe", vocab_size=300)
    mask = dataset.mask_id
    parts = [dataset.encode(part) for part in ("Nora", "was born in", "Kiel")]
    ids = [*parts[0], mask, *parts[1], mask, *parts[2]]
    assert dataset.encode(shown) == ids
    assert dataset.decode(ids) == "Nora ⁇ was born in ⁇ Kiel"
    assert dataset.encode("⁇") == [mask] and dataset.decode([mask, mask]) == "⁇⁇"
    assert dataset.token_labels([mask]) == ["⁇"]


def test_a_mask_within_a_word_is_shown_within_it(tmp_path: Path) -> None:
    dataset = spans(tmp_path, tokenizer="bpe", vocab_size=300)
    ids = dataset.encode("Merhart")
    assert len(ids) > 1
    assert dataset.decode([dataset.mask_id, *ids[1:]]).startswith("⁇" + dataset.decode(ids[1:])[0])


@TOKENS
def test_the_spec_names_what_is_no_text(tokens: dict[str, Any], tmp_path: Path) -> None:
    spec = spans(tmp_path, **tokens).spec
    assert spec.pad_id is not None and (spec.unk_id is None) == (not tokens)


@TOKENS
def test_questions_take_the_vocabulary_of_the_pretrained_checkpoint(
    tokens: dict[str, Any], tmp_path: Path
) -> None:
    dataset = spans(tmp_path, **tokens)
    dataset.save_vocabulary(tmp_path)
    assert read_text_tokenizer(tmp_path).to_json() == dataset.tokenizer.to_json()
    context = DataContext(None, tmp_path, vocabulary=tmp_path)
    asked = BiographyQuestions(BiographyQuestions.Config(**PEOPLE), context)
    assert asked.mask_id == dataset.mask_id and asked.spec.vocab_size == dataset.spec.vocab_size
    assert asked.spec.unit == {"bpe": "token"}.get(dataset.tokenizer.kind, dataset.tokenizer.unit)


@pytest.mark.parametrize(
    ("pretrained", "asked"),
    [
        ({}, {"tokenizer": "bpe"}),
        ({"tokenizer": "bpe", "vocab_size": 300}, {"tokenizer": "char"}),
        ({"tokenizer": "bpe", "vocab_size": 300}, {"tokenizer": "bpe", "vocab_size": 299}),
    ],
)
def test_other_tokens_than_the_checkpoint_has_are_refused(
    pretrained: dict[str, Any], asked: dict[str, Any], tmp_path: Path
) -> None:
    spans(tmp_path, **pretrained).save_vocabulary(tmp_path)
    context = DataContext(None, tmp_path, vocabulary=tmp_path)
    with pytest.raises(UserError, match="tokens of kind"):
        BiographyQuestions(BiographyQuestions.Config(**PEOPLE, **asked), context)
    BiographyQuestions(BiographyQuestions.Config(**PEOPLE, **pretrained), context)


def test_the_longest_answer_is_that_of_any_split(tmp_path: Path) -> None:
    (tmp_path / "docs.txt").write_text("Nora of Kiel, Ada of Llanfair\n" * 9, encoding="utf-8")
    (tmp_path / "train.tsv").write_text("Nora\tKiel\n", encoding="utf-8")
    (tmp_path / "val.tsv").write_text("Ada\tLlanfair\n", encoding="utf-8")
    files = {"train": "train.tsv", "val": "val.tsv", "corpus": "docs.txt"}
    own = {key: str(tmp_path / name) for key, name in files.items()}
    dataset = Birthplaces(Birthplaces.Config(**own), DataContext(tmp_path, tmp_path))
    assert dataset.longest_answer == len("Llanfair")


def test_a_corpus_that_holds_the_mask_is_refused(tmp_path: Path) -> None:
    (tmp_path / "docs.txt").write_text("Nora Win was born in Kiel ⁇ .\n", encoding="utf-8")
    for tokens in ({}, {"tokenizer": "bpe", "vocab_size": 300}):
        config = WikiSpans.Config(corpus=str(tmp_path / "docs.txt"), **tokens)
        with pytest.raises(UserError, match="must not occur in the corpus"):
            WikiSpans(config, DataContext(tmp_path, tmp_path))


def test_pieces_that_no_vocabulary_can_hold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="vocab_size=20 is too small"):
        spans(tmp_path, tokenizer="bpe", vocab_size=20)


def test_a_question_longer_than_the_block_is_refused_in_its_unit(tmp_path: Path) -> None:
    (tmp_path / "docs.txt").write_text("Where was Nora Win born? In Kiel .\n" * 9, encoding="utf-8")
    (tmp_path / "asked.tsv").write_text("Where was Nora Win born?\tKiel\n", encoding="utf-8")
    files = {"train": "asked.tsv", "val": "asked.tsv", "corpus": "docs.txt"}
    own = {key: str(tmp_path / name) for key, name in files.items()}
    few = {"tokenizer": "bpe", "vocab_size": 45}
    for tokens, unit in (({}, "characters"), (few, "tokens")):
        config = Birthplaces.Config(block_size=8, **own, **tokens)
        dataset = Birthplaces(config, DataContext(tmp_path, tmp_path))
        with pytest.raises(UserError, match=rf"question 1: question and answer have \d+ {unit}"):
            dataset.batch_count("train", seed=0, epoch=0)
