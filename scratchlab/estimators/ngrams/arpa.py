"""Writing an n-gram model as an ARPA file, the format that KenLM and SRILM read."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from scratchlab.errors import UserError
from scratchlab.estimators.ngrams.counts import MARKERS
from scratchlab.estimators.ngrams.smoothing import Tables

# N-grams turned into text at once.
CHUNK = 1 << 17


def write_arpa(path: str | os.PathLike[str], tables: Tables, words: Sequence[str]) -> None:
    """Write ``tables``; ``words`` [vocabulary] are the texts of the model's numbers.

    The file appears complete or not at all: it is written beside ``path`` and then renamed.
    """
    if tables.smoothing != "kneser_ney":
        raise UserError(
            f"an ARPA file cannot express smoothing={tables.smoothing}: its weights for contexts "
            "that were never seen differ from 1",
            "only smoothing=kneser_ney can be exported",
        )
    check_words(words)
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            _write(file, tables, np.array(words, dtype=object))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except OSError as error:
        raise UserError(f"cannot write the ARPA file {target}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)


def check_words(words: Sequence[str]) -> None:
    """UserError if an ARPA file cannot hold these words, the markers among them."""
    broken = [w for w in words if len(w.split()) != 1 or w.split()[0] != w]
    if broken:
        raise UserError(
            f"an ARPA file separates words by spaces; it cannot hold the word {broken[0]!r}"
        )
    if len(set(words)) != len(words):
        double = Counter(words).most_common(1)[0][0]
        raise UserError(
            f"the word {double!r} stands twice in the vocabulary",
            f"{', '.join(MARKERS)} are the model's own" if double in MARKERS else "",
        )


def _write(file: TextIO, tables: Tables, words: NDArray[np.object_]) -> None:
    levels = [level for level in tables.levels if len(level.keys)]
    file.write("\\data\\\n")
    for n, level in enumerate(levels, 1):
        file.write(f"ngram {n}={len(level.keys)}\n")
    for n, level in enumerate(levels, 1):
        file.write(f"\n\\{n}-grams:\n")
        log_probs = np.minimum(level.log_probs, 0.0)
        for begin in range(0, len(level.keys), CHUNK):
            numbers = np.arange(begin, min(begin + CHUNK, len(level.keys)))
            columns: list[list[object]] = [log_probs[numbers].tolist()]
            columns.append(
                list(map(" ".join, zip(*_spell(tables, n, numbers, words), strict=True)))
            )
            if n < len(levels):
                columns.append(level.weights[numbers].tolist())
            line = "\t".join(("%.7f", "%s", "%.7f")[: len(columns)]) + "\n"
            file.writelines(map(line.__mod__, zip(*columns, strict=True)))
    file.write("\n\\end\\\n")


def _spell(
    tables: Tables, n: int, numbers: NDArray[np.int64], words: NDArray[np.object_]
) -> Iterator[list[str]]:
    """The words of n-grams ``numbers`` of order n: n lists, the first words first."""
    columns: list[list[str]] = []
    for level in range(n, 0, -1):
        numbers, last = np.divmod(tables.levels[level - 1].keys[numbers], tables.vocabulary)
        columns.append(words[last].tolist())
    return reversed(columns)
