"""Docstrings with the package that they belong to: texts with twenty classes, on every machine.

The texts depend on the versions of Python, NumPy, SciPy and scikit-learn, and not on the machine.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import NamedTuple

from scratchlab.data.generated.python_docs import documented
from scratchlab.data.splits.examples import near_copies, text_key

VERSION = 1  # raise it when the same packages give other texts
LIBRARIES = ("numpy", "scipy", "scikit-learn")

# Packages with a hundred docstrings and more that are each about one thing.
TOPICS = (
    *("asyncio", "email", "http", "importlib", "logging", "turtle", "unittest", "xml"),
    *("numpy.ma", "numpy.polynomial"),
    *("scipy.interpolate", "scipy.linalg", "scipy.optimize", "scipy.signal", "scipy.sparse"),
    *("scipy.stats", "sklearn.ensemble", "sklearn.linear_model", "sklearn.metrics"),
    "sklearn.preprocessing",
)
FEWEST_WORDS = 8  # shorter ones ("Return self.") could stand anywhere
# Examples import the package by its name, and references are bibliography.
_END_OF_PROSE = re.compile(r"^\s*(?:Examples?|References?)\s*$|^\s*>>>", re.MULTILINE)
_NAMES = re.compile(r"\b(?:numpy|scipy|sklearn)\b[\w.]*")
RUN, NEAR = 5, 0.3  # near copies share three tenths of the shorter one's runs of five words


class Topic(NamedTuple):
    """A docstring's prose, the package it is of, and a number that its near copies share."""

    text: str
    package: str
    group: int


def docstring_topics() -> list[Topic]:
    """The docstrings of :data:`TOPICS`, up to their examples, without the names of the libraries.

    No text stands twice (but for case and punctuation), and none that stands in two packages is
    kept. Packages that are not installed are left out.
    """
    places: dict[str, dict[str, str]] = defaultdict(dict)  # key → package → text
    for package in TOPICS:
        for item in documented(package):
            text = _prose(item.docstring)
            if len(text.split()) >= FEWEST_WORDS:
                places[text_key(text)].setdefault(package, text)
    alone = [of_key for of_key in places.values() if len(of_key) == 1]
    found = [(text, package) for of_key in alone for package, text in of_key.items()]
    groups = near_copies([text for text, _ in found], RUN, NEAR)
    return [Topic(text, p, group) for (text, p), group in zip(found, groups, strict=True)]


def _prose(docstring: str) -> str:
    end = _END_OF_PROSE.search(docstring)
    text = docstring[: end.start()] if end else docstring
    return _NAMES.sub("", text).strip()
