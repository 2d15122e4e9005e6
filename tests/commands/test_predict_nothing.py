"""``predict`` when it is given nothing, or nothing but blanks: never silence."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest

from scratchlab.cli import main

Captured = pytest.CaptureFixture[str]
RUN = "outputs/wine/a"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of a table and files to ask it."""
    folder = tmp_path_factory.mktemp("nothing")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = ["model=logistic", "model.epochs=2", "dataset=wine_cultivars", "evaluate=false"]
        more = ["tracker=[]", "name=wine", "run_id=a", f"cache_dir={folder / 'cache'}"]
        assert main(["train", *words, *more]) == 0
        Path("empty.txt").write_bytes(b"")
        Path("packed.txt").write_bytes(gzip.compress(b""))
        Path("blank.txt").write_bytes(b"\n   \n\n")
    return folder


def asked(capfd: Captured, *words: str) -> tuple[int, str, str]:
    capfd.readouterr()
    code = main(["predict", RUN, *words])
    return code, *capfd.readouterr()


@pytest.fixture(autouse=True)
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO())))


@pytest.mark.parametrize("name", ["empty.txt", "packed.txt"])
def test_an_empty_file_is_refused_in_a_line(capfd: Captured, name: str) -> None:
    code, out, err = asked(capfd, f"input={name}")
    assert (code, out) == (2, "") and f"error: {name}: there is nothing to answer" in err


@pytest.mark.parametrize("words", [[], ["--"]])
def test_no_text_and_an_empty_standard_input_are_refused(capfd: Captured, words: list[str]) -> None:
    code, out, err = asked(capfd, *words)
    assert (code, out) == (2, "") and "standard input: there is nothing to answer" in err


def test_a_header_alone_holds_no_row(capfd: Captured, folder: Path) -> None:
    from sklearn.datasets import load_wine

    (folder / "header.csv").write_text(",".join(load_wine().feature_names) + "\n")
    code, out, err = asked(capfd, "input=header.csv")
    assert (code, out) == (2, "") and "header.csv: there is nothing to answer" in err


def test_blank_lines_are_answered_with_empty_ones_and_told_of(capfd: Captured) -> None:
    code, out, err = asked(capfd, "input=blank.txt")
    assert (code, out) == (0, "\n\n\n")
    assert err == "note: blank.txt holds nothing but 3 blank lines\n"
    code, out, err = asked(capfd, "")
    assert (code, out, err) == (0, "\n", "note: the text holds nothing but 1 blank line\n")
