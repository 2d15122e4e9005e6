"""What a person sees of a run: a progress bar in a terminal, a line now and then elsewhere.

Progress and messages go to standard error, finished tables to standard output, so that the output
of a command can be piped while its progress stays visible.
"""

from __future__ import annotations

import math
import re
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scratchlab.formatting import format_number
from scratchlab.registry import option, register
from scratchlab.tracking.contract import RunInfo, Tracker
from scratchlab.tracking.terminal import rich_console

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.progress import Progress, TaskID

# A bar that is drawn more often than this costs more than it tells.
SECONDS_BETWEEN_DRAWINGS = 0.2
LINE = 140  # characters of a line of progress at most
FEW_COLUMNS = 5  # as many of a table are always shown
# Logged for the curves; on a line they would only push the loss out of sight.
HIDDEN = ("epoch", "seconds", "train/objective", "gradient_norm")


@register("tracker", "console")
class Console(Tracker):
    """Show epoch, loss, tokens/s and the time left; print the result tables."""

    @dataclass(frozen=True)
    class Config:
        bar: str = option(
            "auto",
            "draw a progress bar: auto (only in a terminal), always or never",
            choices=("auto", "always", "never"),
        )
        interval: float = option(
            10.0, "seconds between two lines of progress where no bar is drawn", min=0.0
        )

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._errors: RichConsole | None = None
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._total: int | None = None
        self._started = (0, 0.0)  # step and clock of the first sign of life, for the time left
        self._last_line = -math.inf
        self._last_drawing = -math.inf
        self._latest: dict[str, float] = {}  # of the last log, shown until the next one
        self._targets = "targets/s"

    def start(self, run: RunInfo) -> None:
        self._errors = rich_console(stderr=True)
        self._total = run.total_steps
        self._started = (run.resumed_from, time.monotonic())
        self._last_line = time.monotonic() if self.config.interval else -math.inf
        self._targets = _name_of_targets(run.config)
        again = f" goes on from step {run.resumed_from:,}" if run.resumed_from else ""
        self.message(f"Run {run.name}/{run.run_id}{again} in {run.folder}")
        if self.config.bar == "always" or (
            self.config.bar == "auto"
            and self._errors.is_terminal
            and not self._errors.is_dumb_terminal
        ):
            self._open_bar(self._errors, run.resumed_from)

    def progress(self, step: int, epoch: float, scalars: Mapping[str, float]) -> None:
        now = time.monotonic()
        if self._progress is not None and self._task is not None:
            values = {**self._latest, **scalars}
            text = "  ".join([f"epoch {epoch:.2f}", *self._brief(values)])
            self._progress.update(self._task, completed=step, status=text)
            if now - self._last_drawing >= SECONDS_BETWEEN_DRAWINGS:
                self._last_drawing = now
                self._progress.refresh()
        elif now - self._last_line >= self.config.interval:
            self._last_line = now
            self._line(step, {**self._latest, "epoch": epoch, **scalars}, now)

    def log(self, step: int, scalars: Mapping[str, float], timing: Mapping[str, float]) -> None:
        """Lines for what is worth keeping: every validation; plain training only without a bar."""
        now = time.monotonic()
        self._latest.update((n, v) for n, v in scalars.items() if n in ("train/loss", "lr"))
        validation = any(name.startswith(("val", "test")) for name in scalars)
        due = self._progress is None and now - self._last_line >= self.config.interval
        if validation or due:
            self._last_line = now
            self._line(step, {**scalars, **timing}, now)

    def message(self, text: str) -> None:
        if self._errors is None:  # before the training begins
            self._errors = rich_console(stderr=True)
        self._errors.print(text, markup=False, soft_wrap=True)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        self._close_bar()
        print_table(name, columns, rows)

    def remark(self, text: str) -> None:
        rich_console(file=sys.stdout).print(text, markup=False, soft_wrap=True)

    def finish(self, status: str) -> None:
        self._close_bar()
        if self._errors is not None:
            self.message(f"Run {status}.")

    def _open_bar(self, console: RichConsole, step: int) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            TextColumn("[bold]step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=console,
            # Drawn from `progress` only: no thread beside the training, nothing to fork wrongly.
            auto_refresh=False,
            redirect_stdout=False,  # tables on standard output must stay there
            redirect_stderr=True,
        )
        self._task = self._progress.add_task("", total=self._total, completed=step, status="")
        self._progress.start()

    def _close_bar(self) -> None:
        if self._progress is not None:
            self._progress.refresh()
            self._progress.stop()
        self._progress = self._task = None

    def _line(self, step: int, values: Mapping[str, float], now: float) -> None:
        of_total = f"/{self._total:,}" if self._total else ""
        fields = [f"step {step:,}{of_total}"]
        if "epoch" in values:
            fields.append(f"epoch {values['epoch']:.2f}")
        fields += self._brief(values)
        end = []
        first, clock = self._started
        if self._total and step > first and now > clock:
            left = (self._total - step) * (now - clock) / (step - first)
            end.append(f"ETA {_duration(left)}")
        self.message(fitting(fields, end))

    def _brief(self, values: Mapping[str, float]) -> list[str]:
        """``name value`` for each scalar that is worth its place on a line."""
        names = {"targets_per_second": self._targets, "tokens_per_second": "tokens/s"}
        return [
            f"{names.get(name, name.removeprefix('train/'))} {format_number(value)}"
            for name, value in values.items()
            if name not in HIDDEN
        ]


