"""``scratchlab exercise``: the way of a person through it."""

from __future__ import annotations

from pathlib import Path

import pytest

from scratchlab.commands.exercise import main
from scratchlab.errors import UserError
from scratchlab.exercises.checking.solution import exercise_parts
from tests.exercises.alternatives import right


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_start_check_hint_and_solve(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["start", "bleu"]) == 0
    assert main(["check", "bleu.py"]) == 1
    assert "✗ corpus_bleu: is not written yet (line " in capsys.readouterr().out
    assert main(["hint", "bleu.py"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("Hint 1 of 3: ") and "exercise hint bleu.py 2" in told
    assert main(["hint", "bleu", "3"]) == 0
    assert "The next" not in capsys.readouterr().out
    Path("bleu.py").write_text(right("bleu").replace("penalty = min(1.0, math.exp(1 - r / c))",
                                                     "penalty = 1.0"))  # fmt: skip
    Path("tfidf.py").write_text(right("tfidf"))
    assert main(["check", "bleu.py", "tfidf.py", "seconds=20"]) == 1
    told = capsys.readouterr().out
    assert "→ no brevity penalty: hypotheses that are too short" in told
    assert "✓ weights: all 5 cases are right" in told
    assert "scratchlab exercise use tfidf.py model=" in told


def test_start_writes_over_nothing(here: Path) -> None:
    (here / "attention.py").write_text("mine")
    (here / "folder.py").mkdir()
    (here / "link.py").symlink_to(here / "elsewhere.py")
    for word in ("attention.py", "folder.py", "link.py"):
        with pytest.raises(UserError, match="is there already"):
            main(["start", "attention", word])
    assert (here / "attention.py").read_text() == "mine" and not (here / "elsewhere.py").exists()
    with pytest.raises(UserError, match="no name of a Python file"):
        main(["start", "attention", "attention.txt"])
    with pytest.raises(UserError, match="folder is gone"):
        main(["start", "attention", "nowhere/attention.py"])


def test_list_names_every_exercise_and_where_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    told = capsys.readouterr().out
    assert all(f"  {name} " in told for name in exercise_parts())
    assert "not used in runs" in told and "use: model=gpt" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["chek", "a.py"], "Did you mean 'check'?"),
        (["start"], "which exercise?"),
        (["start", "atention"], "Did you mean 'attention'?"),
        (["check"], "which file?"),
        (["check", "none.py"], "none.py: cannot be read"),
        (["check", "bleu.py", "seconds=0"], "must be a number above 0"),
        (["hint", "attention", "9"], "has the hints 1 to 4"),
        (["hint", "none.py"], "none.py: cannot be read"),
        (["list", "bleu"], "takes no more words"),
        (["use"], "which file?"),
        (
            ["use", "bleu.py", "model=gpt"],
            "is not used in any run: BLEU is always sacrebleu's",
        ),
        (["use", "adam.py"], "For example scratchlab exercise use adam.py model=gpt"),
        (["use", "adam.py", "suite", "wine"], "use runs train, eval, predict, not suite"),
        (["use", "adam.py", "model=mlp"], "it trains torch models"),
        (["use", "adam.py", "model=gpt", "optimizer=sgd"], "not optimizer=sgd"),
        (["use", "adam.py", "model=gtp"], "Did you mean 'gpt'?"),
        (["use", "adam.py", "eval", "none"], "there is no run 'none'"),
    ],
)
def test_mistaken_words_are_told_in_a_line(words: list[str], told: str) -> None:
    for name in ("bleu", "adam"):
        Path(f"{name}.py").write_text(right(name))
    with pytest.raises(UserError) as refused:
        main(words)
    assert told in str(refused.value)
