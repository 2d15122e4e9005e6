"""Tables: the user's own CSV, what is wrong with it, splits and scaling."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchlab.config.compose import compose
from scratchlab.data.contract import DataContext
from scratchlab.data.kinds.rows import PREPARATION
from scratchlab.describing.copies import copies_in_train
from scratchlab.errors import UserError
from scratchlab.lab import train as experiment
from scratchlab.registry import find

SHARED = os.environ.get("SCRATCHLAB_DATA")
needs_files = pytest.mark.skipif(SHARED is None, reason="SCRATCHLAB_DATA is not set")


def dataset(name: str, tmp_path: Path, vocabulary: Path | None = None, **options: Any) -> Any:
    cls = find("dataset", name).load()
    root = Path(SHARED) if SHARED else tmp_path
    return cls(cls.Config(**options), DataContext(root, tmp_path / "cache", vocabulary))


def csv(tmp_path: Path, rows: int = 60, **changes: str) -> Path:
    """Rows of width, colour, constant, empty-ish, class; ``changes`` replace "row,column" cells."""
    rng = np.random.default_rng(0)
    lines = [["width", "colour", "same", "gaps", "kind"]]
    for i in range(rows):
        gap = "" if i % 5 == 0 else f"{i % 7}"
        lines.append([f"{rng.normal():.3f}", "red" if i % 3 else "blue", "1", gap, "ab"[i % 2]])
    for place, value in changes.items():
        row, column = place.removeprefix("at_").split("_")
        lines[int(row)][int(column)] = value
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(",".join(line) for line in lines) + "\n")
    return path


def test_columns_are_told_apart_filled_encoded_and_named(tmp_path: Path) -> None:
    data = dataset("table", tmp_path, path=str(csv(tmp_path)))
    assert data.spec.task == "classification" and data.spec.class_names == ("a", "b")
    assert data.spec.feature_names == ("width", "colour=blue", "colour=red", "gaps")
    notes = "\n".join(data.notes)
    assert "the last column, 'kind', is the target" in notes
    assert "constant columns left out: same" in notes and "gaps 12" in notes
    raw = data.raw.X[data.row_numbers["train"]]
    filled = np.where(np.isnan(raw), np.nanmedian(raw, axis=0), raw)
    X = data.rows("train")[0]
    assert np.allclose(X, (filled - filled.mean(0)) / filled.std(0))
    assert np.isfinite(data.rows("test")[0]).all()


def test_scaling_is_learnt_on_the_training_rows_alone(tmp_path: Path) -> None:
    before = dataset("table", tmp_path, path=str(csv(tmp_path)))
    place = int(before.row_numbers["test"][0])
    path = csv(tmp_path, **{f"at_{place + 1}_0": "1000000"})
    after = dataset("table", tmp_path, path=str(path))
    assert np.array_equal(before.rows("train")[0], after.rows("train")[0])
    assert after.rows("test")[0].max() > 1000


def test_splits_are_stratified_seeded_and_disjoint(tmp_path: Path) -> None:
    data = dataset("wine_cultivars", tmp_path)
    rows = [set(data.row_numbers[s].tolist()) for s in data.splits]
    assert sum(map(len, rows)) == len(set().union(*rows)) == 178
    shares = [np.bincount(data.rows(s)[1]) / data.size(s) for s in data.splits]
    assert max(np.abs(a - shares[0]).max() for a in shares[1:]) < 0.06
    again = dataset("wine_cultivars", tmp_path)
    other = dataset("wine_cultivars", tmp_path, split_seed=1)
    assert np.array_equal(data.row_numbers["test"], again.row_numbers["test"])
    assert not np.array_equal(data.row_numbers["test"], other.row_numbers["test"])


def test_a_checkpoint_reads_new_rows_as_it_was_trained(tmp_path: Path) -> None:
    data = dataset("table", tmp_path, path=str(csv(tmp_path)))
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    data.save_vocabulary(folder)
    assert (folder / PREPARATION).is_file()
    answered = dataset("table", tmp_path, folder, path="not-there.csv").encode("0.5,blue,")
    filled = np.array([[0.5, 1, 0, np.nan]])
    assert np.allclose(answered, data.scaling.apply(filled))
    with pytest.raises(UserError, match=r"width, colour, gaps"):
        data.encode("1,2")
    with pytest.raises(UserError, match=r"'bleu' was not seen in training\n.*'blue'"):
        data.encode("0.5,bleu,")
    new = csv(tmp_path, at_4_1="green", at_9_1="green")
    assert "colour: not seen in training, read as missing: green" in (
        dataset("table", tmp_path, folder, path=str(new)).raw.notes
    )


@pytest.mark.parametrize("column", [0, 4])
def test_numbers_with_commas_do_not_pass_for_texts(tmp_path: Path, column: int) -> None:
    changes = {f"at_{i}_{column}": f'"{i},5"' for i in range(1, 61)}
    data = dataset("table", tmp_path, path=str(csv(tmp_path, **changes)))
    read = data.raw.y if column == 4 else data.raw.X[:, 0]
    assert read.tolist() == [i + 0.5 for i in range(1, 61)]
    name = ["width", "kind"][column // 4]
    assert f"{name}: numbers with decimal commas" in data.notes


def test_na_is_missing_unless_a_person_says_otherwise(tmp_path: Path) -> None:
    path = csv(tmp_path, **{f"at_{i}_1": "NA" for i in range(1, 20)}, at_30_1="")
    data = dataset("table", tmp_path, path=str(path))
    assert data.spec.feature_names[1:3] == ("colour=blue", "colour=red")
    notes = "\n".join(data.notes)
    assert "colour: taken as missing: NA (19); dataset.missing=[…]" in notes
    assert "taken as none of their categories: colour 20" in notes
    data = dataset("table", tmp_path, path=str(path), missing=["?"])
    assert data.spec.feature_names[1:4] == ("colour=NA", "colour=blue", "colour=red")
    assert data.raw.X[:19, 1].all() and not data.raw.X[29, 1:4].any()
    assert data.encode("1,NA,5")[0, 1] > 0 > data.encode("1,red,5")[0, 1]


def test_na_as_a_class_is_asked_for(tmp_path: Path) -> None:
    path = csv(tmp_path, **{f"at_{i}_4": "NA" for i in range(1, 61, 2)})
    with pytest.raises(
        UserError, match=r"target is missing(.|\n)*'NA' is a value: dataset.missing"
    ):
        dataset("table", tmp_path, path=str(path)).rows("train")
    data = dataset("table", tmp_path, path=str(path), missing=[])
    assert data.spec.class_names == ("NA", "b")


@pytest.mark.parametrize(
    ("header", "row", "given"),
    [
        ('"Weight, kg";"Height, cm";y', "1,5;180,5;{}", None),
        ("a\tb,c\ty", "1.5\t2.5\t{}", None),
        ('"first\nline, of two";b;y', "1;2.5;{}", None),
        ("a:b:y", "1:2:{}", ":"),
        ("a\tb\ty", "1\t2\t{}", "tab"),
    ],
)
def test_the_delimiter_is_counted_outside_of_quotes(
    header: str, row: str, given: str | None, tmp_path: Path
) -> None:
    rows = [row.format("pq"[i % 2]).replace("1", str(i % 9), 1) for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join([header, *rows]) + "\n")
    data = dataset("table", tmp_path, path=str(tmp_path / "t.csv"), delimiter=given, target="y")
    assert len(data.raw.columns) == 3 and data.spec.class_names == ("p", "q")


def test_a_delimiter_of_several_characters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'ab' is no single character"):
        dataset("table", tmp_path, path=str(csv(tmp_path)), delimiter="ab").rows("train")


def test_rows_of_a_block_and_of_old_systems_stand_in_order(tmp_path: Path) -> None:
    from scratchlab.data.sources.csv_cells import BLOCK, read_cells

    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\r" + b"".join(b'%d,"x\ny"\r' % i for i in range(BLOCK + 5)))
    cells = read_cells(path)
    assert len(cells.rows) == BLOCK + 5 and cells.rows[BLOCK] == [str(BLOCK), "x\ny"]
    assert [row[0] for row in cells.rows] == cells.values("a") == list(map(str, range(BLOCK + 5)))
    assert cells.where(1, "a") == f"{path}, line 5, column 'a'"


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"target": "knd"}, "Did you mean 'kind'"),
        ({"at_7_0": "wide"}, {}, "line 8, column 'width': 'wide' is no number"),
        ({"at_9_4": ""}, {}, "line 10, column 'kind': the target is missing"),
        ({"at_9_4": "nan"}, {}, "dataset.missing_target=drop"),
        ({f"at_{i}_4": "a" for i in range(1, 61)}, {}, "all rows have the class 'a'"),
        ({"at_3_1": "x,y"}, {}, "line 4: 6 cells, but the header names 5 columns"),
        ({"at_0_1": "width"}, {}, "names 'width' twice"),
        ({"at_7_0": "tall"}, {"target": "width"}, "line 8, column 'width': the target 'tall'"),
        ({"at_7_0": "inf"}, {"target": "width"}, "line 8, column 'width': the target 'inf'"),
        ({}, {"drop": ["colr"]}, "Did you mean 'colour'"),
        ({}, {"target": "width", "target_type": "class", "drop": []}, "too few to split off"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(
    tmp_path: Path, changes: dict[str, str], options: dict[str, Any], message: str
) -> None:
    path = csv(tmp_path, **changes)
    with pytest.raises(UserError) as caught:
        data = dataset("table", tmp_path, path=str(path), **options)
        data.rows("train")
        data.rows("test")
    assert message in str(caught.value)


def test_too_many_texts_are_taken_for_names_of_rows(tmp_path: Path) -> None:
    path = csv(tmp_path, **{f"at_{i}_1": f"row{i}" for i in range(1, 61)})
    with pytest.raises(UserError, match=r"dataset.drop=\[colour\]"):
        dataset("table", tmp_path, path=str(path)).rows("train")


def test_rows_without_a_target_can_be_left_out(tmp_path: Path) -> None:
    path = csv(tmp_path, at_9_4="", at_20_4="NA")
    data = dataset("table", tmp_path, path=str(path), missing_target="drop")
    assert sum(data.size(s) for s in data.splits) == 58
    assert "2 rows without a target left out" in data.notes


def test_fewer_rows_than_folds_and_a_target_of_the_wrong_kind_are_refused(tmp_path: Path) -> None:
    few = csv(tmp_path, rows=20)
    common = [f"dataset.path={few}", f"output_dir={tmp_path}", "tracker=[jsonl]"]
    words = ["model=stacking", "dataset=table", "model.folds=19", *common]
    with pytest.raises(UserError, match="cannot be dealt into folds=19"):
        experiment.train(compose(words).config, [], ["train"])
    words = ["model=mlp_regressor", "dataset=table", *common]
    with pytest.raises(UserError, match="holds classes"):
        experiment.train(compose(words).config, [], ["train"])


def test_semicolons_quotes_and_whole_number_targets(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    lines = [f'"a;b{i % 2}";{i}' for i in range(40)]
    path.write_text("\n".join(['"what; it is";count', *lines]) + "\n")
    data = dataset("table", tmp_path, path=str(path))
    assert data.spec.task == "regression"  # 40 different whole numbers
    assert data.spec.feature_names == ("what; it is=a;b0", "what; it is=a;b1")


@needs_files
def test_wine_quality_is_split_as_scikit_learn_splits_it(tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    data = dataset("wine_quality", tmp_path, val_fraction=0.0)
    (X, y), (V, w) = data.rows("train"), data.rows("test")
    assert (len(X), len(V), X.shape[1]) == (5197, 1300, 11)
    accuracy = LogisticRegression(max_iter=300).fit(X, y).score(V, w)
    assert round(accuracy, 3) == 0.519  # the published figure of this split


def test_a_fault_in_one_of_two_joined_files_names_that_file(tmp_path: Path) -> None:
    for colour, cell in (("red", "1"), ("white", "x")):
        path = tmp_path / "wine_quality" / f"winequality-{colour}.csv"
        path.parent.mkdir(exist_ok=True)
        rows = [f"{i};{i % 3};{3 + i % 2}" for i in range(20)]
        path.write_text("\n".join(["a;b;quality", *rows, f"{cell};2;3"]) + "\n")
    cls = find("dataset", "wine_quality").load()
    with pytest.raises(UserError, match=r"winequality-white\.csv, line 22, column 'a': 'x' is no"):
        cls(cls.Config(), DataContext(tmp_path, tmp_path)).rows("train")
    path.write_text("a;c;quality\n1;2;3\n")
    with pytest.raises(UserError, match=r"winequality-white\.csv has other columns"):
        cls(cls.Config(), DataContext(tmp_path, tmp_path)).rows("train")


@needs_files
def test_boston_housing_has_its_506_districts(tmp_path: Path) -> None:
    data = dataset("boston_housing", tmp_path)
    assert sum(data.size(s) for s in data.splits) == 506
    assert data.raw.y.mean() == pytest.approx(22.5328, abs=1e-4)


def test_missing_files_say_where_they_belong(tmp_path: Path) -> None:
    cls = find("dataset", "wine_quality").load()
    with pytest.raises(UserError, match=r"winequality-red\.csv"):
        cls(cls.Config(), DataContext(tmp_path, tmp_path)).rows("train")


def test_copies_of_rows_are_kept_as_drawn_or_all_on_one_side(tmp_path: Path) -> None:
    rows = [f"{i % 60}.5,{(i * 7) % 60}.5,{'ab'[i % 2]}" for i in range(180)]
    path = tmp_path / "t.csv"
    path.write_text("p,q,y\n" + "\n".join(rows) + "\n")

    def contents(duplicates: str) -> dict[str, list[bytes]]:
        found = dataset("table", tmp_path, path=str(path), duplicates=duplicates)
        numbers = np.concatenate([found.row_numbers[s] for s in found.splits])
        assert sorted(numbers.tolist()) == list(range(180))
        return {s: list(found.contents(s)) for s in found.splits}

    kept = contents("keep")
    assert len(kept["test"]) == 36 and set(kept["test"]) & set(kept["train"])
    grouped = contents("group")
    assert 12 <= len(grouped["test"]) <= 60 and grouped["val"]
    for one, other in (("test", "train"), ("val", "train"), ("test", "val")):
        assert not set(grouped[one]) & set(grouped[other])


def test_rows_that_all_say_the_same_cannot_be_split(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("p,y\n" + "1.5,a\n2.5,b\n" * 40)
    with pytest.raises(UserError, match="2 different rows are too few to split off"):
        _ = dataset("table", tmp_path, path=str(path), duplicates="group").row_numbers


@needs_files
def test_of_the_test_wines_345_are_copies_of_training_wines(tmp_path: Path) -> None:
    copies = copies_in_train(dataset("wine_quality", tmp_path, val_fraction=0.0), "test")
    assert copies is not None and (sum(copies), len(copies)) == (345, 1300)


def test_a_damaged_table_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    whole = csv(tmp_path).read_bytes().replace(b"red", b'"re;d"')
    path = tmp_path / "damaged.csv"
    for _ in range(150):
        raw = bytearray(whole)
        place = int(rng.integers(len(raw)))
        kind = rng.integers(4)
        if kind == 0:
            for at in rng.integers(len(raw), size=int(rng.integers(1, 6))):
                raw[at] = int(rng.integers(256))
        elif kind == 1:
            del raw[place:]
        else:
            raw[place:place] = [b'"', b"\r", b"\n,,", b";\t", "\u2028−٣".encode()][rng.integers(5)]
        path.write_bytes(raw)
        try:
            data = dataset("table", tmp_path, path=str(path), missing_target="drop")
            assert np.isfinite(data.rows("train")[0]).all() and data.notes is not None
        except UserError as error:
            assert "\n" not in error.message
            assert str(path) in error.message or "split off" in error.message