def fitting(fields: Sequence[str], end: Sequence[str], room: int = LINE) -> str:
    """Fields on one line, and how many more there are where not all find room."""
    for shown in range(len(fields), 0, -1):
        more = [f"(+{len(fields) - shown} in metrics.jsonl)"] if shown < len(fields) else []
        line = "  ".join([*fields[:shown], *more, *end])
        if len(line) <= room:
            break
    return line


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    file: Any = None,
    notes: Sequence[str] = (),
    width: int | None = None,
    borders: bool = True,
) -> None:
    """A table on standard output (or ``file``); columns that hold only numbers stand right.

    ``notes`` stand below it, each a line of its own. ``width``: columns, if not those of the
    terminal (or of the variable ``COLUMNS``).

    Where there is no room for it, cells are folded between words; a table of a single row that
    would not fit even so stands upright, a column to a line. Of many columns, those that are too
    much for several rows are named below the table.
    """
    from rich.text import Text

    console = rich_console(file=file if file is not None else sys.stdout, width=width)
    if title:  # a line of its own: as a part of the table it would be folded to its width
        console.print(Text(title, style="bold"), soft_wrap=True)
    _draw_table(console, columns, rows, borders)
    for note in notes:
        console.print(Text(note), soft_wrap=True)


def _draw_table(
    console: RichConsole,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    borders: bool,
) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    texts = [[_cell(value) for value in row] for row in rows]
    widths = column_widths(columns, texts, console.width)
    if widths is None and len(texts) == 1:
        table = Table(show_header=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for column, text in zip(columns, texts[0], strict=True):
            table.add_row(Text(column), Text(text))
        console.print(table)
        return
    shown = len(columns)
    while widths is None and shown > FEW_COLUMNS:
        shown -= 1
        widths = column_widths(columns[:shown], [row[:shown] for row in texts], console.width)
    if widths is None:
        _draw_records(console, columns, texts)
        return
    table = Table(box=box.HEAVY_HEAD if borders else box.SIMPLE_HEAD)
    for index, column in enumerate(columns[:shown]):
        numeric = bool(rows) and all(_numeric(row[index]) for row in texts)
        table.add_column(
            Text(column),
            justify="right" if numeric else "left",
            overflow="fold",
            width=None if widths is None else widths[index],
        )
    for row in texts:
        table.add_row(*(Text(cell) for cell in row[:shown]))
    console.print(table)
    if shown < len(columns):
        left_out = ", ".join(columns[shown:])
        console.print(Text(f"too wide to show (COLUMNS=200 shows more): {left_out}"))


def _draw_records(
    console: RichConsole, columns: Sequence[str], texts: Sequence[Sequence[str]]
) -> None:
    """Rows below each other, for what no table has room for: no word is broken."""
    from rich.text import Text

    for first, *others in texts:
        console.print(Text(first, style="bold"), soft_wrap=True)
        for column, text in zip(columns[1:], others, strict=True):
            if text:
                head, room = f"  {column}: ", max(20, console.width - 4)
                lines = textwrap.wrap(
                    head + text, room, subsequent_indent="    ", break_long_words=False
                )
                for line in lines:
                    console.print(Text(line), soft_wrap=True)


def column_widths(
    columns: Sequence[str], texts: Sequence[Sequence[str]], width: int
) -> list[int] | None:
    """The width of each column's text so that a table has ``width`` and no word is broken.

    Every column gets room for its longest word; what is left goes to those that ask for least.
    None: the words alone do not fit.
    """
    from rich.cells import cell_len

    cells = [[column, *(row[i] for row in texts)] for i, column in enumerate(columns)]
    wanted = [max(cell_len(line) for c in cell for line in c.split("\n")) for cell in cells]
    least = [max((cell_len(word) for c in cell for word in c.split()), default=0) for cell in cells]
    room = width - 3 * len(columns) - 1  # a line and a space on both sides of each
    found, left = list(least), room - sum(least)
    if left < 0:
        return None
    missing = sorted(range(len(columns)), key=lambda i: wanted[i] - least[i])
    for place, i in enumerate(missing):
        more = min(wanted[i] - least[i], left // (len(missing) - place))
        found[i] += more
        left -= more
    return found


def _name_of_targets(config: Mapping[str, Any]) -> str:
    """What the speed counts: tokens where text is generated, else the task's targets."""
    task = config.get("task")
    name = task.get("name") if isinstance(task, Mapping) else None
    return "tokens/s" if name in ("seq2seq", "language_modeling") else "targets/s"


def _duration(seconds: float) -> str:
    hours, rest = divmod(max(0, round(seconds)), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return format_number(value) if isinstance(value, float) else str(value)


def _numeric(text: str) -> bool:
    """Whether a cell holds a number, perhaps with thousands, a spread or a unit sign after it."""
    return not text or (
        text.lstrip("+-−")[:1].isdigit() and " " not in re.split(r"[±\[]", text)[0].strip()
    )
