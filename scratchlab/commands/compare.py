"""``scratchlab compare``: runs beside each other, example by example."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scratchlab.errors import UserError, shortened, suggest
from scratchlab.regular_files import expanded

HELP = """
usage: scratchlab compare RUN RUN … [metric=NAME,NAME] [base=RUN] [test=NAME] [--out PATH]

RUN is a run folder, NAME below outputs, an evaluation (RUN/evaluations/TIME), or a suite or sweep,
of which all runs are taken. Says what is shown to be better, then what differs in their
configurations, every metric with its interval, and the paired difference to the first with interval
and p; what they cost, and which lie on the Pareto front. Runs that differ in seed or fold alone
share a row: what seeds, folds and examples leave open stands apart. No model is loaded: a run's
outputs/*.jsonl are read, and refused if they were changed. A run of before has none: scratchlab
eval RUN makes them.

  metric=bleu,chrf     these metrics only
  base=RUN             what all others are compared with (default: the first)
  test=randomisation   p of BLEU, chrF and ROUGE by approximate randomisation (the default) or the
                       paired bootstrap (test=bootstrap), both as sacrebleu does them. Others have
                       theirs: McNemar's exact test of shares, the bootstrap of other means, a
                       permutation of the seeds where rows have several
  --out PATH           write PATH.csv, .md or .json, or into a folder all three
"""
KEYS = ("metric", "base", "test", "output_dir")
TESTS = ("randomisation", "bootstrap")


@dataclass(frozen=True)
class Asked:
    """The words of a command: runs, options by name, and where to write."""

    runs: list[str]
    options: dict[str, str]
    out: list[Path]


def main(arguments: Sequence[str]) -> int:
    """Entry of the verb."""
    if any(word in ("-h", "--help") for word in arguments):
        print(HELP.strip())
        return 0
    asked = read_words(arguments, KEYS, HELP)
    test = asked.options.get("test", TESTS[0])
    if test not in TESTS:
        raise UserError(f"test={shortened(test)}: there is no such test", suggest(test, TESTS))
    from scratchlab.reporting.compare.comparing import compare
    from scratchlab.reporting.compare.runs import base_of, rows_of
    from scratchlab.reporting.compare.tables import check_path, tables, write
    from scratchlab.reporting.compare.words import summary
    from scratchlab.tracking.console import print_table

    for path in asked.out:
        check_path(path)
    output_dir = asked.options.get("output_dir", "outputs")
    rows, base = base_of(rows_of(asked.runs, output_dir), asked.options.get("base"), output_dir)
    if len(rows) < 2:
        raise UserError(
            f"there is nothing to compare {rows[0].label} with", "Name a second run, or a suite."
        )
    metrics = [m for m in asked.options.get("metric", "").strip("[]").split(",") if m.strip()]
    found = compare(rows, base, metrics=[m.strip() for m in metrics], test=test)
    print("\n".join(summary(found)))
    for title, columns, lines, notes in tables(found):
        print_table(title, columns, lines, notes=notes)
    for path in asked.out:
        for written in write(found, path):
            print(f"written: {written}", file=sys.stderr)
    return 0


def read_words(arguments: Sequence[str], keys: Sequence[str], usage: str) -> Asked:
    """Runs, ``KEY=VALUE`` of these keys, and ``--out PATH``, in any order."""
    runs: list[str] = []
    options: dict[str, str] = {}
    out: list[Path] = []
    words = iter(arguments)
    for word in words:
        key, equals, value = word.partition("=")
        if word == "--out" or key == "--out":
            value = value if equals else next(words, "")
            if not value:
                raise UserError("--out needs a path", "For example --out comparison.md")
            out.append(expanded(value))
        elif word.startswith("-"):
            raise UserError(f"unknown flag {shortened(word)}", suggest(word, ("--out", "--help")))
        elif equals and key in keys:
            options[key] = value
        elif equals and not _exists(word):
            raise UserError(f"{key}: no such option", suggest(key, keys, "Options"))
        elif not word.strip():
            raise UserError("a run's name is empty", "Is a variable of the shell not set?")
        else:
            runs.append(word)
    if not runs:
        print(usage.strip())
        raise UserError("which runs?", "For example outputs/NAME/latest; see the text above.")
    return Asked(runs, options, out)


def _exists(path: str) -> bool:
    try:
        return expanded(path).exists()
    except (OSError, ValueError):
        return False
