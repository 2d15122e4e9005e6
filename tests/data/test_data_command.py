"""``scratchlab data`` in its own process, as a person runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scratchlab.commands.data import main, read_options
from scratchlab.data.catalog import find_dataset
from scratchlab.data.contract import DataContext
from scratchlab.errors import ConfigError
from scratchlab.table import Table

REPOSITORY = Path(__file__).parents[2]


def run(
    *arguments: str, context: DataContext | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    variables = {k: v for k, v in os.environ.items() if not k.startswith("SCRATCHLAB_")}
    if context is not None:
        variables |= {"SCRATCHLAB_DATA": str(context.root), "SCRATCHLAB_CACHE": str(context.cache)}
    return subprocess.run(
        [sys.executable, "-m", "scratchlab", "data", *arguments],
        capture_output=True,
        text=True,
        env={
            **variables,
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": "/nonexistent",
            "COLUMNS": "200",
            **environment,
        },
        cwd=REPOSITORY,
        check=False,
    )


def test_the_list_says_what_is_here(context: DataContext, multi30k_files: Path) -> None:
    (multi30k_files / "val.fr").unlink()
    done = run("list", context=context)
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert "yes, built in" in lines["phrasebook_en_fr"]
    assert "5 of 6 files" in lines["multi30k_en_fr"]
    assert "no, hub only" in lines["tatoeba_en_fr"]
    assert "your own files" in lines["parallel_text"]


def test_the_list_loads_no_torch() -> None:
    program = (
        "import sys; from scratchlab.commands.data import main; main(['list']);"
        "print(sorted({'torch', 'datasets', 'tokenizers', 'hydra'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=REPOSITORY, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_check_prints_hashes_and_finds_faults(context: DataContext, multi30k_files: Path) -> None:
    done = run("check", "multi30k_en_fr", context=context)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("multi30k/train.en") == 2
    assert "read without a fault" in done.stdout
    assert not context.cache.exists()
    with (multi30k_files / "val.fr").open("ab") as file:
        file.write(b"\xff\n")
    done = run("check", "multi30k_en_fr", context=context)
    assert done.returncode == 2
    assert "val.fr, line 21: byte 0xff is not UTF-8" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_doubts_files_whose_lines_are_shifted(
    context: DataContext, multi30k_files: Path
) -> None:
    path = multi30k_files / "train.fr"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines[7:], *lines[:7]]) + "\n", encoding="utf-8")
    done = run("check", "multi30k_en_fr", context=context)
    assert done.returncode == 0, done.stderr
    assert "the lines of train may be shifted against each other" in done.stdout


def test_describe_shows_layout_sizes_vocabulary_and_samples(
    context: DataContext, multi30k_files: Path
) -> None:
    done = run("describe", "multi30k_en_fr", "vocab_size=300", context=context)
    assert done.returncode == 0, done.stderr
    for text in (
        "multi30k/test_2016_flickr.fr.gz",
        "romrawinjp/multi30k",
        "source tokens",
        "padding",
        "<unk>",
        "sample pairs of train",
        "<eos>",
    ):
        assert text in done.stdout
    assert any(line.split()[:2] == ["train", "300"] for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lst"], "Did you mean 'list'?"),
        (["check"], "needs the name of a data set"),
        (["check", "multi30k"], "Did you mean 'multi30k_en_fr'?"),
        (["describe", "multi30k_en_fr", "vocabsize=3"], "Did you mean 'vocab_size'?"),
        (["get", "multi30k_en_fr"], "SCRATCHLAB_DATA=FOLDER scratchlab data get multi30k_en_fr"),
        (["describe", "parallel_text"], "needs to know your files"),
        (["describe", "multi30k_en_fr", "source=files"], "no folder of data files is known"),
    ],
)
def test_mistakes_get_one_clear_message(arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_get_without_the_hub_says_how_by_hand(context: DataContext) -> None:
    done = run("get", "multi30k_en_fr", context=context)
    assert done.returncode == 2
    assert "hub cannot be reached for romrawinjp/multi30k" in done.stderr
    assert "By hand: get multi30k/train.en.gz" in done.stderr
    assert "Traceback" not in done.stderr


def test_get_leaves_alone_what_is_here(context: DataContext, multi30k_files: Path) -> None:
    assert "are in" in run("get", "multi30k_en_fr", context=context).stdout
    assert "built in" in run("get", "phrasebook_en_fr").stdout


def test_options_are_checked_all_together() -> None:
    part = find_dataset("multi30k_en_fr")
    assert read_options(part, ["dataset.tokenizer=word", "reverse=true"])["reverse"] is True
    with pytest.raises(ConfigError) as caught:
        read_options(part, ["tokenizer=words", "max_length=1", "noise=1", "what"])
    assert len(caught.value.faults) == 4
    with pytest.raises(ConfigError, match="bpe_dropout needs tokenizer=bpe"):
        read_options(part, ["tokenizer=word", "bpe_dropout=0.1"])


@pytest.mark.parametrize(
    ("name", "words", "pictures"),
    [
        (
            "wine_cultivars",
            ["mean", "class_0: ", "proline"],
            {"features", "correlations", "target"},
        ),
        ("noisy_digits", ["1 × 8 × 8: channels", "1.1 : 1", "models see"], {"samples", "target"}),
    ],
)
def test_describe_writes_statistics_and_pictures_of_rows(
    name: str,
    words: list[str],
    pictures: set[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["describe", name, f"output_dir={tmp_path}"]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in words), out
    folder = tmp_path / "data" / name
    assert {p.stem for p in (folder / "plots").iterdir()} == pictures
    tables = {p.stem for p in (folder / "tables").glob("*.csv")}
    more = {"features", "correlations"} if "wine" in name else {"pixels"}
    assert tables == {"splits", "copies"} | more


def test_files_are_described_in_folders_of_their_own(tmp_path: Path) -> None:
    for folder, step in (("one", 1), ("two", 2)):
        (tmp_path / folder).mkdir()
        rows = [f"{i * step % 7},{'ab'[i % 2]}" for i in range(40)]
        text = "\n".join(["x,y", *rows]) + "\n"
        (tmp_path / folder / "prices 2024.csv").write_text(text)
    words = [f"output_dir={tmp_path}", "target=y"]
    for _ in range(2):  # a file that is described again takes no further folder
        for folder in ("one", "two"):
            path = tmp_path / folder / "prices 2024.csv"
            assert main(["describe", "table", f"path={path}", *words]) == 0
    found = {p.name: p for p in (tmp_path / "data").iterdir()}
    assert set(found) == {"table-prices-2024", "table-prices-2024_2"}
    first, second = (
        (found[n] / "tables" / "features.csv").read_text()
        for n in ("table-prices-2024", "table-prices-2024_2")
    )
    assert first != second


def test_tables_are_named_by_whole_phrases() -> None:
    names = {
        "splits and the target 'kind'": "splits_and_the_target",
        "the first example of each split": "first_example_of_each_split",
        "copies (same features)": "copies",
        "read from files: /a/b": "read_from_files",
        "…": "table",
    }
    assert {title: Table(title, []).file_name for title in names} == names
