"""Every case of an exercise is shown to a person's functions and to the reference."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from types import TracebackType
from typing import Any

from scratchlab.exercises.checking.comparing import difference
from scratchlab.exercises.checking.solution import Solution
from scratchlab.exercises.contract import Case, Complaint, Exercise, Functions, Mistake, Seen

TOGETHER = 2
"""So many mistakes are found at once in a function."""

MEASURED = 0.05  # seconds that each of the two is timed for


class TooLong(BaseException):
    """The time that a file has is over; no ``except Exception`` of its own catches this."""


@dataclass(frozen=True)
class Failure:
    """What came in place of results. ``kind``: unwritten, exception, complaint, memory, time."""

    kind: str
    text: str
    error: str = ""  # the exception's type


@dataclass
class Verdict:
    """What is found of one function. ``case`` is the first that is ``wrong``, ``problem`` what is
    wrong there; ``mistakes`` are the names of those that explain every case, ``perhaps`` one that
    explains ``explained`` of the wrong ones."""

    function: str
    cases: int
    wrong: int = 0
    case: str = ""
    problem: str = ""
    kind: str = ""
    mistakes: list[str] = field(default_factory=list)
    perhaps: str = ""
    explained: int = 0


@dataclass(frozen=True)
class Speed:
    """Seconds of a call of size ``what``, and of the same call of ``beside``."""

    what: str
    theirs: float
    beside: str
    other: float


def expected(exercise: Exercise) -> list[tuple[Case, Seen]]:
    """Every case with what is right."""
    reference = exercise.reference()
    with quiet():
        return [(case, case.observe(reference)) for case in exercise.cases()]


def judge(
    exercise: Exercise, cases: Sequence[tuple[Case, Seen]], functions: Functions, solution: Solution
) -> Iterator[Verdict]:
    """A verdict of each function, in the order of the start file.

    One after the other, since the time may be over before the last.
    """
    for name in dict.fromkeys(case.function for case, _ in cases):
        own = [(case, right) for case, right in cases if case.function == name]
        verdict = Verdict(name, len(own))
        shown: list[Seen | Failure] = []
        for case, right in own:
            seen = tried(case, functions, solution)
            shown.append(seen)
            problem = _problem(seen, case, right)
            if problem is None:
                continue
            verdict.wrong += 1
            if not verdict.case:
                verdict.case, verdict.problem = case.name, problem
                verdict.kind = seen.kind if isinstance(seen, Failure) else "values"
            if verdict.kind in ("unwritten", "time"):
                break
        if verdict.wrong and verdict.kind not in ("unwritten", "time"):
            _explain(verdict, exercise, own, shown)
        yield verdict
        if verdict.kind == "time":
            return


def _problem(seen: Seen | Failure, case: Case, right: Seen) -> str | None:
    if isinstance(seen, Failure):
        return seen.text
    return difference(seen, right, case.tolerance)


def tried(case: Case, functions: Functions, solution: Solution | None = None) -> Seen | Failure:
    """What a case shows of functions, or how they failed."""
    try:
        with quiet():
            return case.observe(functions)
    except Complaint as complaint:
        return Failure("complaint", str(complaint))
    except (Exception, SystemExit, TooLong) as error:
        return failure(error, solution)


def failure(error: BaseException, solution: Solution | None) -> Failure:
    """An exception by the line of a person's file that it came out of."""
    name = type(error).__name__
    place = where(error.__traceback__, solution) if solution else ""
    at = f" at {place}" if place else ""
    if isinstance(error, TooLong):
        then = f"; when its time was over it was{at}" if at else ""
        return Failure("time", f"it does not come to an end{then}")
    if isinstance(error, NotImplementedError):
        return Failure("unwritten", f"is not written yet{f' ({place})' if place else ''}", name)
    said = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, MemoryError) or "can't allocate memory" in said:
        return Failure("memory", f"it asks for more memory than there is{at}", name)
    if isinstance(error, OSError) and error.errno == 27:  # the limit of what a process may write
        return Failure("exception", f"it writes or prints too much{at}", name)
    if not place and solution:
        return Failure("exception", f"what it returned cannot be used: {name}: {said}", name)
    return Failure("exception", f"{name}: {said}{at}", name)


def where(trace: TracebackType | None, solution: Solution) -> str:
    """``line 12: y = x @ w``: the innermost line of the person's file on the way to an error."""
    line = 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(solution.path):
            line = trace.tb_lineno
        trace = trace.tb_next
    if not line:
        return ""
    lines = solution.source.splitlines()
    text = lines[line - 1].strip() if line <= len(lines) else ""
    return f"line {line}: {text}" if text else f"line {line}"


def _explain(
    verdict: Verdict,
    exercise: Exercise,
    cases: Sequence[tuple[Case, Seen]],
    shown: Sequence[Seen | Failure],
) -> None:
    """Find the mistakes that do just what the function does, in every case."""
    known = [m for m in exercise.MISTAKES if m.function == verdict.function]
    for count in range(1, TOGETHER + 1):
        for chosen in combinations(known, count):
            if _explained(exercise, chosen, cases, shown, every=True):
                verdict.mistakes = [m.name for m in chosen]
                return
    wrong = [
        (pair, seen)
        for pair, seen in zip(cases, shown, strict=True)
        if _problem(seen, *pair) is not None
    ]
    pairs, seens = [p for p, _ in wrong], [s for _, s in wrong]
    counts = {m.name: _explained(exercise, (m,), pairs, seens) for m in known}
    best = max(counts, key=counts.__getitem__, default="")
    if best and 2 * counts[best] >= len(wrong):
        verdict.perhaps, verdict.explained = best, counts[best]


def _explained(
    exercise: Exercise,
    mistakes: Sequence[Mistake],
    cases: Sequence[tuple[Case, Seen]],
    shown: Sequence[Seen | Failure],
    every: bool = False,
) -> int:
    """In how many cases functions with these mistakes show the same; 0 unless in ``every`` one."""
    mistaken = exercise.plain(frozenset(m.name for m in mistakes))
    count = 0
    for (case, _), seen in zip(cases, shown, strict=True):
        if _alike(seen, tried(case, mistaken), case.tolerance):
            count += 1
        elif every:
            return 0
    return count


def _alike(seen: Seen | Failure, other: Seen | Failure, tolerance: float) -> bool:
    if isinstance(seen, Failure) or isinstance(other, Failure):
        return (
            isinstance(seen, Failure)
            and isinstance(other, Failure)
            and (seen.kind, seen.error) == (other.kind, other.error)
            and (seen.kind != "complaint" or seen.text == other.text)
        )
    return difference(seen, other, 10 * tolerance) is None


def speed(exercise: Exercise, functions: Functions) -> Speed:
    """How long a call takes beside the other; the shortest of several."""
    timed, other = exercise.timed(), exercise.fast()
    with quiet():
        theirs = _shortest(lambda: timed.call(functions))
        return Speed(timed.what, theirs, exercise.BESIDE, _shortest(lambda: timed.call(other)))


def _shortest(call: Callable[[], Any]) -> float:
    found: list[float] = []
    begun = time.perf_counter()
    while len(found) < 3 or time.perf_counter() - begun < MEASURED:
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
        if time.perf_counter() - begun > 10 * MEASURED:
            break  # a slow one: one call will do
    return min(found)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings that awkward inputs lead to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
