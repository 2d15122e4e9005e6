"""A person's file runs apart: whatever it does, there is one clear answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scratchlab.commands.exercise import main
from scratchlab.errors import UserError
from scratchlab.exercises.checking.bench import reports
from scratchlab.exercises.checking.solution import (
    exercise_parts,
    functions_of,
    load_exercise,
    read_solution,
    run_module,
)
from tests.exercises.alternatives import right

HEAD = '"""Exercise bleu: mine"""\n'
FAULTS = {
    "loop": "def corpus_bleu(hypotheses, references):\n    while True:\n        pass\n",
    "loop_at_the_top": "x = 0\nwhile True:\n    x += 1\n",
    "stubborn": "import signal\nsignal.signal(signal.SIGPROF, signal.SIG_IGN)\nwhile 1:\n    0\n",
    "waits": "import time\ntime.sleep(1000)\n",
    "reads": "x = input()\n",
    "ends": "import sys\nsys.exit(3)\n",
    "killed": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n",
    "memory": "def corpus_bleu(hypotheses, references):\n    return len(b'0' * 10**11)\n",
    "raises": "def inner(x):\n    return x / 0\n\n\n"
    "def corpus_bleu(hypotheses, references):\n    return inner(1)\n",
    "imports": "import my_own_helpers\n",
    "recursion": "def corpus_bleu(hypotheses, references):\n"
    "    return corpus_bleu(references, hypotheses)\n",
    "text": "def corpus_bleu(hypotheses, references):\n    return 'good'\n",
    "prints": "print('hello')\n\n\ndef corpus_bleu(hypotheses, references):\n"
    "    print('x' * 500)\n    return 0.0\n",
    "floods": "while True:\n    print('y' * 1000)\n",
    "forks": "import os\nos.fork()\n\n\ndef corpus_bleu(hypotheses, references):\n    return 0.0\n",
    "missing": "def corpus_blue(hypotheses, references):\n    return 0.0\n",
    "signature": "def corpus_bleu(hypotheses):\n    return 0.0\n",
    "swapped": "def corpus_bleu(references, hypotheses):\n    return 0.0\n",
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The report of every fault; all of them come from one process, one after the other."""
    folder = tmp_path_factory.mktemp("faults")
    for name, code in FAULTS.items():
        (folder / f"{name}.py").write_text(HEAD + code, encoding="utf-8")
    solutions = [read_solution(str(folder / f"{name}.py")) for name in FAULTS]
    return dict(zip(FAULTS, reports(solutions, 0.3), strict=True))


def test_an_endless_loop_is_told_with_its_line(found: dict[str, dict[str, Any]]) -> None:
    (verdict,) = found["loop"]["verdicts"]
    assert verdict["kind"] == "time" and "does not come to an end" in verdict["problem"]
    assert "line 3: while True:" in verdict["problem"] or "line 4: pass" in verdict["problem"]
    assert "does not come to an end" in found["loop_at_the_top"]["trouble"]
    assert "swallows every exception" in found["stubborn"]["trouble"]


def test_a_file_that_waits_ends_or_dies_is_told_of(found: dict[str, dict[str, Any]]) -> None:
    assert "waits for something" in found["waits"]["trouble"]
    assert "EOFError" in found["reads"]["trouble"] and "line 2" in found["reads"]["trouble"]
    assert "SystemExit: 3 at line 3: sys.exit(3)" in found["ends"]["trouble"]
    assert found["killed"]["trouble"] == "the process was ended by SIGKILL"


def test_exceptions_and_lack_of_memory_name_the_line(found: dict[str, dict[str, Any]]) -> None:
    def problem(name: str) -> str:
        (verdict,) = found[name]["verdicts"]
        assert verdict["wrong"] == verdict["cases"]
        return str(verdict["problem"])

    assert problem("raises") == "ZeroDivisionError: division by zero at line 3: return x / 0"
    assert "more memory than there is at line 3" in problem("memory")
    assert "RecursionError" in problem("recursion")
    assert "the score is no number of numbers" in problem("text")
    assert "No module named 'my_own_helpers' at line 2" in found["imports"]["trouble"]


def test_what_is_printed_is_shown_and_does_no_harm(found: dict[str, dict[str, Any]]) -> None:
    printed = found["prints"]
    assert printed["printed"][0] == "hello" and max(map(len, printed["printed"])) == 200
    assert printed["verdicts"][0]["wrong"] < printed["verdicts"][0]["cases"]
    assert "prints too much at line 3" in found["floods"]["trouble"]
    assert found["floods"]["more_printed"] > 100
    assert found["forks"]["verdicts"]


def test_missing_functions_and_other_signatures_say_what_is_expected(
    found: dict[str, dict[str, Any]],
) -> None:
    wanted = "corpus_bleu(hypotheses, references)"
    assert f"there is no function {wanted}; is corpus_blue meant" in found["missing"]["fault"]
    assert (
        f"corpus_bleu(hypotheses) does not fit; it must be {wanted}" in found["signature"]["fault"]
    )
    assert "has another order" in found["swapped"]["fault"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (HEAD + "def f(:\n", "mine.py, line 2: invalid syntax"),
        (HEAD + "x = 1\n  y = 2\n", "mine.py, line 3: unexpected indent"),
        ("x = '\n", "mine.py, line 1: unterminated string literal"),
        ("# -*- coding: nonsense -*-\n", "mine.py"),
        ("x = 1\n", "its first line names no exercise"),
        ('"""Exercise atention: mine"""\n', "Did you mean 'attention'?"),
        ("\0\0", "mine.py"),
    ],
)
def test_a_file_that_is_no_solution_is_refused(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError) as refused:
        read_solution(str(path))
    assert told in str(refused.value)


def test_other_things_in_place_of_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "latin.py").write_bytes(b'"""Exercise bleu: \xe9"""\n')
    for name, told in (("none.py", "cannot be read"), ("folder.py", "is a folder"),
                       ("latin.py", "latin.py")):  # fmt: skip
        with pytest.raises(UserError) as refused:
            read_solution(str(tmp_path / name))
        assert told in str(refused.value)


def test_a_file_without_its_first_line_is_known_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "bleu.py"
    path.write_text("\n".join(right("bleu").splitlines()[2:]), encoding="utf-8")
    solution = read_solution(str(path))
    assert solution.exercise == "bleu"
    assert functions_of(run_module(solution), load_exercise("bleu"), path)
    assert not list(tmp_path.rglob("*.pyc"))


def test_the_library_itself_is_not_from_scratch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        HEAD + "import sacrebleu\n\n\ndef corpus_bleu(hypotheses, references):\n"
        "    lines = [[' '.join(w) for w in side] for side in (hypotheses, references)]\n"
        "    return sacrebleu.corpus_bleu(lines[0], [lines[1]], tokenize='none',\n"
        "                                 smooth_method='none', force=True).score\n"
    )
    assert main(["check", str(path)]) == 0
    told = capsys.readouterr().out
    assert "It is not from scratch: it uses sacrebleu." in told
    assert "✓ corpus_bleu: all 10 cases are right" in told and "speed, 200 sentences" in told


def test_exercises_in_numpy_import_no_torch() -> None:
    names = [n for n, part in exercise_parts().items() if not part.facts["with_torch"]]
    assert len(names) >= 10
    code = (
        "import sys\n"
        "from scratchlab.exercises.checking import worker\n"
        "from scratchlab.exercises.checking.judging import expected\n"
        f"for name in {names}:\n"
        "    exercise = worker.load_exercise(name)\n"
        "    expected(exercise), exercise.fast()\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
