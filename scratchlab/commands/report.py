"""``scratchlab report``: runs beside each other as a page to open, print and pass on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from scratchlab.commands.compare import TESTS, read_words
from scratchlab.errors import UserError, shortened, suggest
from scratchlab.regular_files import expanded

HELP = """
usage: scratchlab report RUN [RUN …] [out=PATH] [metric=NAME,NAME] [base=RUN] [test=NAME]

RUN is a run folder, NAME below outputs, an evaluation (RUN/evaluations/TIME), or a suite or sweep,
of which all runs are taken; folders of several machines can be reported together. Writes one HTML
file that needs no network and no server: what differs, in words and in tables, the paired
differences, curves, the examples that runs disagree most about, pictures, configurations, machine,
hashes and commands. Tables, curves, pictures and the first examples are seen with scripts off too.

  out=PATH             the file, or the folder that it is written into (default: report.html in the
                       folder of the first that is named). Only a report is overwritten
  metric=bleu,chrf     these metrics only
  base=RUN             what all others are compared with (default: the first)
  test=randomisation   or bootstrap, as scratchlab compare has them
"""
KEYS = ("out", "metric", "base", "test", "output_dir")


def main(arguments: Sequence[str]) -> int:
    """Entry of the verb."""
    if any(word in ("-h", "--help") for word in arguments):
        print(HELP.strip())
        return 0
    asked = read_words(arguments, KEYS, HELP)
    words, options = asked.runs, asked.options
    outs = [options["out"]] if "out" in options else []
    outs += map(str, asked.out)
    if len(outs) > 1 or "" in outs:
        raise UserError("out=PATH names one file", "For example out=report.html")
    test = options.get("test", TESTS[0])
    if test not in TESTS:
        raise UserError(f"test={shortened(test)}: there is no such test", suggest(test, TESTS))
    from scratchlab.reporting.compare.runs import base_of, rows_of
    from scratchlab.reporting.report.gathering import gather
    from scratchlab.reporting.report.page import check_target, write_page

    output_dir = options.get("output_dir", "outputs")
    rows, base = base_of(rows_of(words, output_dir), options.get("base"), output_dir)
    path = target(words[0], outs[0] if outs else None, output_dir)
    check_target(path)
    named = [m.strip() for m in options.get("metric", "").strip("[]").split(",") if m.strip()]
    report = gather(rows, base, folders(words, output_dir), metrics=named, test=test)
    write_page(report, path, ["report", *arguments])
    print(f"written: {path} ({path.stat().st_size / 1e6:.1f} MB)", file=sys.stderr)
    for what, left in (("curves", report.charts_left), ("pictures", report.pictures_left)):
        if left:
            print(f"left out, for want of room: {len(left):,} {what}", file=sys.stderr)
    return 0


def folders(words: Sequence[str], output_dir: str) -> list[str]:
    """What is named, as folders: a name may be one below ``output_dir``."""
    both = ((expanded(word), expanded(output_dir) / word) for word in words)
    return [str(next((p for p in pair if p.exists()), pair[0])) for pair in both]


def target(word: str, out: str | None, output_dir: str) -> Path:
    """Where the page is written."""
    from scratchlab.reporting.report.gathering import studies_of
    from scratchlab.reporting.report.page import NAME
    from scratchlab.run.folder import find_run

    if out is not None:
        path = expanded(out)
        return path / NAME if path.is_dir() and not path.is_symlink() else path
    study = studies_of(folders([word], output_dir))
    return (study[0].resolve() if study else find_run(word, output_dir)) / NAME
