"""Python's own documentation, and the docstrings in source files: text that every machine has.

Nothing is downloaded and nothing is imported for its text: docstrings are read from the source
files with :mod:`ast`. The text depends on the version of Python, and not on the machine.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
import sysconfig
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from scratchlab.data.splits.examples import text_key

VERSION = 1  # raise it when the same Python gives another text or other splits


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Modules written in Python, in every version from 3.11 on, chosen for prose in their docstrings.
STDLIB_MODULES = _words(
    """
    abc argparse ast asyncio base64 bdb bisect calendar cmd codecs collections concurrent
    configparser contextlib copy csv dataclasses datetime decimal difflib dis doctest email enum
    filecmp fileinput fnmatch fractions ftplib functools getopt gettext glob graphlib gzip hashlib
    heapq hmac html http imaplib importlib inspect io ipaddress json linecache locale logging lzma
    mailbox mimetypes multiprocessing netrc numbers opcode operator optparse os pathlib pickle
    pickletools pkgutil platform plistlib poplib posixpath pprint pstats pydoc queue quopri random
    reprlib sched secrets selectors shelve shlex shutil smtplib socket socketserver ssl statistics
    string stringprep subprocess symtable sysconfig tabnanny tarfile tempfile textwrap threading
    timeit tokenize trace traceback tracemalloc turtle types typing unittest urllib uuid warnings
    weakref webbrowser wsgiref xml zipapp zipfile
    """
)
# Tests, and copies of other projects.
_SKIPPED_FOLDERS = frozenset({"test", "tests", "_examples", "externals", "_vendored"})
_EMPTY_LINES = re.compile(r"\n\s*\n")
SHORT_BODY = 80  # characters; below this the source of a function says more than its docstring
_LONGEST_SOURCE = 60  # lines

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def python_files(package: str) -> list[tuple[str, Path]]:
    """(module name, file) of a module or (sub)package, sorted, tests left out; none if not
    installed."""
    top, *inner = package.split(".")
    if top in sys.stdlib_module_names:
        folder = Path(sysconfig.get_path("stdlib"))
    else:
        # find_spec of a top-level name locates the package without running it.
        spec = importlib.util.find_spec(top)
        if spec is None or spec.origin is None:
            return []
        folder = Path(spec.origin).parent.parent
    place = folder.joinpath(top, *inner)
    if (single := place.with_name(f"{place.name}.py")).is_file():
        return [(package, single)]
    files = []
    for path in sorted(place.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        if _SKIPPED_FOLDERS.isdisjoint(parts):
            files.append((".".join(parts).removesuffix(".__init__"), path))
    return files


def definitions(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, Definition]]:
    """Classes, functions and methods with their dotted names; functions inside functions are not
    looked at."""
    for node in body:
        if isinstance(node, Definition):
            name = f"{prefix}.{node.name}"
            yield name, node
            if isinstance(node, ast.ClassDef):
                yield from definitions(node.body, name)


@dataclass(frozen=True, slots=True)
class Documented:
    """A docstring with where it stands; ``source`` is empty but for functions that need it."""

    module: str
    name: str
    docstring: str
    source: str


@cache
def documented(package: str) -> tuple[Documented, ...]:
    """Everything with a docstring in a module or package, the modules themselves included."""
    found = []
    for module, path in python_files(package):
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        tree = ast.parse(text)
        if docstring := ast.get_docstring(tree):
            found.append(Documented(module, module, docstring, ""))
        for name, node in definitions(tree.body, module):
            if docstring := ast.get_docstring(node):
                _, _, rest = docstring.partition("\n")
                short = len(rest.strip()) < SHORT_BODY and not isinstance(node, ast.ClassDef)
                source = _source_without_docstring(node, lines) if short else ""
                found.append(Documented(module, name, docstring, source))
    return tuple(found)


def _source_without_docstring(node: Definition, lines: list[str]) -> str:
    first = node.body[0]
    kept = lines[node.lineno - 1 : first.lineno - 1] + lines[first.end_lineno : node.end_lineno]
    return textwrap.dedent("\n".join(kept[:_LONGEST_SOURCE])).strip()


@cache
def python_documents() -> tuple[str, ...]:
    """Python's documentation topics, then the docstrings of standard library modules.

    1.4 MB of English prose and code, the same on every machine with the same Python. Many topics
    hold others word for word, and docstrings are inherited: a paragraph that stood before (but for
    case and punctuation) is left out.
    """
    from pydoc_data import topics

    documents = [topics.topics[key] for key in sorted(topics.topics)]
    documents += [i.docstring for p in STDLIB_MODULES for i in documented(p)]
    return without_repetition(documents)


def without_repetition(documents: Iterable[str]) -> tuple[str, ...]:
    """Documents of some length, without the paragraphs that stood before."""
    seen: set[str] = set()
    kept = []
    for document in documents:
        if len(document) <= 30:  # says no more than its name
            continue
        paragraphs = []
        for paragraph in _EMPTY_LINES.split(document.strip()):
            key = text_key(paragraph)
            if key not in seen:
                seen.add(key)
                paragraphs.append(paragraph)
        if paragraphs:
            kept.append("\n\n".join(paragraphs))
    return tuple(kept)


SECTION = 20_000  # characters; of 20 sections, one is for validation and one for the test


def share(documents: Sequence[str], split: str) -> list[str]:
    """The documents that belong to a split: whole ones, in sections of :data:`SECTION` and more."""
    homes = {4: "val", 14: "test"}
    chosen, section, size = [], 0, 0
    for document in documents:
        if homes.get(section % 20, "train") == split:
            chosen.append(document)
        size += len(document)
        if size >= SECTION:
            section, size = section + 1, 0
    return chosen
