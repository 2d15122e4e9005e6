"""Labelled texts from files of several kinds."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from scratchlab.data.contract import DataContext
from scratchlab.data.kinds.text_classes import PartedOptions, parted
from scratchlab.data.sets.labelled import MovieReviews, OwnTextClasses, SST2Data
from scratchlab.data.sources.locating import Located
from scratchlab.data.sources.two_columns import read_labelled
from scratchlab.data.splits.examples import text_key
from scratchlab.errors import UserError
from scratchlab.random_streams import SPLIT_STREAM, generator
from tests.support.kinds import write_files

NOWHERE = DataContext(None, Path("nowhere"))
ROWS = [("a good, long film", "1"), ('a "bad" one', "0")]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "tsv.gz"])
def test_labelled_texts_are_read_from_every_kind_of_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"texts.{kind}"
    if kind == "csv":
        path.write_text('text,label\n"a good, long film",1\n"a ""bad"" one",0\n')
    elif kind == "jsonl":
        path.write_text("".join(json.dumps({"text": t, "label": c}) + "\n" for t, c in ROWS))
    else:
        content = "text\tlabel\n" + "".join(f"{t}\t{c}\n" for t, c in ROWS)
        packed = gzip.compress(content.encode()) if kind.endswith("gz") else content.encode()
        path.write_bytes(packed)
    assert read_labelled(path, "text", "label") == ROWS


def test_a_column_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text("sentence,label\nfine,1\n")
    with pytest.raises(UserError) as error:
        read_labelled(path, "sentense", "label")
    assert "no column 'sentense'" in str(error.value) and "'sentence'" in str(error.value)


def test_texts_are_parted_eight_to_one_to_one_without_overlap() -> None:
    rows = [(f"text {i}", "x") for i in range(100)]
    splits = parted(rows, PartedOptions(), NOWHERE)
    assert {s: len(v) for s, v in splits.items()} == {"train": 80, "val": 10, "test": 10}
    assert len({t for part in splits.values() for t, _ in part}) == 100


def test_equal_texts_are_on_one_side_and_every_class_is_learnt() -> None:
    rows = [(f"text {i}", "x") for i in range(1000)]
    rows += [(f"  TEXT, {i}!", "x") for i in range(1000)] + [("only one", "rare"), ("alone", "y")]
    splits = parted(rows, PartedOptions(), NOWHERE)
    homes = {s: {text_key(text) for text, _ in part} for s, part in splits.items()}
    assert not homes["test"] & homes["train"] and not homes["val"] & homes["train"]
    assert not homes["test"] & homes["val"]
    assert {s: len(part) for s, part in splits.items()} == pytest.approx(
        {"train": 1600, "val": 200, "test": 200}, rel=0.2
    )
    assert {label for _, label in splits["train"]} == {"x", "y", "rare"}
    kept = parted(rows, PartedOptions(duplicates="keep"), NOWHERE)
    assert {text_key(t) for t, _ in kept["test"]} & {text_key(t) for t, _ in kept["train"]}


def test_texts_without_copies_are_drawn_as_ever() -> None:
    rows = [(f"text {i}", "x") for i in range(1000)]
    order = generator(SPLIT_STREAM, 1).permutation(1000).tolist()
    splits = parted(rows, PartedOptions(), NOWHERE)
    assert [splits[s] for s in ("test", "val", "train")] == [
        [rows[i] for i in part] for part in (order[:100], order[100:200], order[200:])
    ]


def test_with_a_file_to_validate_on_the_test_is_held_out_of_training(tmp_path: Path) -> None:
    train, val = tmp_path / "train.csv", tmp_path / "val.csv"
    train.write_text("text,label\n" + "".join(f"text {i},{i % 2}\n" for i in range(100)))
    val.write_text("text,label\n" + "".join(f"other {i},{i % 2}\n" for i in range(20)))
    config = OwnTextClasses.Config(path=str(train), val_path=str(val))
    splits = OwnTextClasses.locate(config, DataContext(None, tmp_path)).read()
    assert {s: len(part) for s, part in splits.items()} == {"train": 90, "val": 20, "test": 10}
    assert all(text.startswith("other") for text, _ in splits["val"])
    assert not set(splits["test"]) & set(splits["train"])


def file_of(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,label\nfine,1\nwarm, and short,1\n", "line 3: 3 cells"),
        ("a.csv", "text,label\nfine,1\nlonely\n", "line 3: 1 cell,"),
        ("a.csv", "text,label\nfine,1\nunknown,\n", "line 3: no class in 'label'"),
        ("a.tsv", "text\tlabel\nfine\t1\nwarm\tand short\t1\n", "line 3: 3 cells"),
        ("a.tsv", "text\tlabel\nfine\t1\nlonely\n", "line 3: 1 cell,"),
        ("a.jsonl", '{"text": "fine", "label": 1}\n{"text": "a"}\n', "line 2: no field 'label'"),
        ("a.jsonl", '{"text": "fine", "label": 1}\n["a", 1]\n', "line 2: is no JSON object"),
        ("a.jsonl", '{"text": "fine", "label": null}\n', "line 1: no class in 'label'"),
        ("a.jsonl", '{"text": "fine", "label": [1]}\n', "line 1: no class in the field 'label'"),
        ("a.jsonl", '{"text": ["fine"], "label": 1}\n', "line 1: no text in the field 'text'"),
        ("a.jsonl", '{"text": "\\ud83d", "label": 1}\n', "line 1: the text in the field 'text'"),
        ("a.jsonl", '{"text": "a", "label": NaN}\n', "line 1: no class in the field 'label'"),
        (
            "a.jsonl",
            '{"text": "a", "label": 1}\n{"text": "b", "label": 0}\n{"text": "c", "label": true}',
            "the class in line 3 is true or false, that in line 1 is not",
        ),
        ("a.jsonl", "[\n", "one JSON object (JSON Lines). To make lines of a list: jq"),
    ],
)
def test_a_row_of_another_width_or_without_a_class_is_refused(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    with pytest.raises(UserError) as error:
        read_labelled(file_of(tmp_path / name, content), "text", "label")
    assert name in str(error.value) and message in str(error.value)


def test_whole_numbers_are_one_class_however_they_are_written(tmp_path: Path) -> None:
    lines = [json.dumps({"text": "a", "label": v}) for v in (1, 1.0, "1", " 1.0 ", 0, 2.5, "1a")]
    path = file_of(tmp_path / "a.jsonl", "\n".join(lines))
    classes = [label for _, label in read_labelled(path, "text", "label")]
    assert classes == ["1", "1", "1", "1", "0", "2.5", "1a"]
    path = file_of(tmp_path / "a.csv", "text,label\na,1\na,1.0\na,01\n")
    assert [label for _, label in read_labelled(path, "text", "label")] == ["1", "1", "01"]
    path = file_of(
        tmp_path / "c.csv", "text,label\na,\u200bgood\u00a0\nb,caf\u00e9\nc,cafe\u0301\n"
    )
    names = [label for _, label in read_labelled(path, "text", "label")]
    assert names == ["good", "caf\u00e9", "caf\u00e9"]
    path = file_of(tmp_path / "b.jsonl", '{"text":"a","label":true}\n{"text":"b","label":false}')
    assert [label for _, label in read_labelled(path, "text", "label")] == ["true", "false"]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_rows_without_text_are_counted_in_a_note(tmp_path: Path, kind: str) -> None:
    texts = ["fine", "", "  ", "None"]
    if kind == "jsonl":
        rows = [{"text": t or None, "label": 1} for t in texts]
        content = "".join(json.dumps(row) + "\n" for row in rows)
    else:
        mark = "," if kind == "csv" else "\t"
        content = f"text{mark}label\n" + "".join(f"{t}{mark}1\n" for t in texts)
    path = file_of(tmp_path / f"a.{kind}", content)
    notes: list[str] = []
    assert read_labelled(path, "text", "label", notes) == [("fine", "1"), ("None", "1")]
    first = 2 if kind == "jsonl" else 3
    assert notes == [f"{path}: 2 rows without text left out (line {first} first)"]


def test_separators_of_unicode_and_a_mark_are_read_alike_in_every_kind(tmp_path: Path) -> None:
    text = "a\u2028b\u2029c\u0085d"
    raw = json.dumps({"text": text, "label": "x"}, ensure_ascii=False)
    for name, content in [
        ("a.jsonl", raw + "\r\n"),
        ("a.csv", f"text,label\r\n{text},x\r\n"),
        ("a.tsv", f"text\tlabel\n{text}\tx"),
    ]:
        marked = b"\xef\xbb\xbf" + content.encode()
        for packed in (marked, gzip.compress(marked)):
            path = file_of(tmp_path / name, packed)
            assert read_labelled(path, "text", "label") == [(text, "x")]


def reviews(context: DataContext, negative: bytes, positive: bytes) -> Located:
    assert context.root is not None
    file_of(context.root / "mr_polarity" / "rt-polarity.neg", negative)
    file_of(context.root / "mr_polarity" / "rt-polarity.pos", positive)
    return MovieReviews.locate(MovieReviews.Config(), context)


def test_movie_reviews_are_read_as_every_text_is(context: DataContext) -> None:
    lines = [f"película {i}\u0085" for i in range(10)]
    text = "\n".join(lines).encode()
    mark = b"\xef\xbb\xbf"
    for negative in (text, mark + text, gzip.compress(mark + text)):
        found = reviews(context, negative, b"fine\n" * 10)
        rows = [row for split in found.read().values() for row in split]
        assert sorted(rows) == sorted(
            [*((line.strip(), "negative") for line in lines), *[("fine", "positive")] * 10]
        )
    latin = "\n".join(lines[:10]).replace("\u0085", "").encode("latin-1")
    found = reviews(context, latin, b"fine\n" * 10)
    assert ("película 3", "negative") in [r for s in found.read().values() for r in s]
    assert found.notes == ["rt-polarity.neg: read as latin-1, since none of its accents is UTF-8"]
    with pytest.raises(UserError, match=r"rt-polarity\.neg, line 2: byte 0xed is not UTF-8"):
        reviews(context, text[:13] + b"\n\xed\n", b"fine\n").read()
    with pytest.raises(UserError, match="damaged gzip file"):
        reviews(context, gzip.compress(text)[:-9], b"fine\n").read()


def test_notes_on_the_files_are_kept_for_those_who_ask(context: DataContext) -> None:
    assert context.root is not None
    rows = "".join(f"a{i},1\nb{i},0\n,1\n" for i in range(10))
    path = file_of(context.root / "own.csv", f"text,label\n{rows}")
    config = OwnTextClasses.Config(path=str(path), val_path=str(path), tokenizer="char")
    dataset = OwnTextClasses(config, context)
    assert dataset.size("val") == 20
    assert dataset.notes == [f"{path}: 10 rows without text left out (line 4 first)"]


def test_a_damaged_file_of_sst2_is_named(context: DataContext) -> None:
    assert context.root is not None
    content = gzip.compress(b"sentence\tlabel\nfine\t1\n")
    folder = context.root / "sst2"
    for name in ("train.tsv.gz", "dev.tsv", "test.tsv"):
        file_of(folder / name, content[:-5] if name.startswith("train") else content)
    with pytest.raises(UserError, match=r"train\.tsv\.gz: damaged gzip file"):
        SST2Data.locate(SST2Data.Config(), context).read()


def test_a_checkpoint_that_names_its_classes_otherwise_knows_them(context: DataContext) -> None:
    assert context.root is not None
    rows = "".join(f"a{i},{i % 2}.0\n" for i in range(20))
    path = file_of(context.root / "own.csv", f"text,label\n{rows}")
    config = OwnTextClasses.Config(path=str(path), val_path=str(path), tokenizer="char")
    for classes in (["0.0", "1.0"], ["0", "1"]):
        dataset = OwnTextClasses(config, context)
        dataset.classes = classes
        assert dataset.labels("val").tolist() == [0, 1] * 10


def test_phrases_of_sst2_that_are_learnt_do_not_validate(tmp_path: Path) -> None:
    (tmp_path / "sst2").mkdir()
    for name, texts in {
        "train": ["a good film", "a bad film", "so so"],
        "dev": ["A good film .", "never seen"],
        "test": ["so so", "another"],
    }.items():
        rows = [f"{text}\t{i % 2}" for i, text in enumerate(texts)]
        (tmp_path / "sst2" / f"{name}.tsv").write_text("sentence\tlabel\n" + "\n".join(rows) + "\n")
    splits = SST2Data.locate(SST2Data.Config(), DataContext(tmp_path, tmp_path)).read()
    assert splits["val"] == [("never seen", "1")]
    assert len(splits["train"]) == 3 and len(splits["test"]) == 2


KINDS = ["char", "word", "whitespace", "bpe", "pretrained"]


@pytest.mark.parametrize("kind", KINDS)
def test_labelled_texts_are_read_in_any_tokens(
    kind: str, context: DataContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write_files(context.cache.parent / "files")
    options = {"path": str(files / "one.tsv"), "val_path": str(files / "two.tsv"),
               "tokenizer": kind, "eval_batch_tokens": 99}  # fmt: skip
    if kind == "pretrained":
        options["checkpoint"] = str(files / "checkpoint")
    if kind == "bpe":
        options["vocab_size"] = 60
    dataset = OwnTextClasses(OwnTextClasses.Config(**options), context)
    spec, tokenizer = dataset.spec, dataset.tokenizer
    assert (spec.tokenizer, spec.vocab_size, spec.n_classes) == (kind, len(tokenizer), 3)
    texts, labels = dataset.texts("val"), dataset.labels("val")
    seen = set()
    for batch in dataset.batches("val", seed=0, epoch=0):
        assert batch.inputs.numel() <= 99
        for row, target, index in zip(batch.inputs, batch.targets, batch.indices, strict=True):
            seen.add(int(index))
            ids = dataset.encode(texts[index])
            assert row.tolist() == ids + [spec.pad_id] * (len(row) - len(ids))
            assert target == labels[index] and texts[index] in tokenizer.decode(ids)
    assert seen == set(range(len(texts)))
    assert dataset.length("the cat") == len(dataset.encode("the cat")) and dataset.encode("\x01")

    first = next(dataset.batches("train", seed=1, epoch=2))
    monkeypatch.delattr("scratchlab.data.batching.encoded_texts.learn")  # it is learned once
    monkeypatch.setattr(type(tokenizer), "encode_each", None)  # and texts are encoded once
    again = OwnTextClasses(OwnTextClasses.Config(**options), context)
    assert again.tokenizer.to_json() == tokenizer.to_json()
    again.save_vocabulary(context.cache)
    alone = replace(context, vocabulary=context.cache)
    saved = OwnTextClasses(OwnTextClasses.Config(path="gone.tsv"), alone)
    assert saved.encode("the red zebra") == dataset.encode("the red zebra")
    assert saved.spec.class_names == spec.class_names
    assert (next(again.batches("train", seed=1, epoch=2)).inputs == first.inputs).all()


def test_words_of_labelled_texts_are_learned_from_training_alone(context: DataContext) -> None:
    files = write_files(context.cache.parent / "files")
    (files / "two.tsv").write_text("text\tlabel\nzebra zebra zebra\t1\n")
    options = {"path": str(files / "one.tsv"), "val_path": str(files / "two.tsv")}
    config = OwnTextClasses.Config(tokenizer="word", vocab_size=9, min_frequency=2, **options)
    dataset = OwnTextClasses(config, context)
    assert "zebra" not in dataset.tokenizer.tokens and len(dataset.tokenizer) == 9
    assert dataset.encode("zebra") == [dataset.spec.unk_id]


def test_a_pretrained_encoder_refuses_words_that_are_not_its_own(context: DataContext) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    from scratchlab.models.pretrained import check_fit

    files = write_files(context.cache.parent / "files")
    config = OwnTextClasses.Config(path=str(files / "one.tsv"), tokenizer="word")
    spec = OwnTextClasses(config, context).spec

    class Inner:
        def get_input_embeddings(self) -> torch.nn.Embedding:
            return torch.nn.Embedding(100, 2)

    message = r"16 tokens of dataset.tokenizer=word, .* 100[^$]*dataset.tokenizer=pretrained"
    with pytest.raises(UserError, match=message) as refused:
        check_fit(spec, Inner(), 128, "minilm")
    assert "dataset.checkpoint=minilm" in str(refused.value)
    check_fit(replace(spec, tokenizer="pretrained"), Inner(), 128, "minilm")


def test_questions_with_their_class_before_them_are_read_as_they_are(tmp_path: Path) -> None:
    lines = [
        b"DESC:manner How did serfdom develop in and then leave Russia ?",
        b"ENTY:animal What is a\xf0 group of frogs called ?",
        b"",
        b"NUM:date When was it built ?",
        b"NUM:count ",
    ]
    path = file_of(tmp_path / "train_5500.label", b"\n".join(lines))
    notes: list[str] = []
    assert read_labelled(path, "text", "label", notes) == [
        ("How did serfdom develop in and then leave Russia ?", "DESC"),
        ("What is a\xf0 group of frogs called ?", "ENTY"),
        ("When was it built ?", "NUM"),
    ]
    assert "read as latin-1" in notes[0] and "1 rows without text left out (line 5" in notes[1]
    fine = read_labelled(path, "text", "label", fine=True)
    assert [label for _, label in fine] == ["DESC:manner", "ENTY:animal", "NUM:date"]
    file_of(tmp_path / "b.label", "What is it ?\n")
    with pytest.raises(UserError, match="line 1: 'What' is no CLASS:sub before the text"):
        read_labelled(tmp_path / "b.label", "text", "label")


def test_a_file_to_test_on_needs_none_to_validate_on(tmp_path: Path) -> None:
    train, test = tmp_path / "train.label", tmp_path / "test.label"
    train.write_text("".join(f"{'AB'[i % 2]}:x text {i}\n" for i in range(60)))
    test.write_text("".join(f"{'AB'[i % 2]}:x other {i}\n" for i in range(10)))
    config = OwnTextClasses.Config(path=str(train), test_path=str(test))
    splits = OwnTextClasses.locate(config, DataContext(None, tmp_path)).read()
    assert {s: len(part) for s, part in splits.items()} == {"train": 54, "val": 6, "test": 10}


def test_a_folder_holds_a_folder_of_texts_for_each_class(tmp_path: Path) -> None:
    for number in range(40):
        file_of(tmp_path / "reviews" / "x", "")  # the folder itself
        folder = tmp_path / "reviews" / ("pos" if number % 2 else "neg")
        file_of(folder / f"{number}.txt", f"text\n{number}")
    file_of(tmp_path / "reviews/neg/empty.txt", " \n")
    config = OwnTextClasses.Config(path=str(tmp_path / "reviews"))
    found = OwnTextClasses.locate(config, DataContext(None, tmp_path))
    splits = found.read()
    assert sorted(row for part in splits.values() for row in part) == sorted(
        (f"text\n{n}", "pos" if n % 2 else "neg") for n in range(40)
    )
    assert "1 files without text left out (empty.txt first)" in found.notes[0]
    assert len(found.provenance.sha256) == 41
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="holds no folders with text files"):
        OwnTextClasses.locate(OwnTextClasses.Config(path=str(tmp_path / "none")), NOWHERE)


def test_classes_that_cannot_be_learnt_are_refused_before_training(tmp_path: Path) -> None:
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    train.write_text("text,label\n" + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(60)))
    test.write_text("text,label\nfine,a\nodd,c\n")
    config = OwnTextClasses.Config(path=str(train), test_path=str(test), tokenizer="word")
    with pytest.raises(UserError, match="the class 'c' of test is not in the training texts"):
        OwnTextClasses(config, DataContext(None, tmp_path)).batch_count("train", seed=0, epoch=0)
    train.write_text("text,label\n" + "".join(f"text {i},a\n" for i in range(60)))
    config = OwnTextClasses.Config(path=str(train), tokenizer="word")
    with pytest.raises(UserError, match="all 48 training texts have the class 'a'"):
        OwnTextClasses(config, DataContext(None, tmp_path)).batch_count("train", seed=0, epoch=0)
    config = OwnTextClasses.Config(path=str(train), tokenizer="word", min_frequency=1000)
    with pytest.raises(UserError, match="leaves no token of 49: the most frequent word occurs 48"):
        assert OwnTextClasses(config, DataContext(None, tmp_path)).tokenizer
