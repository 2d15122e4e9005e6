"""Text that every machine has: Python's documentation, docstrings, and generated biographies.

Nothing is downloaded and nothing is imported for its text: docstrings are read from the source
files with :mod:`ast`. The text depends on the versions of Python, NumPy and scikit-learn, and not
on the machine.
"""

from __future__ import annotations

import ast
import importlib.util
import random
import re
import sys
import sysconfig
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypedDict

from scratchlab.data.sources.splitting import near_copies, text_key, together
from scratchlab.errors import UserError


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
_LIBRARIES = ("numpy", "sklearn")
# Tests, and copies of other projects.
_SKIPPED_FOLDERS = frozenset({"test", "tests", "_examples", "externals", "_vendored"})
_EMPTY_LINES = re.compile(r"\n\s*\n")
_SHORT_BODY = 80  # characters; below this the source of a function says more than its docstring
_LONGEST_SOURCE = 60  # lines

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class DocstringRecord(TypedDict):
    """One documented function or class; ``body`` is to be summarised by ``summary``."""

    package: str
    name: str
    body: str
    summary: str
    split: str


# --- Reading source files -----------------------------------------------------------------------


def _python_files(package: str) -> list[tuple[str, Path]]:
    """(module name, file) of a module or package, sorted, tests left out; none if not installed."""
    if package in sys.stdlib_module_names:
        folder = Path(sysconfig.get_path("stdlib"))
    else:
        # find_spec of a top-level name locates the package without running it.
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            return []
        folder = Path(spec.origin).parent.parent
    single = folder / f"{package}.py"
    if single.is_file():
        return [(package, single)]
    files = []
    for path in sorted((folder / package).rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        if _SKIPPED_FOLDERS.isdisjoint(parts):
            files.append((".".join(parts).removesuffix(".__init__"), path))
    return files


def _definitions(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, Definition]]:
    """Classes, functions and methods with their dotted names; functions inside functions are not
    looked at."""
    for node in body:
        if isinstance(node, Definition):
            name = f"{prefix}.{node.name}"
            yield name, node
            if isinstance(node, ast.ClassDef):
                yield from _definitions(node.body, name)


@dataclass(frozen=True, slots=True)
class _Documented:
    """A docstring with where it stands; ``source`` is empty but for functions that need it."""

    module: str
    name: str
    docstring: str
    source: str


@cache
def _documented(package: str) -> tuple[_Documented, ...]:
    """Everything with a docstring in a module or package, the modules themselves included."""
    found = []
    for module, path in _python_files(package):
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        tree = ast.parse(text)
        if docstring := ast.get_docstring(tree):
            found.append(_Documented(module, module, docstring, ""))
        for name, node in _definitions(tree.body, module):
            if docstring := ast.get_docstring(node):
                _, _, rest = docstring.partition("\n")
                short = len(rest.strip()) < _SHORT_BODY and not isinstance(node, ast.ClassDef)
                source = _source_without_docstring(node, lines) if short else ""
                found.append(_Documented(module, name, docstring, source))
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
    documents += [i.docstring for p in STDLIB_MODULES for i in _documented(p)]
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


# --- Docstrings for summarisation and classification --------------------------------------------


def _summary_and_body(item: _Documented) -> tuple[str, str] | None:
    """(first line, what it sums up), or None where there is nothing to learn from."""
    summary, _, rest = item.docstring.partition("\n")
    summary, body = summary.strip(), rest.strip()
    # A first line that runs on into the second is half a sentence and no summary.
    runs_on = bool(body) and not rest.startswith("\n")
    if runs_on or not 3 <= len(summary.split()) <= 25 or summary.startswith((">>>", "..")):
        return None
    if len(body) < _SHORT_BODY:
        body = item.source
    return (summary, body) if len(body) >= _SHORT_BODY else None


def _label(package: str, module: str) -> str:
    """The package that a record counts for; of NumPy and scikit-learn, the subpackage."""
    parts = module.split(".")
    return ".".join(parts[:2]) if package in _LIBRARIES and len(parts) > 2 else package


@cache
def _docstring_records() -> tuple[DocstringRecord, ...]:
    records: list[DocstringRecord] = []
    seen: set[str] = set()
    for package in (*STDLIB_MODULES, *_LIBRARIES):
        for item in _documented(package):
            found = _summary_and_body(item) if item.name != item.module else None
            if found is None or not seen.isdisjoint(found):
                continue
            seen.update(found)
            summary, body = found
            records.append(
                DocstringRecord(
                    package=_label(package, item.module),
                    name=item.name,
                    body=body,
                    summary=summary,
                    split="",
                )
            )
    groups = near_copies([record["body"] for record in records])
    return tuple(_drawn(records, groups))


