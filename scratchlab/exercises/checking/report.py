"""What is said of a person's file that was checked."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from scratchlab.errors import number_of
from scratchlab.exercises.contract import Exercise
from scratchlab.registry import Part

WIDTH = 96


def lines(report: Mapping[str, Any], part: Part, exercise: Exercise) -> Iterator[str]:
    """The report of :mod:`.worker` as a person reads it."""
    yield f"{report['file']}: {part.summary.rstrip('.')} ({part.facts['paper']})"
    texts = {m.name: m.text for m in exercise.MISTAKES}
    for verdict in report["verdicts"]:
        yield from _function(verdict, texts)
    if report["trouble"]:
        yield from _wrapped(f"✗ {report['trouble']}", "  ", "    ")
    if report["printed"]:
        yield "  it printed:"
        yield from (f"    {line}" for line in report["printed"])
        if report["more_printed"]:
            yield f"    … and {number_of(report['more_printed'], 'line')} more"
    if report["library"]:
        names = ", ".join(report["library"])
        yield f"  It is not from scratch: it uses {names}."
    if report["speed"]:
        yield f"  {_speed(report['speed'])}"
    yield from _next(report, part)


def _function(verdict: Mapping[str, Any], texts: Mapping[str, str]) -> Iterator[str]:
    name, cases, wrong = verdict["function"], verdict["cases"], verdict["wrong"]
    if not wrong:
        yield f"  ✓ {name}: all {number_of(cases, 'case')} are right"
        return
    if verdict["kind"] in ("unwritten", "time"):
        yield from _wrapped(f"✗ {name}: {verdict['problem']}", "  ", "    ")
        return
    yield f"  ✗ {name}: {wrong} of {number_of(cases, 'case')} {'is' if wrong == 1 else 'are'} wrong"
    yield from _wrapped(f"{verdict['case']}: {verdict['problem']}", "    ", "      ")
    for mistake in verdict["mistakes"]:
        yield from _wrapped(f"→ {mistake}: {texts[mistake]}", "    ", "      ")
    if verdict["perhaps"]:
        share = f"{verdict['explained']} of the {wrong} wrong cases look like it"
        text = f"→ perhaps {verdict['perhaps']} ({share}): {texts[verdict['perhaps']]}"
        yield from _wrapped(text, "    ", "      ")


def _speed(speed: Mapping[str, Any]) -> str:
    ratio = speed["theirs"] / speed["other"]
    said = f"takes {ratio:.1f} times as long" if ratio >= 1 else f"is {1 / ratio:.1f} times as fast"
    theirs, other = _time(speed["theirs"]), _time(speed["other"])
    return f"speed, {speed['what']}: yours {theirs}, {speed['beside']} {other} (yours {said})"


def _time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _next(report: Mapping[str, Any], part: Part) -> Iterator[str]:
    """What to do from here."""
    if not report["right"]:
        yield f"  A hint: scratchlab exercise hint {report['file']}"
    elif use := part.facts.get("use"):
        yield f"  Train with it: scratchlab exercise use {report['file']} {use}"


def _wrapped(text: str, first: str, others: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )
