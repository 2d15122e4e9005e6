"""The hub's form of data sets is read from local folders; without the hub there is clear advice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scratchlab.data.contract import DataContext
from scratchlab.data.sets.labelled import MovieReviews, OwnTextClasses, SST2Data
from scratchlab.data.sets.translation import Multi30k, ParallelText, Tatoeba
from scratchlab.data.sources.hub import HubSet, load_hub_pairs, load_hub_text
from scratchlab.errors import MissingPackageError, UserError
from tests.data.conftest import PAIRS

datasets = pytest.importorskip("datasets", reason="needs the package datasets")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what the library caches inside the test's folder, and the network out of it."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def json_lines(path: Path, rows: list[Any]) -> None:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Three splits as jsonl, a language a column, and one column more."""
    folder = tmp_path / "flat"
    folder.mkdir()
    for split, name in (("train", "train"), ("val", "validation"), ("test", "test")):
        rows = [{"id": i, "en": s, "fr": t} for i, (s, t) in enumerate(PAIRS[split])]
        json_lines(folder / f"{name}.jsonl", rows)
    return folder


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    """One split as parquet with a column ``translation``."""
    folder = tmp_path / "nested"
    folder.mkdir()
    rows = [{"en": s, "fr": t} for s, t in PAIRS["train"]]
    table = datasets.Dataset.from_dict({"id": list(range(len(rows))), "translation": rows})
    table.to_parquet(folder / "train.parquet")
    return folder


def test_columns_of_text_become_splits(flat: Path, context: DataContext) -> None:
    config = Multi30k.Config(source="hub", hub_id=str(flat), vocab_size=400)
    dataset = Multi30k(config, context)
    for split in ("train", "val", "test"):
        assert dataset.sources(split) == [p[0] for p in PAIRS[split]]
        assert dataset.references(split) == [p[1] for p in PAIRS[split]]
    assert dataset.provenance.kind == "hub"
    assert set(dataset.provenance.sha256) == {"train", "val", "test"}


def test_a_column_of_translations_is_read_and_split(nested: Path, context: DataContext) -> None:
    config = ParallelText.Config(hub_id=str(nested), vocab_size=400, test_sentences=20)
    dataset = ParallelText(config, context)
    assert (dataset.size("val"), dataset.size("test")) == (30, 20)
    assert (
        dict(zip(dataset.sources("test"), dataset.references("test"), strict=True)).items()
        <= dict(PAIRS["train"]).items()
    )


def test_the_direction_is_that_of_the_named_columns(nested: Path) -> None:
    splits = load_hub_pairs(HubSet(str(nested), None, ("fr", "en")), "by hand")
    assert splits["train"][:3] == [(t, s) for s, t in PAIRS["train"][:3]]


def test_files_win_over_the_hub(flat: Path, context: DataContext, multi30k_files: Path) -> None:
    dataset = Multi30k(Multi30k.Config(hub_id=str(flat), vocab_size=400), context)
    assert dataset.provenance.kind == "files"


def test_the_hub_is_used_where_there_are_no_files(flat: Path, context: DataContext) -> None:
    dataset = Multi30k(Multi30k.Config(hub_id=str(flat), vocab_size=400), context)
    assert dataset.provenance.kind == "hub"


def test_what_is_fetched_from_the_hub_is_then_read_as_files(
    flat: Path, nested: Path, context: DataContext
) -> None:
    assert context.root is not None
    config = Multi30k.Config(hub_id=str(flat), vocab_size=400)
    written = Multi30k.fetch(config, context.root)
    assert len(written) == 6
    dataset = Multi30k(Multi30k.Config(source="files", vocab_size=400), context)
    assert dataset.references("test") == [p[1] for p in PAIRS["test"]]
    config_of_pairs = Tatoeba.Config(
        hub_id=str(nested), hub_config=None, source_column="en", target_column="fr"
    )
    Tatoeba.fetch(config_of_pairs, context.root)
    tatoeba = Tatoeba(Tatoeba.Config(source="files", vocab_size=400), context)
    assert sum(tatoeba.size(s) for s in tatoeba.splits) == 300


def test_an_unknown_column_or_language_is_named_with_the_nearest(flat: Path, nested: Path) -> None:
    with pytest.raises(UserError, match="no column 'fra'") as caught:
        load_hub_pairs(HubSet(str(flat), None, ("en", "fra")), "by hand")
    assert "Did you mean 'fr'?" in caught.value.hint
    with pytest.raises(UserError, match="no language 'de' in the column translation") as caught:
        load_hub_pairs(HubSet(str(nested), None, ("en", "de")), "by hand")
    assert "Languages: en, fr." in caught.value.hint


def test_an_unknown_configuration_is_named(flat: Path) -> None:
    with pytest.raises(UserError, match="has no configuration 'en-fr'"):
        load_hub_pairs(HubSet(str(flat), "en-fr", ("en", "fr")), "by hand")


def test_without_the_hub_one_message_says_how_to_get_the_files_by_hand(
    context: DataContext,
) -> None:
    with pytest.raises(UserError) as caught:
        Multi30k(Multi30k.Config(), context)
    assert "hub cannot be reached for romrawinjp/multi30k" in caught.value.message
    assert "https://github.com/multi30k/dataset" in caught.value.hint
    assert f"put them into {context.root}" in caught.value.hint
    assert "multi30k/train.en.gz" in caught.value.hint


