"""What a sweep varies, read from Hydra's sweep syntax.

``key=a,b`` and ``choice(a,b)`` are lists, ``range(start,stop,step)`` leaves out its stop,
``interval(low,high)`` is continuous (``int(interval(…))``, or an option that is declared whole:
whole numbers, both ends included), ``tag(log, interval(…))`` searches its logarithm.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    QuotedString,
    RangeSweep,
    Transformer,
    ValueType,
)

from scratchlab.config.overrides import NO_WORD, read_override
from scratchlab.errors import Fault, shortened

MOST_VALUES = 1000
"""Values of one key; each is checked before anything runs."""
MOST_TRIALS = 10_000

Value = str | int | float | bool | None
Point = dict[str, Value]


@dataclass(frozen=True)
class Dimension:
    """One key and the values that it may take: listed, with a step, or anything in between."""

    key: str
    values: tuple[Value, ...] = ()
    words: tuple[str, ...] = ()  # the values as a command writes them
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    integer: bool = False
    log: bool = False
    kind: str = "choice"  # choice, range or interval

    @property
    def finite(self) -> bool:
        return self.kind != "interval"

    def suggest(self, trial: Any) -> Value:
        """The value of an Optuna trial (drawn, or fixed when it was enqueued)."""
        value: Value
        if self.kind == "choice":
            value = trial.suggest_categorical(self.key, list(self.values))
        elif self.integer:
            low, high = int(self.low), int(self.high)
            step = 1 if self.step is None else int(self.step)
            value = trial.suggest_int(self.key, low, high, step=step, log=self.log)
        else:
            value = trial.suggest_float(self.key, self.low, self.high, step=self.step, log=self.log)
        return value

    def word(self, value: Value) -> str:
        """The override that sets the key to ``value``."""
        for known, word in zip(self.values, self.words, strict=True):
            if known == value and type(known) is type(value):
                return f"{self.key}={word}"
        return f"{self.key}={value!r}"

    def known(self, value: Any) -> Value:
        """The value of this dimension that equals one that came from outside.

        Raises:
            ValueError: there is none.
        """
        if self.finite:
            found = next((v for v in self.values if v == value), value)
            if not any(v is found for v in self.values):
                raise ValueError(f"{self.key}={value!r} is none of {', '.join(self.words)}")
            return found
        number = not isinstance(value, bool) and isinstance(value, int | float)
        if not number or not self.low <= value <= self.high or (self.integer and value % 1):
            raise ValueError(f"{self.key}={value!r} is not from {self.low:g} to {self.high:g}")
        return int(value) if self.integer else float(value)

    def ends(self) -> tuple[Value, ...]:
        """The values that a configuration is checked with before anything runs."""
        if self.finite:
            return self.values
        # A whole number may stand for a float as well, not the other way round.
        return tuple(int(end) if end == int(end) else end for end in (self.low, self.high))

    def as_dict(self) -> dict[str, Any]:
        """What makes it the same dimension, as plain values."""
        if self.finite:
            return {"values": list(self.values)}
        return {"low": self.low, "high": self.high, "integer": self.integer, "log": self.log}


def read_space(
    words: Sequence[str], fixed_keys: Sequence[str]
) -> tuple[list[str], list[Dimension], list[Fault]]:
    """Overrides of every trial, the dimensions, and all faults; of several with one key the last.

    ``fixed_keys`` say where runs lie and may have one value only.
    """
    fixed: dict[str, str] = {}
    dimensions: dict[str, Dimension] = {}
    faults: list[Fault] = []
    for word in words:
        read = read_override(word)
        if read is None:
            faults.append(Fault(shortened(word), NO_WORD, "Write KEY=VALUE or KEY=A,B."))
            continue
        key, parsed = read.key, read.parsed
        if read.deletes:
            faults.append(Fault(word, "takes something away", "Write GROUP=null instead."))
        elif parsed is None or not read.several:  # what is no grammar of Hydra's may be text
            fixed[key] = word
            dimensions.pop(key, None)
        elif key in fixed_keys:
            faults.append(Fault(word, "has one value for the whole sweep"))
        else:
            found = _dimension(parsed)
            if isinstance(found, Fault):
                faults.append(found)
            else:
                dimensions[key] = found
                fixed.pop(key, None)
    return list(fixed.values()), list(dimensions.values()), faults


def _dimension(parsed: Override) -> Dimension | Fault:
    word, key = str(parsed.input_line), parsed.key_or_group
    if parsed.value_type == ValueType.GLOB_CHOICE_SWEEP:
        return Fault(word, "glob() is not used here", "List the names: KEY=a,b.")
    value = parsed.value()
    if isinstance(value, IntervalSweep):
        return _interval(word, key, value)
    assert isinstance(value, ChoiceSweep | RangeSweep)
    if value.tags:
        return Fault(word, "tag() is for intervals", "KEY=tag(log, interval(low, high))")
    if isinstance(value, RangeSweep):
        if not value.step:
            return Fault(word, "has a step of 0")
        count = _count(value)
        if count < 1:
            return Fault(word, "is empty", "range(start, stop) leaves out its stop.")
        if count > MOST_VALUES:
            hint = "Give a larger step, or interval(low, high) with sweep=random or sweep=tpe."
            return Fault(word, f"has {count:,} values, more than {MOST_VALUES:,}", hint)
        numbers = list(value.range())
        whole = all(isinstance(n, int) for n in numbers)
        return Dimension(
            key,
            tuple(numbers),
            tuple(repr(n) for n in numbers),
            float(min(numbers)),
            float(max(numbers)),
            abs(value.step),
            whole,
            kind="range",
        )
    texts = [_text(element) for element in value.list]
    # A list or mapping has no place in a study's table: its text stands for it.
    plain = [_scalar(e, t) for e, t in zip(value.list, texts, strict=True)]
    if len(set(texts)) < len(texts):
        return Fault(word, "names a value twice")
    return Dimension(key, tuple(plain), tuple(texts))


def _count(value: RangeSweep) -> int:
    """How many numbers a range holds, counted without making them."""
    start, stop, step = value.start or 0, value.stop, value.step
    assert stop is not None and step
    if isinstance(start, int) and isinstance(stop, int) and isinstance(step, int):
        return max(0, -((start - stop) // step))
    steps = (stop - start) / step
    return max(0, math.ceil(min(steps, 1e18)))  # 1e18: also of infinity


def _text(element: Any) -> str:
    """An element of a list as a command writes it."""
    if isinstance(element, QuotedString):
        return element.with_quotes()
    return str(element).lower() if isinstance(element, bool) else Transformer.str(element)


def _scalar(element: Any, text: str) -> Value:
    if element is None or isinstance(element, bool | int | float | str):
        return element
    return element.text if isinstance(element, QuotedString) else text


def _interval(word: str, key: str, value: IntervalSweep) -> Dimension | Fault:
    assert value.start is not None and value.end is not None
    if value.tags - {"log"}:
        return Fault(word, f"unknown tag {min(value.tags - {'log'})!r}", "Tags: log.")
    if not value.start < value.end:
        return Fault(word, f"{value.start} is not below {value.end}")
    log = "log" in value.tags
    if log and value.start <= 0:
        return Fault(word, "a logarithmic interval starts above 0")
    whole = isinstance(value.start, int) and isinstance(value.end, int)
    return Dimension(
        key,
        low=float(value.start),
        high=float(value.end),
        integer=whole,
        log=log,
        kind="interval",
    )


def grid_size(dimensions: Sequence[Dimension]) -> int:
    """How many combinations there are."""
    return math.prod(len(d.values) for d in dimensions)


def grid(dimensions: Sequence[Dimension]) -> Iterator[Point]:
    """All combinations, the last dimension changing fastest."""
    for values in product(*(d.values for d in dimensions)):
        yield {d.key: v for d, v in zip(dimensions, values, strict=True)}


def first(dimensions: Sequence[Dimension]) -> Point:
    """The point that the whole configuration is checked with."""
    return {d.key: d.ends()[0] for d in dimensions}


def point_words(dimensions: Sequence[Dimension], point: Mapping[str, Value]) -> list[str]:
    """A point as overrides."""
    return [d.word(point[d.key]) for d in dimensions]


def seed_of(seed: int, number: int) -> int:
    """The seed of the draw of one trial: the same whether the sweep was interrupted or not."""
    return random.Random(f"{seed}/{number}").getrandbits(31)
