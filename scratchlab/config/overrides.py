"""Overrides: the words ``KEY=VALUE`` of a command, a suite or a sweep.

What is written after ``=`` is read as its option is declared.

One rule for every verb. What an option declared as text (or a list of text) gets is text as it
stands: ``dataset.path=a=b(1).csv``, ``dataset.target=2019``, ``dataset.drop=[yes,2024-01-01]``;
quotes around the whole of it, or of an entry, are taken off. Everything else (numbers, truth
values, mappings, choices of groups, the values of a sweep) is written in Hydra's grammar.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scratchlab.errors import Fault, shortened
from scratchlab.registry import Option

if TYPE_CHECKING:  # words are parted without Hydra; its grammar is loaded for values only
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Override as HydraOverride

WORD = re.compile(r"(?P<sign>\+{0,2}|~)(?P<key>[\w./@-]+)(?P<rest>=.*)?", re.DOTALL)
ESCAPED = re.compile(r"\\([\\()\[\]{}:=, \t])")
NO_WORD = "is not KEY=VALUE"
SEVERAL = "holds more than one value"
TEXT = ("str", "str | None")
TEXTS = ("list[str]", "list[str] | None")


@dataclass(frozen=True)
class Override:
    """``KEY=VALUE``, ``+KEY=VALUE`` or ``~KEY``; ``text`` is what stands after ``=``."""

    line: str
    sign: str
    key: str
    text: str | None

    @property
    def head(self) -> str:
        """The first part of the key: a group, or an option of the run itself."""
        return self.key.partition(".")[0]

    @property
    def deletes(self) -> bool:
        return self.sign == "~"

    def below(self, key: str) -> str:
        """The same for what the key means below ``key``: ``a.b=1`` is ``b=1`` below ``a``."""
        rest = self.line[len(self.sign) :].removeprefix(f"{key}.")
        return f"{self.sign}{rest}"

    @functools.cached_property
    def parsed(self) -> HydraOverride | None:
        """What Hydra's grammar makes of it; None where that knows no such value."""
        from hydra.errors import HydraException

        try:
            return _parser().parse_override(self.line)
        except (HydraException, ValueError, RecursionError):
            return None

    @property
    def several(self) -> bool:
        """Whether Hydra's grammar has several values in it, for a sweep."""
        return self.parsed is not None and self.parsed.is_sweep_override()

    def value(self, declared: str | None = None) -> Any:
        """The value for an option of the type ``declared`` (None: it is not known)."""
        text = self.text or ""
        if declared in TEXT:
            return None if text == "null" and declared != "str" else unquoted(text)
        if declared in TEXTS and text.startswith("[") and text.endswith("]"):
            return [unquoted(entry) for entry in entries(text[1:-1])]
        if self.parsed is None or self.several:
            return text
        return plain_value(self.parsed.value())


def read_override(line: str) -> Override | None:
    """A word as key and value; None if it is neither ``KEY=VALUE`` nor ``~KEY``."""
    found = WORD.fullmatch(line)
    if found is None or (found["rest"] is None and found["sign"] != "~"):
        return None
    text = None if found["rest"] is None else found["rest"][1:]
    key = found["key"].partition("@")[0]  # dataset@PACKAGE=…
    return Override(line, found["sign"], key, text)


def key_of(word: str) -> str:
    """The key that a word sets or takes away; "" if it is no override."""
    read = read_override(word)
    return read.key if read else ""


def last_value(words: Sequence[str], key: str) -> str | None:
    """What the last ``KEY=TEXT`` among the words says of an option that is text; None: nothing."""
    texts = [o.text for o in map(read_override, words) if o and o.key == key and not o.deletes]
    return unquoted(str(texts[-1])) if texts else None


def last_of_each(words: Sequence[str]) -> list[str]:
    """Of several overrides with one key the last, in the place of the first."""
    return list({key_of(word) or word: word for word in words}.values())


def overridden(words: Sequence[str]) -> list[str]:
    """A line for every key that is written twice with different values: the last one counts."""
    found: list[str] = []
    last: dict[str, str] = {}
    for word in words:
        key = key_of(word)
        if key and last.get(key, word) != word:
            found.append(f"{last[key]} does nothing: {word} comes later")
        last[key] = word
    return found


def read_values(
    words: Sequence[str], options: Sequence[Option], prefix: str = ""
) -> tuple[dict[str, Any], list[Fault]]:
    """The values of words ``PREFIX + OPTION=VALUE`` for declared options, by option, unchecked."""
    types = {o.name: o.type for o in options}
    values: dict[str, Any] = {}
    faults = []
    for line in words:
        word = read_override(line)
        if word is None or word.deletes:
            faults.append(Fault(shortened(line), NO_WORD, f"Write {prefix}OPTION=VALUE."))
            continue
        name = word.key.removeprefix(prefix)
        declared = types.get(name)
        if declared not in (*TEXT, *TEXTS) and word.several:
            faults.append(Fault(line, SEVERAL))
            continue
        values[name] = word.value(declared)
    return values, faults


def unquoted(text: str) -> str:
    """Text without the quotes around the whole of it, and without Hydra's escapes."""
    for quote in "'\"":
        if len(text) > 1 and text[0] == text[-1] == quote:
            inner = text[1:-1]
            if not re.search(rf"(?<!\\)(\\\\)*{quote}", inner):  # else they are of its parts
                # Of backslashes before a quote, and at the end, each second is an escape.
                return re.sub(rf"(\\+)({quote}|$)", _halved, inner)
    return ESCAPED.sub(r"\1", text)


def _halved(found: re.Match[str]) -> str:
    return "\\" * (len(found[1]) // 2) + found[2]


def entries(text: str) -> list[str]:
    """The entries of a list, parted at commas outside quotes and brackets."""
    found, start, depth, quote, skip = [], 0, 0, "", False
    for place, character in enumerate(text):
        if skip:
            skip = False
        elif character == "\\":
            skip = True
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"" and not text[start:place].strip():
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth = max(0, depth - 1)
        elif character == "," and not depth:
            found.append(text[start:place])
            start = place + 1
    last = text[start:]
    return [entry.strip() for entry in (*found, *([last] if last.strip() or found else []))]


def plain_value(value: Any) -> Any:
    """Hydra's quoted strings and nested values as plain Python values."""
    from hydra.core.override_parser.types import QuotedString

    if isinstance(value, list):
        return [plain_value(v) for v in value]
    if isinstance(value, dict):
        return {str(plain_value(k)): plain_value(v) for k, v in value.items()}
    if isinstance(value, bool | int | float) or value is None:
        return value
    return value.text if isinstance(value, QuotedString) else str(value)


@functools.cache
def _parser() -> OverridesParser:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create()