def test_without_the_package_the_message_says_what_to_install(
    context: DataContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(MissingPackageError, match="needs the package datasets"):
        Multi30k(Multi30k.Config(source="hub"), context)


WORDS = ["None", "NA", "null", "nan", "N/A", "", "007", "1.0", "true", "-"]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_texts_that_look_like_missing_values_or_numbers_stay_texts(
    tmp_path: Path, context: DataContext, kind: str
) -> None:
    folder = tmp_path / "words"
    folder.mkdir()
    if kind == "csv":
        rows = "".join(f'"{word}",{word}x,{i}\n' for i, word in enumerate(WORDS))
        (folder / "train.csv").write_text("en,fr,id\n" + rows)
    elif kind == "jsonl":
        json_lines(folder / "train.jsonl", [{"en": w, "fr": f"{w}x"} for w in WORDS])
    else:
        table = datasets.Dataset.from_dict({"en": WORDS, "fr": [f"{w}x" for w in WORDS]})
        table.to_parquet(folder / "train.parquet")
    splits = load_hub_pairs(HubSet(str(folder), None, ("en", "fr")), "by hand")
    assert splits["train"] == [(word, f"{word}x") for word in WORDS]
    config = ParallelText.Config(hub_id=str(folder))
    located = ParallelText._locate_given(config, context)
    assert [s for s, _ in located.read()["train"]] == [w for w in WORDS if w]
    assert located.notes == ["1 rows of train left out as empty"]
    reads, _ = load_hub_text(HubSet(str(folder), None, ("en",)), "by hand")
    assert "".join(reads["train"]()) == "".join(f"{w}\n" for w in WORDS)


def test_a_csv_row_of_another_width_in_a_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    for rows in ("a,b,c\nd,e\n", "a\nb,c\n"):
        (folder / "train.csv").write_text("en,fr\n" + rows)
        with pytest.raises(UserError, match=r"train\.csv, line 2: \d cells?, but the header"):
            load_hub_pairs(HubSet(str(folder), None, ("en", "fr")), "by hand")


def test_a_fault_of_a_folder_is_not_laid_on_the_hub(tmp_path: Path) -> None:
    folder = tmp_path / "pairs"
    folder.mkdir()
    (folder / "train.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match=r"pairs cannot be loaded: \w+: ") as caught:
        load_hub_pairs(HubSet(str(folder), None, ("en", "fr")), "by hand")
    assert "hub" not in caught.value.message.lower().replace(str(tmp_path).lower(), "")


def test_what_describes_a_folder_beside_its_data_is_no_damaged_data(
    flat: Path, context: DataContext
) -> None:
    (flat / "dataset_infos.json").write_text(json.dumps({"features": {"en": "text"}}, indent=2))
    (flat / ".cache").mkdir()
    (flat / ".cache" / "notes.csv").write_text('"never closed\n')
    config = Multi30k.Config(source="hub", hub_id=str(flat), vocab_size=400)
    assert Multi30k(config, context).sources("val") == [p[0] for p in PAIRS["val"]]


def labelled_folder(folder: Path, text: str, splits: dict[str, list[tuple[str, int]]]) -> Path:
    """A data set of the hub's form whose classes are numbers with names."""
    folder.mkdir()
    label = datasets.ClassLabel(names=["neg", "pos"])
    features = datasets.Features({text: datasets.Value("string"), "label": label})
    for name, rows in splits.items():
        columns = {text: [t for t, _ in rows], "label": [c for _, c in rows]}
        datasets.Dataset.from_dict(columns, features=features).to_parquet(
            folder / f"{name}.parquet"
        )
    return folder


def reviews(first: int, last: int) -> list[tuple[str, int]]:
    return [(f"review number {i}", i % 2) for i in range(first, last)]


def test_labelled_texts_are_read_from_the_hubs_form(tmp_path: Path, context: DataContext) -> None:
    splits = {"train": reviews(0, 60), "validation": reviews(60, 70), "test": reviews(70, 80)}
    folder = labelled_folder(tmp_path / "mr", "text", splits)
    own = OwnTextClasses(OwnTextClasses.Config(hub_id=str(folder), tokenizer="word"), context)
    assert [own.size(s) for s in own.splits] == [60, 10, 10]
    assert own.classes == ["neg", "pos"] and own.provenance.kind == "hub"
    assert own.texts("val") == [t for t, _ in reviews(60, 70)]
    with pytest.raises(UserError, match="no column 'labels'"):
        config = OwnTextClasses.Config(hub_id=str(folder), label_column="labels")
        OwnTextClasses.locate(config, context)

    config = MovieReviews.Config(source="hub", hub_id=str(folder), tokenizer="word")
    mr = MovieReviews(config, context)
    assert mr.classes == ["negative", "positive"]
    assert sum(mr.size(s) for s in mr.splits) == 80  # divided here, as the files are
    root = tmp_path / "data"
    assert len(MovieReviews.fetch(config, root)) == 2
    files = MovieReviews(MovieReviews.Config(tokenizer="word"), DataContext(root, tmp_path))
    for split in files.splits:
        assert files.labelled(split) == mr.labelled(split)


def test_sst2_of_the_hub_is_tested_on_its_validation_sentences(
    tmp_path: Path, context: DataContext
) -> None:
    splits = {"train": reviews(0, 60), "validation": reviews(60, 70)}
    folder = labelled_folder(tmp_path / "sst2", "sentence", splits)
    config = SST2Data.Config(source="hub", hub_id=str(folder), tokenizer="word")
    data = SST2Data(config, context)
    assert [data.size(s) for s in data.splits] == [54, 6, 10]
    assert data.spec.class_names == ("negative", "positive")
    root = tmp_path / "data"
    assert len(SST2Data.fetch(config, root)) == 3
    files = SST2Data(SST2Data.Config(tokenizer="word"), DataContext(root, tmp_path))
    for split in files.splits:
        assert files.labelled(split) == data.labelled(split)
