"""Chat templates of checkpoints: a stranger's programs, rendered within limits.

jinja's sandbox keeps a template from everything but its own texts. It does not keep it from
counting for hours or from doubling a text forty times, so each line that a template runs is
counted, and while it runs the process may not grow by more than a few hundred megabytes.
"""

from __future__ import annotations

import functools
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from scratchlab.errors import UserError, shortened

MOST_LINES = 200_000
"""Lines of a rendering: a conversation of a thousand messages takes some ten thousand."""
MOST_GROWTH = 256 * 2**20
MOST_CHARACTERS = 10_000_000
FILE_NAME = "<template>"  # what jinja calls a template that is no file


class _TooMuch(Exception):
    """A template has run for too long."""


def render(template: str, **values: Any) -> str:
    """A template's text.

    Raises:
        UserError: it cannot be rendered, refuses the conversation, or takes too much.
    """
    from jinja2 import TemplateError

    try:
        with _limited():
            text = str(_compiled(template).render(**values))
    except (_TooMuch, MemoryError, RecursionError, OverflowError) as error:
        raise UserError("the chat template of the checkpoint loops or grows without end") from error
    except (TemplateError, TypeError, ValueError, LookupError, ArithmeticError) as error:
        problem = f"the chat template of the checkpoint cannot be used: {shortened(str(error))}"
        raise UserError(problem) from error
    if len(text) > MOST_CHARACTERS:
        raise UserError(f"the chat template of the checkpoint makes {len(text):,} characters")
    return text


@functools.cache
def _compiled(template: str) -> Any:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise UserError(f"the chat template of the checkpoint refuses the conversation: {message}")

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    return environment.from_string(template)


@contextmanager
def _limited() -> Iterator[None]:
    """Inside, lines of templates are counted and memory is bounded."""
    left = MOST_LINES

    def line(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise _TooMuch
        return line

    def call(frame: FrameType, event: str, argument: Any) -> Any:
        return line(frame, event, argument) if frame.f_code.co_filename == FILE_NAME else None

    before, limits = sys.gettrace(), resource.getrlimit(resource.RLIMIT_AS)
    grown = _virtual_bytes()
    if grown is not None:
        soft = grown + MOST_GROWTH
        within = [soft, *(n for n in limits if n != resource.RLIM_INFINITY)]
        resource.setrlimit(resource.RLIMIT_AS, (min(within), limits[1]))
    sys.settrace(call)
    try:
        yield
    finally:
        sys.settrace(before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def _virtual_bytes() -> int | None:
    """The address space of this process; None where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
        return int(pages) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return None