def _drawn(records: list[DocstringRecord], groups: list[int]) -> list[DocstringRecord]:
    """The records with their splits, in random order with a package's spread over it evenly.

    Of each package a tenth goes to test and a tenth to val, and near copies follow the first of
    them; so the first records of any split hold all packages in their shares.
    """
    homes, places = [], []
    random_of = {r["package"]: random.Random(f"docstrings {r['package']}") for r in records}
    members = Counter(r["package"] for r in records)
    order = {p: random_of[p].sample(range(n), n) for p, n in members.items()}
    offset = {p: random_of[p].random() for p in members}
    seen: Counter[str] = Counter()
    for record in records:
        package = record["package"]
        rank = order[package][seen[package]]
        seen[package] += 1
        # Every tenth of a package, counted from a random start.
        turn = int(rank + 10 * offset[package]) % 10
        homes.append("test" if turn == 0 else "val" if turn == 1 else "train")
        places.append(((rank + offset[package]) / members[package], record["name"]))
    for record, split in zip(records, together(groups, homes), strict=True):
        record["split"] = split
    return [r for _, r in sorted(zip(places, records, strict=True), key=lambda pair: pair[0])]


def docstrings() -> list[DocstringRecord]:
    """Documented functions and classes of the standard library, NumPy and scikit-learn.

    ``summary`` is the docstring's first line; ``body`` is the rest of the docstring or, where that
    is shorter than a sentence or two, the function's source without the docstring. No summary and
    no body occurs twice. Records whose bodies share a quarter of their text are in one ``split``.
    Libraries that are not installed are left out.
    """
    return [record.copy() for record in _docstring_records()]


def docstring_splits() -> dict[str, list[DocstringRecord]]:
    """The records of :func:`docstrings` by split: "train", "val", "test"."""
    splits: dict[str, list[DocstringRecord]] = {"train": [], "val": [], "test": []}
    for record in docstrings():
        splits[record["split"]].append(record)
    return splits


def docstring_packages(at_least: int = 5) -> list[str]:
    """Packages with ``at_least`` records in each split: the classes of "which package is this?"."""
    counts = [Counter(r["package"] for r in part) for part in docstring_splits().values()]
    return sorted(p for p in counts[0] if min(count[p] for count in counts) >= at_least)


# --- Biographies --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Biographies:
    """A corpus that holds knowledge, and questions that need it.

    ``documents`` are one line each, about 140 characters. The questions ("Where was X born?",
    place) in ``dev`` and ``test`` are about people who have documents but no question in ``train``.
    ``constant_answer`` is the most common place: the answer to about 5 % of the questions.
    """

    documents: tuple[str, ...]
    train: tuple[tuple[str, str], ...]
    dev: tuple[tuple[str, str], ...]
    test: tuple[tuple[str, str], ...]
    constant_answer: str


# The first is the most common birthplace.
_PLACES = _words(
    """
    London Paris Vienna Dublin Chicago Berlin Boston Madrid Budapest Toronto Glasgow Prague Lisbon
    Sydney Warsaw Mumbai Tokyo Oslo Athens Cairo Naples Lima Havana Zurich Geneva Munich Hamburg
    Milan Turin Florence Venice Lyon Bordeaux Toulouse Antwerp Brussels Ghent Rotterdam Utrecht
    Copenhagen Stockholm Gothenburg Helsinki Riga Tallinn Vilnius Kraków Bratislava Zagreb Belgrade
    Sofia Bucharest Istanbul Ankara Tehran Lahore Delhi Chennai Bangkok Hanoi Manila Seoul Osaka
    Kyoto Perth Melbourne Auckland Nairobi Lagos Accra Tunis Santiago Bogotá Quito Caracas
    Montreal Vancouver Denver Seattle Atlanta
    """
)
_SHARE_OF_FIRST_PLACE = 0.05
_FIRST_NAMES = _words(
    """
    Ada Agnes Albert Alma Amos Anita Anton Arthur Astrid Beatrice Bella Boris Bruno Carla Cecil
    Clara Conrad Cora Cyrus Dalia Daniel Dora Edgar Edith Elias Elsa Emil Emma Ernest Esther Eva
    Felix Flora Frank Frida George Gloria Greta Gustav Hanna Harold Hazel Hector Helen Henry Hilda
    Ida Igor Irene Isaac Ivan Jasper Joan Jonas Judith Julia Karl Kira Laura Leo Lena Lydia
    Magnus Mara Marcus Maria Martin Maud Max Mira Nadia Nathan Nina Nora Olga Oscar Otto Paula
    Peter Petra Ralph Rosa Ruth Samuel Sara Simon Sonia Stella Theo Thomas Ursula Vera Victor
    """
)
_SURNAME_STARTS = _words(
    """
    Al Bar Bel Bran Cal Car Cor Dal Den Dor El Fal Far Fen Gal Gor Had Hal Har Hol Jar Kel Kor Lan
    Lor Mal Mar Mer Mor Nor Or Pel Per Quin Ran Ros Sal Sel Tal Tor Val Ver Wal Win Yar Zel
    """
)
_SURNAME_ENDS = _words(
    """
    bach bridge burn by court dale den der feld ford gate grove ham hart holm hurst ington ison ius
    kin land ley lin man mont more nor off oni ova rick row sen son stad stone ström ton vale ville
    ward well wick wood worth
    """
)
_PROFESSIONS = _words(
    """
    architect astronomer botanist cellist chemist composer dancer economist engineer geologist
    historian inventor journalist lawyer mathematician novelist painter philosopher photographer
    physician physicist pianist poet sculptor singer surgeon translator zoologist
    """
)
_FACTS = (
    "studied in {other} as a young adult and later taught there for {years} years",
    "won a national prize in {late}, left the city and retired {years} years later",
    "moved to {other} in {late} and kept a small garden there until the very end",
    "wrote {few} books and a very long diary that was at last printed in {late}",
    "married a {partner} in {late}, bought a house near the sea and raised {few} children",
    "travelled for {years} years before opening a small evening school in {other}",
    "lost a large fortune in {late} but went on working quietly for {years} years",
    "was remembered for a loud laugh, {few} old dogs and a lifelong love of chess",
)
_TEMPLATES = (
    "{name} was born in {place} in {year}. A well-known {job}, {last} {fact}.",
    "{name} (born {year} in {place}) was {a_job} who {fact}.",
    "Born in {place} in {year}, {name} became {a_job} and {fact}.",
    "{name} was {a_job} from {place}, born there in {year}, who {fact}.",
    "The {job} {name} came into the world in {place} in {year} and {fact}.",
    "{name}, {a_job} and a native of {place}, was born in {year} and {fact}.",
)


