"""Questions about Python's standard library, and the documents that answer them.

A document is a function, method or class with its signature and its docstring. Asked is which
module defines a name, what a parameter's default value is, and which exception a function raises.
All of it is read from the source files with :mod:`ast`; nothing is imported. The text depends on
the version of Python, and not on the machine.
"""

from __future__ import annotations

import ast
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from scratchlab.data.generated.python_docs import (
    STDLIB_MODULES,
    Definition,
    definitions,
    python_files,
)

VERSION = 1  # raise it when the same Python gives other documents, questions or splits

KINDS = ("module", "default", "raises")
MOST = 350  # questions of a kind
MOST_ALIKE = 0.05  # share of the questions of a kind that have one answer
SHARES = {"test": 0.3, "val": 0.2}
_EXCEPTION = r"\b([A-Z][A-Za-z]*(?:Error|Exception|Iteration|Interrupt))\b"
_RAISED = re.compile(
    rf"\b[Rr]ais(?:e|es|ed|ing)\b[^.]{{0,40}}?{_EXCEPTION}|{_EXCEPTION}[^.]{{0,20}} raised"
)
_WORDY = re.compile(r"[A-Za-z0-9]")


@dataclass(frozen=True)
class PythonEntry:
    """Something documented: its module, its dotted name, its signature ("" of a class without an
    ``__init__`` of its own) and its docstring."""

    module: str
    name: str
    signature: str
    docstring: str
    defaults: tuple[tuple[str, str], ...]  # parameters with a constant default, as it is written

    @property
    def text(self) -> str:
        """The document: ``nlargest(n, iterable, key=None), in the module heapq``, the docstring."""
        inner = self.name.removeprefix(f"{self.module}.")
        return f"{inner}{self.signature}, in the module {self.module}\n{self.docstring}"


@dataclass(frozen=True)
class PythonQuestion:
    """A question, its answer, the name of the document that holds it, its kind and its split."""

    question: str
    answer: str
    document: str
    kind: str
    split: str


@cache
def python_entries() -> tuple[PythonEntry, ...]:
    """What is documented and public, but no name that is defined twice (for two platforms)."""
    found = []
    for package in STDLIB_MODULES:
        for module, path in python_files(package):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for name, node in definitions(tree.body, module):
                docstring = ast.get_docstring(node)
                if docstring and not any(part.startswith("_") for part in name.split(".")):
                    found.append(_entry(module, name, docstring, node))
    counts = Counter(entry.name for entry in found)
    return tuple(entry for entry in found if counts[entry.name] == 1)


def _entry(module: str, name: str, docstring: str, node: Definition) -> PythonEntry:
    function = node
    if isinstance(node, ast.ClassDef):
        inner = (n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__")
        made = next(inner, None)
        if made is None:
            return PythonEntry(module, name, "", docstring, ())
        function = made
    assert not isinstance(function, ast.ClassDef)
    arguments = function.args
    defaults = tuple(_defaults(arguments))
    signature = ast.unparse(arguments)
    for first in ("self", "cls"):  # what a caller does not write
        if signature == first or signature.startswith(f"{first}, "):
            signature = signature.removeprefix(first).removeprefix(", ")
    return PythonEntry(module, name, f"({signature})", docstring, defaults)


def _defaults(arguments: ast.arguments) -> Iterator[tuple[str, str]]:
    """Parameters whose default is a constant that says something (None says nothing)."""
    named = [*arguments.posonlyargs, *arguments.args]
    pairs = [
        *zip(named[len(named) - len(arguments.defaults) :], arguments.defaults, strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    for parameter, default in pairs:
        if isinstance(default, ast.Constant) and default.value is not None:
            written = ast.unparse(default)
            if _WORDY.search(written) and not parameter.arg.startswith("_"):
                yield parameter.arg, written


def _asked() -> Iterator[tuple[str, str, str, str]]:
    """Kind, question, answer and document of everything that can be asked."""
    entries = python_entries()
    last = defaultdict(set)
    for entry in entries:
        last[entry.name.rpartition(".")[2]].add(entry.name)
    for entry in entries:
        parent, _, own = entry.name.rpartition(".")
        if (
            parent == entry.module
            and len(last[own]) == 1
            and own.casefold() not in parent.casefold()
            and len(own) > 3
        ):
            question = f"Which Python module has `{own}`?"
            yield "module", question, entry.module, entry.name
        for parameter, default in entry.defaults:
            question = f"What is the default of `{parameter}` in `{entry.name}`?"
            yield "default", question, default, entry.name
        raised = {a or b for a, b in _RAISED.findall(entry.docstring)}
        if len(raised) == 1 and entry.signature:
            yield "raises", f"Which exception does `{entry.name}` raise?", *raised, entry.name


@cache
def python_questions() -> tuple[PythonQuestion, ...]:
    """The questions in random order; all that one document answers are in one split.

    Of each kind no answer belongs to more than a twentieth of the questions, so that guessing the
    most frequent one is of little use.
    """
    asked = sorted(_asked(), key=lambda row: random.Random(f"python_questions {row[1]}").random())
    totals = Counter(kind for kind, *_ in asked)
    of_kind: Counter[str] = Counter()
    of_answer: Counter[tuple[str, str]] = Counter()
    found = []
    for kind, question, answer, document in asked:
        most = MOST_ALIKE * min(MOST, totals[kind])
        if of_kind[kind] == MOST or of_answer[kind, answer] >= most:
            continue
        of_kind[kind] += 1
        of_answer[kind, answer] += 1
        split = _split_of(document)
        found.append(PythonQuestion(question, answer, document, kind, split))
    return tuple(found)


def _split_of(document: str) -> str:
    place = random.Random(f"python_questions {document}").random()
    for split, share in SHARES.items():
        if place < share:
            return split
        place -= share
    return "train"
