"""The page: one file of HTML with its style, script, data and pictures inside."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scratchlab import __version__
from scratchlab.errors import UserError
from scratchlab.reporting.compare.runs import rows_of
from scratchlab.reporting.compare.tables import (
    Shown,
    as_json,
    costs_table,
    figures_table,
    options_of,
    parted_options,
)
from scratchlab.reporting.compare.words import summary
from scratchlab.reporting.report import curves
from scratchlab.reporting.report.gathering import Made, Report, gather
from scratchlab.reporting.report.samples import Samples
from scratchlab.run.atomic import write_bytes

NAME = "report.html"
MARK = '<meta name="generator" content="scratchlab report">'
HERE = Path(__file__).parent
SHOWN = 8  # examples of each file that are seen without scripts
# A text cannot end the element that it lies in, nor begin another.
INERT = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def check_target(path: Path) -> None:
    """UserError unless ``path`` is free, or holds a report that is made anew."""
    if path.is_symlink():
        raise UserError(f"{path} is a link, and nothing is written through links", "Name a file.")
    if not path.exists():
        return
    if not path.is_file():
        raise UserError(f"{path} is no regular file", "Name a file, for example report.html.")
    with path.open("rb") as file:
        start = file.read(4096)
    if MARK.encode() not in start:
        raise UserError(
            f"{path} is no report of scratchlab, and is not overwritten",
            "Name another file with out=PATH, or remove it.",
        )


def write_page(report: Report, path: Path, words: Sequence[str]) -> None:
    """Write the page in one go; what stood there before must be a report."""
    check_target(path)
    # A text of a model may hold halves of characters that no file can have.
    write_bytes(path, page(report, words).encode("utf-8", "replace"))


def write_study_page(folder: Path, best: str) -> Path:
    """The page of a sweep: its runs beside that of its best trial, in its folder.

    Raises:
        UserError: outputs were changed, or runs cannot be compared.
    """
    check_target(folder / NAME)
    rows = rows_of([str(folder)])
    base = next((row for row in rows if best in (run.path.name for run in row.runs)), rows[0])
    words = ["report", str(folder), f"base={base.label}"]
    write_page(gather(rows, base, words[1:2]), folder / NAME, words)
    return folder / NAME


def page(report: Report, words: Sequence[str]) -> str:
    """The whole page. ``words`` are the command that makes it again."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (HERE / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    found = report.found
    shared, own = parted_options(found)
    rows = [row.label for row in found.rows]
    names = ", ".join(rows) if len(rows) <= 3 else f"{rows[0]} and {len(rows) - 1} more"
    return environment.get_template("page.html").render(
        title=report.title or names,
        mark=Markup(MARK),
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=digest,
        data=Markup(inert(data_of(report))),
        report=report,
        made=[(row, list(runs)) for row, runs in itertools.groupby(report.runs, _row_of)],
        summary=summary(found, report.trials),
        options=options_of(found, shared),
        own_options=options_of(found, own),
        figures=without_empty(figures_table(found)),
        costs=costs_table(found),
        curves=curves,
        drawn={line.place for chart in report.charts for line in chart.lines},
        shown=SHOWN,
        bucket_kinds=bucket_kinds,
        scored=scored,
        command=shlex.join(["scratchlab", *words]),
        version=__version__,
    )


def _row_of(made: Made) -> str:
    return made.row


def without_empty(table: Shown) -> Shown:
    """A table without the columns in which nothing stands, the metric in every row."""
    kept = [i for i in range(len(table.columns)) if any(row[i] for row in table.rows)]
    rows = [[row[i] for i in kept] for row in table.rows]
    for before, row in itertools.pairwise(rows):
        row[0] = row[0] or before[0]
    return Shown(table.title, [table.columns[i] for i in kept], rows, table.notes)


def bucket_kinds(samples: Samples) -> list[str]:
    """By what the examples of a file are parted."""
    return list(dict.fromkeys(bucket.kind for bucket in samples.buckets))


def scored(samples: Samples, example: dict[str, Any], place: int) -> str:
    """The scores of an example in a row, in words."""
    values = zip(samples.scores, example["scores"][place], strict=True)
    return " · ".join(said_of(name, value) for name, value in values if value is not None)


def said_of(name: str, value: float) -> str:
    """A score in words."""
    return f"{name} {value:g}" if name != "right" else "right" if value else "wrong"


def data_of(report: Report) -> dict[str, Any]:
    """What the page's script draws from, and a program may read."""
    return {
        "comparison": as_json(report.found),
        "charts": [chart.as_json() for chart in report.charts],
        "samples": [one.as_json() for one in report.samples],
    }


def inert(value: Any) -> str:
    """JSON that may stand in a page."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character, written in INERT.items():
        text = text.replace(character, written)
    return text
