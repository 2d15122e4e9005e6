"""Numbers as people write them: 1,234.5 and 1.234,5, $1000, 3.5%, −3.

A column is read in one way from top to bottom. Which one is found in its cells: one that can be
read in one way only decides for those that could be read in two (1,000 is a thousand beside 2.5,
and one beside 2,5). Where nothing decides, a person has to.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

MINUS = str.maketrans(dict.fromkeys("\u2212\u2013\ufe63\uff0d", "-"))
CURRENCIES = "$€£¥₹₽₩₺₴₫₦¢₪฿₱₡₲₵₸₼₾₿"
SPACES = " \u00a0\u2009\u202f'’"  # between groups of three digits, besides , or .
# A sign, a mark, a sign behind the mark, digits and what parts them, a mark.
SHAPE = re.compile(rf"([+-]?)\s*([{CURRENCIES}]?)\s*([+-]?)\s*([.,]?\d.*?)\s*([{CURRENCIES}%‰٪]?)")


class Unclear(Exception):
    """A column that can be read in more than one way: a cell that shows it, and what to do."""

    def __init__(self, cell: str, problem: str, hint: str) -> None:
        super().__init__(problem)
        self.cell, self.problem, self.hint = cell, problem, hint


@dataclass(frozen=True)
class Reading:
    """How the numbers of a column are written: the decimal sign, and a mark such as $ or %.

    A mark changes no value: 3.5% is 3.5.
    """

    decimal: str = "."
    mark: str = ""

    def number(self, cell: str) -> float | None:
        """What a cell is worth; None if it is no finite number."""
        found = _plain(cell) if self.decimal == "." else None
        return _written(cell, self.decimal)[0] if found is None else found

    def __str__(self) -> str:
        parts = ["decimal commas"] if self.decimal == "," else []
        parts += [f"the mark {self.mark}"] if self.mark else []
        return " and ".join(parts)


def is_number(cell: str) -> bool:
    """Whether a cell can be read as a number in any way."""
    return any(Reading(decimal).number(cell) is not None for decimal in ".,")


def find_reading(cells: Iterable[str], decimal: str | None = None) -> Reading:
    """The one way in which all these numbers are read; ``decimal`` decides where they do not.

    Raises:
        Unclear: the cells contradict each other, or each could be read in two ways.
    """
    marks: dict[str, str] = {}
    proofs: dict[str, str] = {}  # of each decimal sign, a cell that can have no other
    open_cell = None
    for cell in cells:
        point, comma = Reading(".").number(cell), Reading(",").number(cell)
        marks.setdefault(_written(cell, "," if point is None else ".")[1], cell)
        if point is None or comma is None:
            proofs.setdefault("," if point is None else ".", cell)
        elif point != comma and "," in cell:
            open_cell = open_cell or cell
    if len(marks) > 1:
        first, second = sorted(marks.values())[:2]
        raise Unclear(
            second,
            f"{second!r} stands in a column that also holds {first!r}",
            "Write all its numbers with the same mark, or all without.",
        )
    if len(proofs) > 1:
        raise Unclear(
            proofs[","],
            f"{proofs[',']!r} has a decimal comma, and {proofs['.']!r} in the same column a point",
            "Write them in one way.",
        )
    if decimal is None and not proofs and open_cell is not None:
        raise Unclear(
            open_cell,
            f"{open_cell!r} can be read as {Reading('.').number(open_cell):g} or as "
            f"{Reading(',').number(open_cell):g}",
            "Say what parts decimals: dataset.decimal=point or dataset.decimal=comma.",
        )
    return Reading(next(iter(proofs), decimal or "."), next(iter(marks), ""))


def values_of(cells: Collection[str], reading: Reading) -> list[float | None]:
    """What each cell is worth; None where it is no number."""
    if reading.decimal == "." and (found := plain_values(cells)) is not None:
        return list(found)
    return [reading.number(cell) for cell in cells]


def plain_values(cells: Collection[str]) -> list[float] | None:
    """The values of cells that are all written as programs write numbers; None of others."""
    try:
        found = list(map(float, cells))
    except ValueError:
        return None
    return found if all(map(math.isfinite, found)) and "_" not in "".join(cells) else None


def _plain(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in cell else None


@functools.lru_cache(1 << 12)
def _written(cell: str, decimal: str) -> tuple[float | None, str]:
    """The value and the mark of a cell; (None, "") if it is no number."""
    text = cell.translate(MINUS).strip()
    negative = text.startswith("(") and text.endswith(")")  # as accountants write it
    found = SHAPE.fullmatch(text[1:-1].strip() if negative else text)
    if found is None:
        return None, ""
    sign, before, inner, body, after = found.groups()
    if (before and after) or bool(sign) + bool(inner) + negative > 1:
        return None, ""
    digits = _pattern(decimal).fullmatch(body)
    if digits is None:
        return None, ""
    whole, part, power = (group or "" for group in digits.group("whole", "part", "power"))
    value = float(f"{re.sub(r'[^0-9]', '', whole) or 0}.{part or 0}{power}")
    if not math.isfinite(value):
        return None, ""
    return (-value if "-" in (sign, inner) or negative else value), before or after


@functools.cache
def _pattern(decimal: str) -> re.Pattern[str]:
    """Digits in groups or not, decimals, a power of ten."""
    other = "," if decimal == "." else "."
    threes = (
        rf"[1-9][0-9]{{0,2}}(?P<by>[{re.escape(other + SPACES)}])[0-9]{{3}}(?:(?P=by)[0-9]{{3}})*"
    )
    indian = r"[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}|" if decimal == "." else ""
    return re.compile(
        rf"(?P<whole>{threes}|{indian}[0-9]+)?(?:{re.escape(decimal)}(?P<part>[0-9]*))?"
        r"(?P<power>[eE][+-]?[0-9]+)?"
    )
