"""``scratchlab exercise``: write a part yourself, have it checked, train with it."""

from __future__ import annotations

import shlex
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchlab.errors import UserError, shortened, suggest
from scratchlab.regular_files import expanded

if TYPE_CHECKING:
    from scratchlab.exercises.checking.solution import Solution

HELP = """
usage: scratchlab exercise list
       scratchlab exercise start NAME [FILE]        writes FILE (NAME.py) for you to fill in
       scratchlab exercise check FILE … [seconds=10]
       scratchlab exercise hint NAME|FILE [NUMBER]
       scratchlab exercise use FILE [train] model=NAME …  (or resume=RUN)
       scratchlab exercise use FILE eval|predict RUN …

You write a part from its paper. check runs your file in a process of its own, with limits, on
ordinary and awkward inputs, and compares results and gradients with an independent reference: the
first difference, the kind of mistake if it is a known one, your speed. use puts your code in the
place of the built-in part; what comes of it records your file's hash, and is used with that very
file only. No configuration or checkpoint can name a file of yours: you name it, each time.
"""

USED_BY = ("train", "eval", "predict")
OTHERS = ("sweep", "suite", "inspect", "list", "data", "exercise")


def main(arguments: Sequence[str]) -> int:
    """Entry of the verb."""
    ways: dict[str, Callable[[list[str]], int]] = {
        "list": list_all,
        "start": start,
        "check": check,
        "hint": hint,
        "use": use,
    }
    words = list(arguments)
    if not words or words[0] in ("-h", "--help") or "--help" in words[:2]:
        print(HELP.strip())
        return 0
    if words[0] not in ways:
        raise UserError(f"exercise {shortened(words[0])}: no such thing", suggest(words[0], ways))
    return ways[words[0]](words[1:])


def list_all(words: list[str]) -> int:
    """The exercises, a line each."""
    from scratchlab.exercises.checking.solution import exercise_parts

    if words:
        raise UserError(f"exercise list takes no more words, not {shortened(words[0])}")
    parts = exercise_parts()
    width = max(map(len, parts))
    for name, part in sorted(parts.items()):
        facts = part.facts
        notes = "torch" if facts["with_torch"] else "NumPy"
        notes += f"; use: {facts['use']}" if "use" in facts else "; not used in runs"
        print(f"  {name:<{width}}  {part.summary.rstrip('.')}, {facts['paper']} [{notes}]")
    print("\nscratchlab exercise start NAME writes a file for you to fill in.")
    return 0


def start(words: list[str]) -> int:
    """Write the file that a person fills in; never over one that is there."""
    from scratchlab.exercises.checking.solution import find_exercise, load_exercise
    from scratchlab.run.atomic import write_error

    if not 1 <= len(words) <= 2:
        hint = "scratchlab exercise list shows them."
        raise UserError("exercise start NAME [FILE]: which exercise?", hint)
    name = find_exercise(words[0]).name
    path = expanded(words[1] if len(words) > 1 else f"{name}.py")
    if path.suffix != ".py":
        raise UserError(f"{path} is no name of a Python file", "Let it end in .py.")
    text = load_exercise(name).START
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UserError(
            f"{path} is there already, and is left as it is",
            f"Another name: scratchlab exercise start {name} FILE",
        ) from None
    except OSError as error:
        raise write_error(path, error) from error
    given = shlex.quote(str(path))
    print(f"{path} is written: fill in what raises NotImplementedError.")
    print(f"  scratchlab exercise check {given}     is it right?")
    print(f"  scratchlab exercise hint {given}      the first of its hints")
    return 0


def check(words: list[str]) -> int:
    """Check files: 0, all are right; 1, one is not; 2, one cannot be run."""
    from scratchlab.exercises.checking.bench import SECONDS, reports
    from scratchlab.exercises.checking.report import lines
    from scratchlab.exercises.checking.solution import find_exercise, load_exercise, read_solution

    files = [w for w in words if not w.startswith("seconds=")]
    seconds = SECONDS
    for word in words:
        if word.startswith("seconds="):
            seconds = _seconds(word.partition("=")[2])
    if not files:
        raise UserError("exercise check FILE …: which file?")
    solutions = [read_solution(file) for file in files]
    code = 0
    for number, report in enumerate(reports(solutions, seconds)):
        if report["fault"]:
            print(f"error: {report['fault']}", file=sys.stderr)
            code = 2
            continue
        if number:
            print()
        part = find_exercise(report["exercise"])
        print("\n".join(lines(report, part, load_exercise(part.name))), flush=True)
        code = max(code, 0 if report["right"] else 1)
    return code


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise UserError(f"seconds={text[:40]}: must be a number above 0, at most 3600")
    return seconds


