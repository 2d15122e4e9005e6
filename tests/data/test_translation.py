"""Data sets of sentence pairs keep their contract, from files to batches."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from scratchlab.data.contract import DataContext
from scratchlab.data.kinds.pairs import PairDataset
from scratchlab.data.sets.translation import Multi30k, ParallelText, Phrasebook, Tatoeba
from scratchlab.data.sources.pair_files import write_lines
from scratchlab.data.sources.reading import sha256_of
from scratchlab.data.splits.examples import split_by_source, text_key
from scratchlab.errors import UserError
from tests.data.conftest import PAIRS

EOS, SOS, PAD = 3, 2, 1


def multi30k(context: DataContext, **options: Any) -> Multi30k:
    return Multi30k(Multi30k.Config(**{"vocab_size": 400, "batch_tokens": 300} | options), context)


def batches(dataset: PairDataset, split: str, **position: int) -> list[list[Any]]:
    position = {"seed": 0, "epoch": 0} | position
    return [
        [b.source.tolist(), b.target_in.tolist(), b.target_out.tolist(), b.indices.tolist()]
        for b in dataset.batches(split, **position)
    ]


@pytest.fixture
def dataset(context: DataContext, multi30k_files: Path) -> Multi30k:
    return multi30k(context)


def test_batches_hold_the_sentences_that_their_indices_name(dataset: Multi30k) -> None:
    seen = []
    for batch in dataset.batches("train", seed=3, epoch=1):
        assert batch.source.dtype == batch.indices.dtype == torch.int64
        assert batch.target_in.shape == batch.target_out.shape
        for source, before, after, index in zip(
            batch.source.tolist(),
            batch.target_in.tolist(),
            batch.target_out.tolist(),
            batch.indices.tolist(),
            strict=True,
        ):
            text, reference = PAIRS["train"][index]
            ids = dataset.encode_target(reference)
            assert [i for i in source if i != PAD] == dataset.encode_source(text)
            assert [i for i in before if i != PAD] == [SOS, *ids]
            assert [i for i in after if i != PAD] == [*ids, EOS]
            assert dataset.decode_target(after) == reference
            seen.append(index)
    assert sorted(seen) == list(range(300))


def test_text_is_given_as_read(dataset: Multi30k) -> None:
    for split in ("train", "val", "test"):
        assert dataset.sources(split) == [p[0] for p in PAIRS[split]]
        assert dataset.references(split) == [p[1] for p in PAIRS[split]]
        assert dataset.size(split) == len(PAIRS[split])


def test_any_position_of_an_epoch_is_reached_again(dataset: Multi30k) -> None:
    everything = batches(dataset, "train", seed=4, epoch=2)
    assert len(everything) == dataset.batch_count("train", seed=4, epoch=2) > 10
    for start in (0, 1, 7, len(everything)):
        assert batches(dataset, "train", seed=4, epoch=2, start=start) == everything[start:]


def test_training_is_shuffled_by_seed_and_epoch_and_evaluation_never(dataset: Multi30k) -> None:
    assert batches(dataset, "train") == batches(dataset, "train")
    assert batches(dataset, "train") != batches(dataset, "train", epoch=1)
    assert batches(dataset, "train") != batches(dataset, "train", seed=1)
    assert batches(dataset, "test") == batches(dataset, "test", seed=5, epoch=9)


def test_a_dataset_from_the_cache_is_the_same(dataset: Multi30k, context: DataContext) -> None:
    again = multi30k(context)
    assert len(list(context.cache.iterdir())) == 1
    assert again.spec == dataset.spec
    assert batches(again, "train", epoch=1) == batches(dataset, "train", epoch=1)
    assert again.references("test") == dataset.references("test")
    assert again.provenance == dataset.provenance


def test_changed_files_and_options_are_prepared_anew(
    dataset: Multi30k, context: DataContext, multi30k_files: Path
) -> None:
    with (multi30k_files / "test_2016_flickr.en").open("a", encoding="utf-8") as file:
        file.write("One more.\n")
    with (multi30k_files / "test_2016_flickr.fr").open("a", encoding="utf-8") as file:
        file.write("Un de plus.\n")
    assert multi30k(context).size("test") == dataset.size("test") + 1
    assert multi30k(context, vocab_size=300).spec.vocab_size == 300
    assert len(list(context.cache.iterdir())) == 3
    multi30k(context, batch_tokens=500)  # changes nothing of what is prepared
    assert len(list(context.cache.iterdir())) == 3


def test_provenance_names_every_file_with_its_hash(
    dataset: Multi30k, multi30k_files: Path, context: DataContext
) -> None:
    assert dataset.provenance.kind == "files"
    assert dataset.provenance.description == str(context.root)
    assert dataset.provenance.sha256 == {
        f"multi30k/{p.name}": sha256_of(p) for p in multi30k_files.iterdir()
    }


@pytest.mark.parametrize("tokenizer", ["bpe", "word", "whitespace", "char"])
@pytest.mark.parametrize("shared", [True, False])
def test_a_saved_vocabulary_is_used_for_other_data(
    context: DataContext, multi30k_files: Path, tmp_path: Path, tokenizer: str, shared: bool
) -> None:
    first = multi30k(context, tokenizer=tokenizer, shared_vocabulary=shared, max_length=90)
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    first.save_vocabulary(folder)
    assert {p.suffix for p in folder.iterdir()} == {".json"}
    write_lines(tmp_path / "other.en", ["The cat is not there.", "☃"])
    write_lines(tmp_path / "other.fr", ["Le chat n'est pas là.", "☃"])
    config = ParallelText.Config(
        test_source=str(tmp_path / "other.en"), test_target=str(tmp_path / "other.fr")
    )
    other = ParallelText(config, replace(context, vocabulary=folder))
    assert other.spec == first.spec
    assert other.shared_vocabulary == shared
    assert other.lower_cased == (tokenizer == "word")
    for text in ("The black cat isn't there…", PAIRS["test"][0][0]):
        assert other.encode_source(text) == first.encode_source(text)
        assert other.encode_target(text) == first.encode_target(text)
        ids = first.encode_target(text)
        assert other.decode_target(ids) == first.decode_target(ids)
    assert other.references("test") == ["Le chat n'est pas là.", "☃"]
    assert sum(len(b.indices) for b in other.batches("test", seed=0, epoch=0)) == 2
    with pytest.raises(UserError, match="parallel_text has no split 'train'"):
        other.size("train")
    second = tmp_path / "again"
    second.mkdir()
    other.save_vocabulary(second)
    assert [p.read_bytes() for p in sorted(folder.iterdir())] == [
        p.read_bytes() for p in sorted(second.iterdir())
    ]


def test_a_checkpoint_translates_where_its_data_is_not(
    dataset: Multi30k, context: DataContext, tmp_path: Path
) -> None:
    dataset.save_vocabulary(tmp_path)
    elsewhere = DataContext(None, tmp_path / "other cache", vocabulary=tmp_path)
    alone = Multi30k(Multi30k.Config(source="files"), elsewhere)
    assert alone.spec == dataset.spec
    assert alone.encode_source("The cat.") == dataset.encode_source("The cat.")
    with pytest.raises(UserError, match="no folder of data files is known"):
        alone.size("test")


def test_a_missing_or_damaged_vocabulary_is_named(context: DataContext, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"vocabulary\.json is missing"):
        multi30k(replace(context, vocabulary=tmp_path))
    (tmp_path / "vocabulary.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"vocabulary\.json, line 1, column 2 is no valid JSON"):
        multi30k(replace(context, vocabulary=tmp_path))
    (tmp_path / "vocabulary.json").write_text(
        '{"format": 1, "shared": true, "max_length": 9}', encoding="utf-8"
    )
    with pytest.raises(UserError, match=r"tokenizer\.json: cannot be read"):
        multi30k(replace(context, vocabulary=tmp_path))


def test_both_sides_of_a_pair_are_turned_round(context: DataContext, multi30k_files: Path) -> None:
    turned = multi30k(context, reverse=True)
    assert turned.sources("test") == [p[1] for p in PAIRS["test"]]
    assert turned.references("test") == [p[0] for p in PAIRS["test"]]


def test_fewer_examples_are_taken_by_chance_and_always_the_same(
    context: DataContext, multi30k_files: Path
) -> None:
    small = multi30k(context, max_train_examples=40, max_test_examples=5)
    assert (small.size("train"), small.size("val"), small.size("test")) == (40, 20, 5)
    places = [[p[0] for p in PAIRS["train"]].index(s) for s in small.sources("train")]
    assert places == sorted(places)
    assert max(places) > 100
    other = multi30k(context, max_train_examples=40, max_test_examples=5, vocab_size=200)
    assert other.sources("train") == small.sources("train")


def test_training_pairs_that_are_too_long_are_dropped_or_shortened_and_counted(
    context: DataContext, multi30k_files: Path
) -> None:
    whole = multi30k(context)
    long = sum(max(s, t) > 10 for s, t in zip(*whole.lengths("train"), strict=True))
    assert 0 < long < 300
    dropped = multi30k(context, max_length=10)
    assert dropped.size("train") == 300 - long
    assert f"{long} of 300 training pairs dropped as too long" in dropped.notes
    shortened = multi30k(context, max_length=10, too_long="truncate")
    assert shortened.size("train") == 300
    assert f"{long} of 300 pairs of train shortened as too long" in shortened.notes
    for made in (dropped, shortened):
        assert made.size("test") == 20
        assert made.references("test") == whole.references("test")
        for split in ("train", "test"):
            assert max(side.max() for side in made.lengths(split)) <= 10
    assert len(made.encode_source("word " * 50)) == 10
    with pytest.raises(UserError, match="no training pair fits into max_length=2"):
        multi30k(context, max_length=2)


def test_evaluation_batches_may_have_their_own_size(
    context: DataContext, multi30k_files: Path
) -> None:
    single = multi30k(context, eval_batch_tokens=1)
    assert single.batch_count("test", seed=0, epoch=0) == 20
    assert single.batch_count("train", seed=0, epoch=0) < 100


def test_bpe_dropout_changes_training_batches_only(
    context: DataContext, multi30k_files: Path
) -> None:
    plain, dropping = multi30k(context), multi30k(context, bpe_dropout=0.2)
    assert len(list(context.cache.iterdir())) == 1
    assert batches(dropping, "test") == batches(plain, "test")
    first = batches(dropping, "train", seed=1, epoch=1)
    assert first != batches(dropping, "train", seed=1, epoch=2)
    assert first == batches(multi30k(context, bpe_dropout=0.2), "train", seed=1, epoch=1)
    assert batches(dropping, "train", seed=1, epoch=1, start=5) == first[5:]
    for _, _, rows, indices in first:
        for row, index in zip(rows, indices, strict=True):
            assert dropping.decode_target(row) == PAIRS["train"][index][1]


def test_bpe_dropout_on_a_vocabulary_of_words_is_refused(
    context: DataContext, multi30k_files: Path, tmp_path: Path
) -> None:
    multi30k(context, tokenizer="word").save_vocabulary(tmp_path)
    mixed = multi30k(replace(context, vocabulary=tmp_path), bpe_dropout=0.1)
    with pytest.raises(UserError, match="bpe_dropout needs BPE tokens"):
        next(mixed.batches("train", seed=0, epoch=0))


def test_the_phrasebook_needs_no_files(tmp_path: Path) -> None:
    config = Phrasebook.Config(seed=3, train_pairs=300, val_pairs=20, test_pairs=20)
    dataset = Phrasebook(config, DataContext(None, tmp_path))
    assert dataset.references("test") == [p[1] for p in PAIRS["test"]]
    assert dataset.provenance.kind == "embedded"
    assert "phrasebook" in dataset.provenance.sha256


def test_missing_files_are_named_with_the_full_path_and_the_layout(
    context: DataContext, multi30k_files: Path
) -> None:
    (multi30k_files / "val.fr").unlink()
    for source in ("files", "auto"):
        with pytest.raises(UserError) as caught:
            multi30k(context, source=source)
        assert str(multi30k_files / "val.fr.gz") in caught.value.message
        assert "github.com/multi30k/dataset" in caught.value.hint
        assert "multi30k/train.en.gz, multi30k/train.fr.gz" in caught.value.hint


def test_unaligned_and_empty_files_are_refused(context: DataContext, multi30k_files: Path) -> None:
    (multi30k_files / "val.fr").write_text("Une seule.\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"val\.en has 20 lines, .*val\.fr has 1"):
        multi30k(context)
    for language in ("en", "fr"):
        (multi30k_files / f"val.{language}").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match=r"val\.en and .*val\.fr: there is no sentence pair"):
        multi30k(context)
    assert not context.cache.exists()


def test_your_own_files_are_split_so_that_no_source_sentence_is_shared(
    context: DataContext, tmp_path: Path
) -> None:
    pairs = [*PAIRS["train"], *((s.upper(), f"{t} Bis.") for s, t in PAIRS["train"][:50])]
    write_lines(tmp_path / "my.en.gz", (p[0] for p in pairs))
    write_lines(tmp_path / "my.fr.gz", (p[1] for p in pairs))
    config = ParallelText.Config(
        train_source=str(tmp_path / "my.en"), train_target=str(tmp_path / "my.fr"),
        val_sentences=20, test_sentences=25, vocab_size=400,
    )  # fmt: skip
    dataset = ParallelText(config, context)
    assert (dataset.size("val"), dataset.size("test")) == (20, 25)
    keys = {s: {text_key(x) for x in dataset.sources(s)} for s in dataset.splits}
    assert not keys["train"] & keys["val"]
    assert not keys["train"] & keys["test"]
    assert not keys["val"] & keys["test"]
    assert any("split by source sentence" in note for note in dataset.notes)


def test_a_table_of_pairs_below_the_data_folder_is_read(context: DataContext) -> None:
    assert context.root is not None
    write_lines(
        context.root / "my.tsv.gz", (f"{n}\t{t}\t{s}" for n, (s, t) in enumerate(PAIRS["train"]))
    )
    config = ParallelText.Config(tsv="my.tsv", tsv_columns=[3, 2], vocab_size=400)
    dataset = ParallelText(config, context)
    read = Counter(zip(dataset.sources("train"), dataset.references("train"), strict=True))
    assert read <= Counter(PAIRS["train"])
    assert (dataset.size("val"), dataset.size("test")) == (30, 30)  # a tenth at most


def test_lines_without_translation_are_an_error_unless_dropped(
    context: DataContext, tmp_path: Path
) -> None:
    write_lines(tmp_path / "my.tsv.gz", [*("\t".join(p) for p in PAIRS["train"]), "No French.\t"])
    path = str(tmp_path / "my.tsv.gz")
    with pytest.raises(UserError, match=r"my\.tsv\.gz, line 301: the target side is empty"):
        ParallelText(ParallelText.Config(tsv=path, vocab_size=400), context)
    config = ParallelText.Config(tsv=path, vocab_size=400, empty_lines="drop")
    assert any("1 lines of" in note for note in ParallelText(config, context).notes)


def test_your_own_files_must_be_named_and_exist(context: DataContext) -> None:
    with pytest.raises(UserError, match="needs to know your files"):
        ParallelText(ParallelText.Config(), context)
    config = ParallelText.Config(train_source="no.en", train_target="no.fr")
    with pytest.raises(UserError) as caught:
        ParallelText(config, context)
    assert str(Path.cwd() / "no.en") in caught.value.message
    assert str(context.root) in caught.value.message


def test_splitting_does_not_depend_on_the_order_of_the_file() -> None:
    pairs = [*PAIRS["train"], *((s, f"{t} Bis.") for s, t in PAIRS["train"][:100])]
    forward, note = split_by_source(pairs, {"val": 20, "test": 30}, 0)
    backward, _ = split_by_source(pairs[::-1], {"val": 20, "test": 30}, 0)
    other, _ = split_by_source(pairs, {"val": 20, "test": 30}, 1)
    for split in ("train", "val", "test"):
        sources = {s for s, _ in forward[split]}
        assert sources == {s for s, _ in backward[split]}
        assert sources != {s for s, _ in other[split]}
    left_out = len(pairs) - sum(map(len, forward.values()))
    assert left_out > 0
    assert f"{left_out} further translations" in note


def test_too_few_sentences_cannot_be_split() -> None:
    with pytest.raises(UserError, match="5 different sentences are too few"):
        split_by_source([(f"word{i}", "mot") for i in range(5)], {"val": 2}, 0)


@pytest.fixture(scope="module")
def shared_files() -> Path:
    root = os.environ.get("SCRATCHLAB_DATA")
    if not root or not (Path(root) / "multi30k").is_dir():
        pytest.skip("needs multi30k and tatoeba_eng_fra in $SCRATCHLAB_DATA")
    return Path(root)


@pytest.mark.slow
def test_multi30k_is_encoded_without_loss_and_with_little_padding(
    shared_files: Path, tmp_path: Path
) -> None:
    dataset = Multi30k(Multi30k.Config(source="files"), DataContext(shared_files, tmp_path))
    assert {s: dataset.size(s) for s in dataset.splits} == {
        "train": 29_000, "val": 1014, "test": 1000,
    }  # fmt: skip
    assert all(
        dataset.decode_target(dataset.encode_target(t)) == t for t in dataset.references("val")
    )
    assert dataset.padding_share("train") < 0.03
    assert dataset.spec.vocab_size == 8000


@pytest.mark.slow
def test_no_english_sentence_of_tatoeba_is_in_two_splits(
    shared_files: Path, tmp_path: Path
) -> None:
    config = Tatoeba.Config(source="files", tokenizer="word", shared_vocabulary=False)
    dataset = Tatoeba(config, DataContext(shared_files, tmp_path))
    keys = {s: {text_key(x) for x in dataset.sources(s)} for s in dataset.splits}
    assert (len(keys["val"]), len(keys["test"])) == (1000, 2000)
    assert not keys["train"] & (keys["val"] | keys["test"])
    assert not keys["val"] & keys["test"]
    assert dataset.size("train") > 160_000
