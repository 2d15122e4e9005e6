"""The consoles that tables, messages and progress bars are written on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

LEAST_COLUMNS = 20
USUAL_COLUMNS = 80


def rich_console(**options: Any) -> Console:
    """A console of rich that prints at any width and leaves the process alone if nobody reads.

    Rich itself ends the process at a broken pipe, and prints nothing where ``COLUMNS`` is 0.
    """
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise  # the error that is being handled

    console = Plain(highlight=False, **options)
    if console.width < LEAST_COLUMNS:
        console.width = USUAL_COLUMNS
    return console
