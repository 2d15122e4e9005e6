"""What an exercise is.

Its functions are looked at through *cases*. A case calls them with inputs of its own and says what
is to be seen: results, gradients, what became of an argument. The same case is shown the functions
of a person, those of the reference, and plain ones with known mistakes in them; whatever a person's
functions do wrong in just the way of a mistake is called by its name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

Functions = Mapping[str, Callable[..., Any]]
"""The functions of an exercise by name: a person's, the reference's, or mistaken ones."""

Seen = dict[str, Any]
"""What a case shows, by the words for it: tensors, arrays, numbers, texts, lists of these."""


class Complaint(Exception):
    """A function did what no value can show: it changed an argument, or returned one thing too
    few. Worded for the person."""


@dataclass(frozen=True)
class Case:
    """``observe`` calls ``function`` (and others, if it must) and says what is seen.

    ``name`` says in a few words what the inputs are like. Numbers may differ by ``tolerance`` times
    the largest of their tensor.
    """

    function: str
    name: str
    observe: Callable[[Functions], Seen]
    tolerance: float = 1e-8


class Mistake(NamedTuple):
    """A wrong way that people take in ``function``: its name, and what is wrong and would be right,
    in a sentence or two."""

    name: str
    function: str
    text: str


class Timed(NamedTuple):
    """What is measured of solutions that are right: ``call`` with inputs of the size ``what``."""

    what: str
    call: Callable[[Functions], Any]


class Replacement(NamedTuple):
    """``getattr(owner, name)`` of the program makes room for ``value``."""

    owner: Any
    name: str
    value: Any


class Exercise(ABC):
    """Registered as ``@register("exercise", NAME, paper=…, with_torch=…, use=…)``.

    ``paper``: where the formula stands. ``with_torch``: its functions take torch's tensors, else
    NumPy's arrays and Python's own types, and checking imports no torch. ``use``: the words of a
    command that trains with it; in its place ``unused`` says why there is none.

    The docstring's first line is what ``exercise list`` shows.
    """

    registered_name: ClassVar[str] = ""
    registered_facts: ClassVar[dict[str, Any]] = {}

    START: ClassVar[str]  # the file that a person fills in; its functions raise NotImplementedError
    HINTS: ClassVar[tuple[str, ...]]  # from a nudge to nearly all of it
    MISTAKES: ClassVar[tuple[Mistake, ...]]
    LIBRARY: ClassVar[tuple[str, ...]] = ()  # what would do the whole work, so is not from scratch
    BESIDE: ClassVar[str] = "the reference"  # what speed is measured against, in words

    @abstractmethod
    def reference(self) -> Functions:
        """The right functions, from another source than this project wherever there is one."""

    @abstractmethod
    def plain(self, wrong: frozenset[str]) -> Functions:
        """Functions written out, with the mistakes of these names in them; right without any."""

    @abstractmethod
    def cases(self) -> list[Case]:
        """Ordinary inputs first, then awkward ones; the same at each call."""

    @abstractmethod
    def timed(self) -> Timed:
        """What speed is measured with."""

    def fast(self) -> Functions:
        """What speed is measured against, where the reference is exact but slow."""
        return self.reference()

    # ---- in the place of a built-in part

    def refusal(self, config: Mapping[str, Any]) -> str | None:
        """Why a run of this configuration would not use a solution, or not as it is configured."""
        return None

    def replacements(self, functions: Functions) -> Iterator[Replacement]:
        """What of the program a solution stands in for."""
        raise NotImplementedError


def unlike(what: str, wanted: Sequence[str], found: Any) -> str | None:
    """A refusal, unless the option ``what`` is one of ``wanted``."""
    if found in wanted:
        return None
    words = " or ".join(f"{what}={value}" for value in wanted)
    return f"it is used with {words}" + ("" if found is None else f", not {what}={found}")