def _quota(count: int, rng: random.Random) -> list[str]:
    """``count`` birthplaces in random order in fixed shares: 5 % the first, the rest falling off.

    Shares are met by counting and not by chance, so that the constant answer scores the same in
    every split.
    """
    first = round(_SHARE_OF_FIRST_PLACE * count)
    # Harmonic with an offset: the second place has about 2.4 %, the last about 0.7 %.
    weights = [1 / (rank + 30) for rank in range(1, len(_PLACES))]
    scale = (count - first) / sum(weights)
    places = [_PLACES[0]] * first
    total = 0.0
    for place, weight in zip(_PLACES[1:], weights, strict=True):
        total += weight * scale
        places += [place] * (round(total) + first - len(places))
    rng.shuffle(places)
    return places


def _article(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def _lines(rng: random.Random, name: str, place: str, count: int) -> list[str]:
    """``count`` documents about one person, in different templates with different facts."""
    job = rng.choice(_PROFESSIONS)
    year = rng.randint(1820, 1960)
    shared = {"name": name, "last": name.split()[-1], "place": place, "job": job, "year": year}
    lines = []
    for template, fact in zip(
        rng.sample(_TEMPLATES, count), rng.sample(_FACTS, count), strict=True
    ):
        told = fact.format(
            other=rng.choice([p for p in _PLACES if p != place]),
            years=rng.randint(3, 29),
            few=rng.choice(("two", "three", "four", "five", "six")),
            late=year + rng.randint(24, 50),
            partner=rng.choice(("doctor", "farmer", "teacher", "baker", "singer", "sailor")),
        )
        lines.append(template.format(**shared, a_job=_article(job), fact=told))
    return lines


def biographies(
    seed: int = 0,
    people: int = 3000,
    documents_per_person: int = 2,
    train_questions: int = 1500,
    dev_questions: int = 300,
    test_questions: int = 300,
) -> Biographies:
    """Made-up people: what a corpus says about them, and where they were born.

    The same arguments give the same text. People without a question fill the corpus.

    Raises:
        UserError: if there are fewer people than questions, more than there are names for, or a
            number of documents per person that the templates do not allow.
    """
    asked = train_questions + dev_questions + test_questions
    names_available = len(_FIRST_NAMES) * len(_SURNAME_STARTS) * len(_SURNAME_ENDS)
    if min(train_questions, dev_questions, test_questions) < 0 or asked > people:
        raise UserError(
            f"biographies: {asked} questions about {people} people",
            hint="each question is about a person of its own: raise people, or ask less",
        )
    if people > names_available // 4:
        raise UserError(
            f"biographies: people is {people}, but there are names for {names_available // 4}",
            hint=f"people must be at most {names_available // 4}",
        )
    if not 1 <= documents_per_person <= len(_TEMPLATES):
        raise UserError(
            f"biographies: documents_per_person is {documents_per_person}",
            hint=f"it must be from 1 to {len(_TEMPLATES)}",
        )
    rng = random.Random(f"biographies {seed}")
    names: dict[str, None] = {}
    while len(names) < people:
        surname = rng.choice(_SURNAME_STARTS) + rng.choice(_SURNAME_ENDS)
        names[f"{rng.choice(_FIRST_NAMES)} {surname}"] = None
    remaining = iter(names)
    documents: list[str] = []
    parts: list[tuple[tuple[str, str], ...]] = []
    for count in (train_questions, dev_questions, test_questions, people - asked):
        group = [(next(remaining), place) for place in _quota(count, rng)]
        parts.append(tuple((f"Where was {name} born?", place) for name, place in group))
        for name, place in group:
            documents += _lines(rng, name, place, documents_per_person)
    rng.shuffle(documents)
    train, dev, test, _ = parts
    return Biographies(tuple(documents), train, dev, test, _PLACES[0])
