"""What the benches beside this file share: options, tables on the screen, and a record of them.

A bench measures under :func:`measuring` and collects tables; each is printed as soon as it is
whole. With ``--record [FOLDER]`` they are written at the end, all at once, to
``FOLDER/bench_NAME.json``, in the form of the other records (``scratchlab/reporting/recorded.py``).
Below each table stands how much of the machine other processes used before and after it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import math
import os
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from scratchlab.commands.recording import take_record
from scratchlab.errors import MissingPackageError, UserError
from scratchlab.reporting.recorded import record_bench
from scratchlab.reporting.tables import meanings
from scratchlab.run.decisions import machine_load
from scratchlab.run.manifest import manifest
from scratchlab.tracking.console import print_table

BUSY = 0.5  # cores in use by other processes from which on nothing is recorded

FEW = 8  # measurements: of fewer than these the ends say more than quartiles
DIGITS = 3  # that are shown of a measurement; a record holds all
WIDTH = 160  # of a table that goes into a file


class Spread:
    """Measurements of one thing, shown as their median and [quartiles], of few [lowest, highest].

    As a number it is its median.
    """

    def __init__(self, values: Iterable[float]) -> None:
        self.values = [float(value) for value in values]  # in the order in which they were made

    def __float__(self) -> float:
        return statistics.median(self.values)

    def __mul__(self, factor: float) -> Spread:
        return Spread(value * factor for value in self.values)

    def rate(self, amount: float) -> Spread:
        """These are seconds: how much of ``amount`` there was in one."""
        return Spread(amount / value for value in self.values)

    @property
    def ends(self) -> tuple[float, float]:
        if len(self.values) < FEW:
            return min(self.values), max(self.values)
        low, _, high = statistics.quantiles(self.values, method="inclusive")
        return low, high

    @property
    def meaning(self) -> str:
        if len(self.values) == 1:
            return ""
        return "[ ] lowest and highest" if len(self.values) < FEW else "[ ] quartiles"

    def __str__(self) -> str:
        shown = [float(self), *(self.ends if len(self.values) > 1 else ())]
        largest = decimals_of(max(map(abs, shown)))
        decimals = max(largest, min(decimals_of(shown[0]), largest + 1))
        middle, *ends = (f"{value:,.{decimals}f}" for value in shown)
        return f"{middle} [{', '.join(ends)}]" if ends else middle


def decimals_of(value: float) -> int:
    """So many that ``DIGITS`` of it are shown."""
    if not value or not math.isfinite(value):
        return 0
    return max(0, DIGITS - 1 - math.floor(math.log10(abs(value))))


class Table:
    """A titled table in the making."""

    def __init__(self, title: str, columns: Sequence[str]) -> None:
        self.title, self.columns = title, columns
        self.rows: list[list[str]] = []
        self.notes: list[str] = []
        self.figures: list[dict[str, Any]] = []
        self._spreads: list[tuple[str, Spread]] = []

    def row(self, name: str, *cells: str | float | Spread | None) -> None:
        """Add a row; the record holds each number exactly, under the texts before the first one.

        None: nothing to be told.
        """
        self.rows.append([name, *map(_shown, cells)])
        named = ", ".join([name, *takewhile(lambda cell: isinstance(cell, str), cells)])
        for column, cell in zip(self.columns[1:], cells, strict=True):
            if cell is None or isinstance(cell, str):
                continue
            if isinstance(cell, Spread):
                self._spreads.append((column, cell))
            values = cell.values if isinstance(cell, Spread) else [float(cell)]
            if all(map(math.isfinite, values)):  # others are no JSON
                about = {"table": self.title, "row": named, "column": column}
                self.figures.append({**about, "value": float(cell), "values": values})

    def as_dict(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in ("title", "columns", "rows", "notes")}

    def meaning(self) -> list[str]:
        """What [ ] means here, and of how many measurements."""
        texts = meanings((column, spread.meaning) for column, spread in self._spreads)
        counts = sorted({len(spread.values) for _, spread in self._spreads})
        if counts:
            of = " to ".join(f"{n:,}" for n in dict.fromkeys((counts[0], counts[-1])))
            texts.append("measured once" if of == "1" else f"medians of {of} measurements")
        return ["; ".join(texts)] if texts else []


def _shown(cell: str | float | Spread | None) -> str:
    if isinstance(cell, int | float):
        return f"{cell:,.{0 if isinstance(cell, int) else decimals_of(cell)}f}"
    return "" if cell is None else str(cell)


class Report:
    """The tables of a bench, which ``description`` tells in a sentence."""

    def __init__(self, description: str) -> None:
        self.description = description
        self.tables: list[Table] = []

    @contextlib.contextmanager
    def table(self, title: str, *columns: str) -> Iterator[Table]:
        """A table, open while it is measured; printed when it is whole."""
        before = machine_load()
        table = Table(title, columns)
        yield table
        load = f"{before} before, {machine_load().others:.1f} after"
        table.notes = [*table.meaning(), *table.notes, load]
        self.tables.append(table)
        wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDTH
        print_table(title, columns, table.rows, notes=table.notes, width=wide)
        sys.stdout.flush()

    def record(
        self, into: Path, words: Sequence[str], session: Mapping[str, Any], peers: Sequence[str]
    ) -> Path:
        """Write the tables; ``words`` are the command's, ``session`` is the manifest."""
        script, beside = Path(sys.argv[0]), installed(peers)
        named = ", ".join(f"{name} {version}" for name, version in beside.items())
        return record_bench(
            into,
            script.stem,
            self.description.rstrip(".") + (f" ({named})" if named else ""),
            ["python", f"scripts/{script.name}", *words],
            [table.as_dict() for table in self.tables],
            [figure for table in self.tables for figure in table.figures],
            {**session, "packages": {**session["packages"], **beside}},
        )


