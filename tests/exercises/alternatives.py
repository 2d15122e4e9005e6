"""Solutions of people, right and wrong, from the files in ``solutions``.

A comment ``# instead (MISTAKE): CODE`` stands below a line of a right solution. Where every line
that has such a comment of a mistake is replaced by its code (``⏎`` ends a line in it), the solution
makes this mistake.
"""

from __future__ import annotations

import re
from pathlib import Path

from scratchlab.exercises.checking.solution import load_exercise, signatures
from scratchlab.exercises.contract import Exercise, Mistake

FOLDER = Path(__file__).parent / "solutions"
INSTEAD = re.compile(r"\s*# instead \((.+?)\): (.*)")


def right(exercise: str) -> str:
    """The right solution without the alternatives."""
    return with_mistakes(exercise)


def with_mistakes(exercise: str, *mistakes: Mistake) -> str:
    """The solution with these mistakes in it."""
    functions = set(signatures(load_exercise(exercise).START))
    lines: list[str] = []
    inside = ""  # the function that a line stands in
    for line in (FOLDER / f"{exercise}.py").read_text(encoding="utf-8").splitlines():
        found = INSTEAD.fullmatch(line)
        if line.startswith("def "):
            inside = line[4 : line.index("(")]
        if not found:
            lines.append(line)
            continue
        asked = {m.function for m in mistakes if m.name == found[1]}
        if asked and (inside in asked or inside not in functions):  # else a helper of all
            indent = lines[-1][: len(lines[-1]) - len(lines[-1].lstrip())]
            lines[-1] = "\n".join(indent + part for part in found[2].split("⏎"))
    return "\n".join(lines) + "\n"


def written(exercise: Exercise, name: str) -> list[Mistake]:
    """The mistakes that there is a wrong solution of."""
    return [m for m in exercise.MISTAKES if with_mistakes(name, m) != right(name)]
