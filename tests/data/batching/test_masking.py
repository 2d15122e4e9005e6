"""Masked words: how many, what takes their place, and that nothing but the example decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchlab.data.batching.masking import Masking, Vocabulary, chances, mask_tokens
from scratchlab.data.contract import IGNORE, DataContext
from scratchlab.data.kinds.masked_tokens import MaskedTokens
from scratchlab.data.sets.corpora import TextFile
from scratchlab.data.sets.labelled import OwnTextClasses
from scratchlab.errors import UserError
from tests.support.kinds import sentence

MASK, PAD, ENDS = 99, 0, (1, 2)
WORDS = Vocabulary(MASK, np.arange(3, 99), np.array([PAD, *ENDS, MASK]))


def rows(count: int, width: int) -> np.ndarray:
    ids = np.random.default_rng(0).integers(3, 99, (count, width))
    ids[:, 0], ids[:, -1] = ENDS
    return ids


def test_chances_are_even_and_functions_of_key_example_and_place() -> None:
    found = chances((1, 2), np.arange(2000), 100)
    assert abs(found.mean() - 0.5) < 0.005 and abs(found.std() - 12**-0.5) < 0.005
    assert np.abs(np.corrcoef(found[:, :20], rowvar=False) - np.eye(20)).max() < 0.1
    assert np.abs(np.corrcoef(found[:20]) - np.eye(20)).max() < 0.5
    part = chances((1, 2), np.array([1999, 7]), 30)
    assert np.array_equal(part, found[[1999, 7], :30])
    assert np.isclose(chances((1, 3), np.arange(2000), 100), found).mean() < 1e-3


def test_a_share_of_the_tokens_is_predicted_and_spoilt_as_in_the_paper() -> None:
    ids = rows(4000, 42)  # 40 tokens and two ends
    tokens, targets = mask_tokens(ids, np.arange(4000), (0,), Masking(), WORDS)
    chosen = targets != IGNORE
    assert set(chosen.sum(1)) == {6} and not chosen[:, [0, -1]].any()
    assert np.array_equal(targets[chosen], ids[chosen])
    assert np.array_equal(tokens[~chosen], ids[~chosen])
    masked, kept = tokens[chosen] == MASK, tokens[chosen] == ids[chosen]
    assert abs(masked.mean() - 0.8) < 0.01
    assert abs(kept.mean() - (0.1 + 0.1 / 96)) < 0.01
    other = tokens[chosen][~masked & ~kept]
    assert other.min() >= 3 and other.max() <= 98 and len(set(other.tolist())) > 80
    places = chosen.sum(0)[1:-1]
    assert places.min() > 0.8 * places.mean()
    alone, wanted = mask_tokens(rows(5, 3), np.arange(5), (0,), Masking(masked=1.0), WORDS)
    assert (alone[:, 1] == MASK).all() and (wanted[:, 1] != IGNORE).all()  # at least one
    nothing = mask_tokens(np.array([[1, 2, 0]]), np.arange(1), (0,), Masking(), WORDS)[1]
    assert (nothing == IGNORE).all()


def test_words_are_masked_to_their_ends() -> None:
    starts = np.arange(100) % 3 == 0  # two of three tokens go on with a word
    vocabulary = Vocabulary(MASK, WORDS.ordinary, WORDS.fixed, starts)
    ids = rows(500, 42)
    masking = Masking(whole_words=True)
    chosen = mask_tokens(ids, np.arange(500), (4,), masking, vocabulary)[1] != IGNORE
    begins = starts[ids]
    begins[:, [0, 1, -1]] = True
    word = begins.cumsum(1)
    for row in range(500):
        touched = set(word[row][chosen[row]])
        assert (chosen[row] == np.isin(word[row], list(touched))).all()
    assert 6 <= chosen.sum(1).mean() < 9


def text_files(folder: Path) -> dict[str, Any]:
    paths = {}
    for split, count in (("train", 60), ("val", 25)):
        paths[split] = folder / f"{split}.txt"
        lines = [sentence(i + 100 * (split == "val"), 4 + i % 5) for i in range(count)]
        paths[split].write_text("\n".join(lines) + "\n")
    return {"paths": [str(paths["train"])], "val_paths": [str(paths["val"])]}


def running(folder: Path, **options: Any) -> MaskedTokens:
    config = TextFile.Config(
        **text_files(folder), **{"tokenizer": "word", "block_size": 10, "batch_size": 3,
                                 "batching": "shuffled", **options},
    )  # fmt: skip
    return MaskedTokens(TextFile(config, DataContext(None, folder / "c", masks=True)), Masking())


def labelled(folder: Path, **options: Any) -> MaskedTokens:
    rows = [f"{sentence(i, 3 + i % 7)}\t{i % 2}\n" for i in range(80)]
    (folder / "rows.tsv").write_text("text\tlabel\n" + "".join(rows))
    config = OwnTextClasses.Config(
        path=str(folder / "rows.tsv"), **{"tokenizer": "word", "batch_tokens": 40, **options}
    )
    context = DataContext(None, folder / "c", masks=True)
    return MaskedTokens(OwnTextClasses(config, context), Masking())


def drawn(dataset: MaskedTokens, split: str, **when: int) -> dict[int, list[Any]]:
    """What is read and predicted of each example, without padding."""
    found = {}
    for batch in dataset.batches(split, **{"seed": 0, "epoch": 0, **when}):
        for example, tokens, targets in zip(
            batch.indices.tolist(), batch.tokens.tolist(), batch.targets.tolist(), strict=True
        ):
            length = len(tokens) - tokens.count(dataset.spec.pad_id)
            found[example] = [tokens[:length], targets[:length]]
    return found


@pytest.mark.parametrize("make", [running, labelled])
def test_training_goes_on_with_the_very_masks_and_evaluation_knows_no_batches(
    tmp_path: Path, make: Any
) -> None:
    dataset = make(tmp_path)
    batches = list(dataset.batches("train", seed=3, epoch=1))
    rest = list(dataset.batches("train", seed=3, epoch=1, start=2))
    assert len(batches) == dataset.batch_count("train", seed=3, epoch=1) == len(rest) + 2
    for a, b in zip(batches[2:], rest, strict=True):
        assert a.tokens.equal(b.tokens) and a.targets.equal(b.targets)
    first, second = drawn(dataset, "train", epoch=1), drawn(dataset, "train", epoch=2)
    same = [example for example in first if example in second]
    assert not same or [first[i] for i in same] != [second[i] for i in same]
    tokenizer = dataset.tokenizer
    for tokens, targets in first.values():
        assert tokens[0] == tokenizer.cls_id and tokens[-1] == tokenizer.sep_id
        assert targets[0] == targets[-1] == IGNORE and any(t != IGNORE for t in targets)
    options = {"eval_batch_size": 1} if make is running else {"eval_batch_tokens": 8}
    assert drawn(make(tmp_path, **options), "val", seed=5) == drawn(dataset, "val")
    assert dataset.spec.max_length == (12 if make is running else 128)


def test_what_cannot_be_masked_is_said_in_one_line(tmp_path: Path) -> None:
    for make, options, message in (
        (running, {"batching": "stream"}, "for recurrent models"),
        (running, {"eval_stride": 5}, "windows that do not overlap"),
    ):
        with pytest.raises(UserError, match=message):
            make(tmp_path, **options)
    config = TextFile.Config(**text_files(tmp_path), tokenizer="word", block_size=10)
    plain = TextFile(config, DataContext(None, tmp_path / "c"))
    with pytest.raises(UserError, match="has no mask"):
        MaskedTokens(plain, Masking())
    chars = TextFile(
        TextFile.Config(**text_files(tmp_path), tokenizer="char", block_size=10),
        DataContext(None, tmp_path / "c", masks=True),
    )
    with pytest.raises(UserError, match="no parts of words"):
        MaskedTokens(chars, Masking(whole_words=True))
