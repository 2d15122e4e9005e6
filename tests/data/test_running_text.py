"""Running text: ids on disk, blocks for training, windows that predict every token once."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchlab.data.batching.token_shards import Shards, write_shards
from scratchlab.data.contract import IGNORE, DataContext
from scratchlab.data.sets.corpora import TextFile
from scratchlab.data.sources.corpus import whole_lines
from scratchlab.data.tokenizers.pretrained import load_pretrained_tokenizer
from scratchlab.errors import UserError
from tests.support.kinds import sentence, write_files

TEXT = "".join(f"{i} green bottles hanging on the wall,\n" for i in range(300))


def corpus(folder: Path, **options: Any) -> TextFile:
    (folder / "text.txt").write_text(TEXT)
    options = {"paths": [str(folder / "text.txt")], "block_size": 16, "batch_size": 4, **options}
    return TextFile(TextFile.Config(**options), DataContext(None, folder / "cache"))


def test_a_corpus_of_many_files_is_written_and_read_without_ever_being_in_memory(
    tmp_path: Path,
) -> None:
    shard, pieces = 1 << 18, 40

    def ids() -> Iterator[np.ndarray]:
        for number in range(pieces):
            yield (np.arange(shard, dtype=np.int64) + number) % 50_000

    tracemalloc.start()
    files = write_shards(tmp_path, "train", ids(), 50_000, shard_tokens=shard)
    shards = Shards.open(tmp_path, files)
    rows = shards.take(np.array([5, shard - 3, 7 * shard - 2]), 6)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(files) == pieces and len(shards) == pieces * shard
    assert all(isinstance(a, np.memmap) and a.dtype == np.uint16 for a in shards.arrays)
    assert rows[1].tolist() == [(shard - 3) % 50_000 + i for i in range(3)] + [1, 2, 3]
    assert rows[2].tolist() == [(shard + 4) % 50_000, (shard + 5) % 50_000, 7, 8, 9, 10]
    assert peak < pieces * shard * 2 / 2  # bytes: a few pieces, never the whole


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"eval_context": 24, "eval_stride": 5},
        {"batching": "stream", "eval_streams": 3},
        {"tokenizer": "word", "eval_stride": 1},
        {"tokenizer": "bpe", "vocab_size": 60},
    ],
)
@pytest.mark.parametrize("batch", [1, 7])
def test_evaluation_predicts_every_token_of_a_split_once(
    tmp_path: Path, options: dict[str, Any], batch: int
) -> None:
    dataset = corpus(tmp_path, eval_batch_size=batch, **options)
    ids = dataset.tokens("val").all()
    counted = [
        b.targets[b.targets != IGNORE].tolist() for b in dataset.batches("val", seed=0, epoch=0)
    ]
    lead = dataset.tokenizer.line_end_id
    wanted = ids if lead is not None else ids[1:]
    assert sorted(chain.from_iterable(counted)) == sorted(wanted.tolist())
    for b in dataset.batches("val", seed=0, epoch=0):  # each target follows its token
        inner = (b.targets[:, :-1] != IGNORE) & (b.targets[:, 1:] != IGNORE)
        assert (b.targets[:, :-1][inner] == b.tokens[:, 1:][inner]).all()


def test_rows_of_a_stream_go_on_where_the_last_batch_stopped(tmp_path: Path) -> None:
    dataset = corpus(tmp_path, batching="stream")
    batches = list(dataset.batches("train", seed=3, epoch=1))
    assert len(batches) == dataset.batch_count("train", seed=3, epoch=1)
    assert batches[0].starts.all() and not any(b.starts.any() for b in batches[1:])
    for before, after in pairwise(batches):
        assert (after.tokens[:, 0] == before.targets[:, -1]).all()


@pytest.mark.parametrize("batching", ["random", "shuffled", "stream"])
def test_any_position_of_an_epoch_can_be_reached_again(tmp_path: Path, batching: str) -> None:
    dataset = corpus(tmp_path, batching=batching)
    whole = list(dataset.batches("train", seed=1, epoch=2))
    rest = list(dataset.batches("train", seed=1, epoch=2, start=5))
    assert len(rest) == len(whole) - 5
    assert all((a.tokens == b.tokens).all() for a, b in zip(whole[5:], rest, strict=True))
    other = next(iter(dataset.batches("train", seed=1, epoch=3)))
    assert other.tokens.shape != whole[0].tokens.shape or (other.tokens != whole[0].tokens).any()


def test_a_stride_that_leaves_tokens_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="would not be predicted"):
        corpus(tmp_path, eval_context=8, eval_stride=9)


@pytest.mark.parametrize("tokenizer", ["word", "whitespace", "bpe"])
def test_a_text_of_a_single_line_is_split_behind_spaces(tmp_path: Path, tokenizer: str) -> None:
    words = [f"w{i % 7}" for i in range(500)]
    (tmp_path / "text8").write_text(" ".join(words))
    data = corpus(tmp_path, paths=[str(tmp_path / "text8")], tokenizer=tokenizer, vocab_size=60)
    parts = [data.decode(data.tokens(split).all().tolist()) for split in ("train", "val")]
    assert " ".join(part.strip() for part in parts).split() == words
    assert len(parts[1].split()) == 50


def test_a_line_without_spaces_is_cut_into_pieces() -> None:
    genome = "ACGT" * 1000
    pieces = list(whole_lines((genome[i : i + 100] for i in range(0, len(genome), 100)), 250))
    assert "".join(pieces) == genome
    assert max(map(len, pieces)) <= 350
    spaced = list(whole_lines(["ab cd ", "ef gh"], 4))
    assert spaced == ["ab cd ", "ef ", "gh"]


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "nothing.txt").write_text("")
    with pytest.raises(UserError, match=r"the text is empty \(.*nothing.txt\)"):
        _ = corpus(tmp_path, paths=[str(tmp_path / "nothing.txt")]).spec


def test_texts_that_a_checkpoints_tokenizer_reads_at_once_have_the_ids_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = load_pretrained_tokenizer(str(write_files(tmp_path / "f") / "checkpoint"), tmp_path)
    texts = [sentence(i, 3 + i % 7) + " unknown [PAD]\n" * (i % 2) for i in range(20)]
    wanted = [tokenizer.encode(text) for text in texts]
    for threads in ("1", "3"):
        monkeypatch.setenv("RAYON_NUM_THREADS", threads)
        assert [ids.tolist() for ids in tokenizer.encode_each(iter(texts))] == wanted
    assert list(tokenizer.encode_each([])) == []
