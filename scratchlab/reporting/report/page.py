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
from scratchlab.reporting.compare.tables import (
    Shown,
    as_json,
    costs_table,
    figures_table,
    options_table,
)
from scratchlab.reporting.report import curves
from scratchlab.reporting.report.gathering import Report
from scratchlab.reporting.report.samples import Samples
from scratchlab.reporting.report.words import summary
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
    shown = [
        options_table(found, len(found.differing)),
        without_empty(figures_table(found)),
        costs_table(found),
    ]
    rows = [row.label for row in found.rows]
    return environment.get_template("page.html").render(
        title=", ".join(rows) if len(rows) <= 3 else f"{rows[0]} and {len(rows) - 1} more",
        mark=Markup(MARK),
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=digest,
        data=Markup(inert(data_of(report))),
        report=report,
        summary=summary(found),
        options=shown[0],
        figures=shown[1],
        costs=shown[2],
        curves=curves,
        shown=SHOWN,
        bucket_kinds=bucket_kinds,
        scored=scored,
        command=shlex.join(["scratchlab", *words]),
        version=__version__,
    )


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
    return " · ".join(f"{name} {value}" for name, value in values if value is not None)


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