def bench_parser(doc: str | None, *, threads: bool = True) -> argparse.ArgumentParser:
    """The options that benches have in common; ``doc`` is that of the bench."""
    parser = argparse.ArgumentParser(description=_first_line(doc), allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: only whether it runs")
    written = "write the tables to FOLDER/NAME.json (default docs/results)"
    parser.add_argument("--record", nargs="?", metavar="FOLDER", help=written)
    if threads:
        parser.add_argument("--threads", type=int, help="default: as many as torch chooses")
    return parser


@contextlib.contextmanager
def measuring(
    parser: argparse.ArgumentParser, peers: Sequence[str] = (), *, elsewhere: bool = False
) -> Iterator[tuple[argparse.Namespace, Report]]:
    """The options of the command, and a report; the record is written when all went well.

    ``peers`` are the packages beside which is measured: the record names their versions.
    ``elsewhere``: the work is done in processes whose threads are not those of this one, so that
    the record tells none. A mistake in the command, or a package that is missing, ends it with a
    line and exit code 2.
    """
    try:
        words, into = take_record(sys.argv[1:])
        options = parser.parse_args(words)
        if into is not None:
            _require_place(into, options)
        threads, torch = getattr(options, "threads", None), sys.modules.get("torch")
        if torch is not None and isinstance(threads, int):
            torch.set_num_threads(threads)
        session, report = manifest([]), Report(str(parser.description))
        if elsewhere:
            for name in ("torch_threads", "blas_threads"):
                session["machine"].pop(name, None)
        yield options, report
        if into is not None:
            print(f"recorded: {report.record(into, words, session, peers)}", file=sys.stderr)
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package == "scratchlab":
            raise
        _end(MissingPackageError(package, "this bench"))
    except UserError as error:
        _end(error)


def data_file(name: str) -> Path:
    """A file below $SCRATCHLAB_DATA; UserError if it is not there."""
    path = Path(os.environ.get("SCRATCHLAB_DATA", ".")) / name
    if not path.is_file():
        raise UserError(
            f"there is no {path}",
            "Set SCRATCHLAB_DATA to the folder of the data files; --quick needs none.",
        )
    return path


def documentation() -> list[list[str]]:
    """Lines of Python's documentation as words: a text where there are no files."""
    from pydoc_data.topics import topics

    lines = (line.split() for key in sorted(topics) for line in topics[key].splitlines())
    return [line for line in lines if line]


def installed(packages: Sequence[str]) -> dict[str, str]:
    """The versions of those that are there."""
    found = {}
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _require_place(into: Path, options: argparse.Namespace) -> None:
    """UserError if nothing can or should be recorded there, before anything is measured."""
    if options.quick:
        raise UserError("--record: what --quick measures is not worth keeping; leave one out")
    if getattr(options, "no_peer", False):
        raise UserError("--record: a record has the peer beside it; leave --no-peer out")
    there = next(p for p in (into, *into.parents) if p.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise UserError(f"--record: {there} is no folder that can be written to")
    load = machine_load()
    if load.others > BUSY:
        raise UserError(f"--record: the machine is not idle ({load})", "Wait until it is.")


def _end(error: UserError) -> None:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)


def _first_line(doc: str | None) -> str:
    return " ".join((doc or "").partition("\n\n")[0].split())