def hint(words: list[str]) -> int:
    """One hint; the first, unless a number is given."""
    from scratchlab.exercises.checking.solution import (
        exercise_parts,
        find_exercise,
        load_exercise,
        read_solution,
    )

    if not 1 <= len(words) <= 2:
        raise UserError("exercise hint NAME|FILE [NUMBER]: of which exercise?")
    given = words[0]
    is_name = given in exercise_parts() or not (given.endswith(".py") or Path(given).exists())
    name = find_exercise(given).name if is_name else read_solution(given).exercise
    hints = load_exercise(name).HINTS
    asked = words[1] if len(words) > 1 else "1"
    number = int(asked) if asked.isdecimal() and len(asked) < 4 else 0
    if not 1 <= number <= len(hints):
        raise UserError(f"{name} has the hints 1 to {len(hints)}, no {shortened(asked)}")
    print(textwrap.fill(f"Hint {number} of {len(hints)}: {hints[number - 1]}", 96))
    if number < len(hints):
        print(f"  The next: scratchlab exercise hint {shlex.quote(given)} {number + 1}")
    return 0


def use(words: list[str]) -> int:
    """Run train, eval or predict with a person's solution in place of the built-in part."""
    from scratchlab.exercises.checking.solution import find_exercise, load_exercise, read_solution

    if not words:
        raise UserError("exercise use FILE …: which file?")
    solution = read_solution(words[0])
    facts = find_exercise(solution.exercise).facts
    if "unused" in facts:
        raise UserError(f"{solution.exercise} is not used in any run: {facts['unused']}")
    verb, rest = ("train", words[1:])
    if rest and rest[0] in USED_BY:
        verb, rest = rest[0], rest[1:]
    elif rest and rest[0] in OTHERS:
        raise UserError(f"use runs {', '.join(USED_BY)}, not {rest[0]}")
    if not rest:
        example = f"scratchlab exercise use {shlex.quote(words[0])} {facts['use']}"
        raise UserError("what is to be run with it?", f"For example {example}")
    exercise = load_exercise(solution.exercise)
    if "--cfg" not in rest and "-c" not in rest and "--help" not in rest:
        _refuse_unused(solution, verb, rest)
    right = _checked(solution)
    from importlib import import_module

    from scratchlab.exercises.using import in_place

    with in_place(solution, exercise, right) as used:
        code: int = import_module(f"scratchlab.commands.{verb}").main(rest)
    if not used.calls and code == 0 and "--cfg" not in rest and "--help" not in rest:
        print(f"note: nothing called {solution.path} in this run", file=sys.stderr)
    return code


def _refuse_unused(solution: Solution, verb: str, words: list[str]) -> None:
    """UserError if the configuration of a command has no place for a solution."""
    from scratchlab.exercises.checking.solution import load_exercise
    from scratchlab.exercises.using import refused

    config = _configuration(verb, words)
    reason = refused(solution, load_exercise(solution.exercise), config)
    if reason is not None:
        raise UserError(reason)


def _configuration(verb: str, words: list[str]) -> Mapping[str, Any]:
    """What a command would run with, as far as that can be told without running it."""
    from scratchlab.commands.hydra_flags import parser
    from scratchlab.commands.trained import is_option
    from scratchlab.config.compose import change, compose
    from scratchlab.config.overrides import key_of, last_value
    from scratchlab.run.folder import find_run, read_trained

    end = words.index("--") if "--" in words else len(words)  # texts follow
    flags = parser(verb).parse_intermixed_args(words[:end])
    run = last_value(flags.overrides, "resume") if verb == "train" else flags.overrides[0]
    if verb == "train" and (run is None or run.lower() in ("true", "false")):
        return compose(flags.overrides, flags.config_name or "train", flags.config_dir).config
    path = find_run(str(run), last_value(flags.overrides, "output_dir") or "outputs")
    options = [w for w in flags.overrides if is_option(w) and key_of(w) not in ("resume", "input")]
    return change(read_trained(path), options, flags.config_dir)


def _checked(solution: Solution) -> bool:
    """Whether a solution is right; a note if it is not, UserError if it cannot be run at all."""
    from scratchlab.exercises.checking.bench import reports

    (report,) = reports([solution])
    if report["fault"]:
        raise UserError(report["fault"])
    broken = [v for v in report["verdicts"] if v["kind"] in ("unwritten", "exception", "time")]
    if report["trouble"] or broken:
        said = report["trouble"] or f"{broken[0]['function']}: {broken[0]['problem']}"
        raise UserError(
            f"{solution.path}: {said}",
            f"See scratchlab exercise check {shlex.quote(str(solution.path))}",
        )
    if not report["right"]:
        wrong = next(v for v in report["verdicts"] if v["wrong"])
        names = ", ".join(wrong["mistakes"]) or wrong["problem"]
        print(f"note: {solution.path} is not right ({wrong['function']}: {names}); "
              "it is used as it is", file=sys.stderr)  # fmt: skip
    return bool(report["right"])
