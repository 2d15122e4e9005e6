"""word2vec's text and binary formats, and GloVe's text (the same without its first line)."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from scratchlab.data.sources.reading import open_unpacked
from scratchlab.errors import UserError, number_of, shortened
from scratchlab.estimators.embeddings.vectors import WordVectors
from scratchlab.run.atomic import replacing

LOGGER = logging.getLogger("scratchlab")
LONGEST_LINE = 1 << 24  # bytes


def write_vectors(path: Path, vectors: WordVectors, binary: bool) -> None:
    """``words dimensions``, then each word with its vector: in decimals that give back every bit,
    or as little-endian float32."""
    for word in vectors.words:
        if not word or any(c.isspace() for c in word):
            raise UserError(f"word2vec's format parts words by spaces; it cannot hold {word!r}")
    with replacing(path) as file:
        file.write(f"{len(vectors)} {vectors.matrix.shape[1]}\n".encode())
        for word, row in zip(vectors.words, vectors.matrix.astype("<f4")):
            spelled = row.tobytes() if binary else " ".join(map(str, row)).encode()
            file.write(word.encode() + b" " + spelled + b"\n")


def read_vectors(path: Path, wanted: Collection[str] | None = None) -> WordVectors:
    """Vectors of a file in either format, compressed or not; of a word that stands twice the first.

    ``wanted``: of these words only (None: all), so that a large file need not fit into memory.

    Raises:
        UserError: the file is something else, is cut off, or a line has another width (with its
            number).
    """
    with open_unpacked(path) as file:
        first = file.readline(LONGEST_LINE)
        head = first.split()
        if len(head) == 2 and all(cell.isdigit() for cell in head):
            count, width = int(head[0]), int(head[1])
            second = file.readline(LONGEST_LINE)
            if _is_text(second, width):
                rows = _text_rows(path, file, second, 2, width, wanted)
            else:
                rows = _binary_rows(path, file, second, count, width, wanted)
            return _collect(path, rows, count, width)
        if len(head) < 3:
            raise UserError(
                f"{path}: line 1 is neither 'WORDS DIMENSIONS' nor a word and its vector: "
                f"{shortened(first[:60].decode(errors='replace'))}",
                "Give vectors in word2vec's text or binary format, or in GloVe's.",
            )
        width = len(head) - 1
        return _collect(path, _text_rows(path, file, first, 1, width, wanted), None, width)


Row = tuple[str, np.ndarray] | None  # None: a word that is not wanted
Wanted = Collection[str] | None


def _is_text(line: bytes, width: int) -> bool:
    """Whether a first record is one of text: after its word stand printable characters only."""
    _, _, numbers = line.partition(b" ")
    return all(32 <= byte < 127 or byte in b"\t\r\n" for byte in numbers[: 16 * width])


def _text_rows(
    path: Path, file: IO[bytes], line: bytes, number: int, width: int, wanted: Wanted
) -> Iterator[Row]:
    while line:
        cells = line.rstrip(b"\r\n ").split(b" ")
        if len(cells) - 1 != width:
            raise UserError(
                f"{path}, line {number}: {len(cells) - 1} numbers, where the first line has or "
                f"names {width}",
                "A word must not hold spaces, and each line needs as many numbers.",
            )
        word = _word(path, f"line {number}", cells[0])
        if wanted is None or word in wanted:
            try:
                with np.errstate(over="ignore"):  # what is too large is refused as not finite
                    row = np.array(cells[1:], dtype=np.float32)
            except ValueError:
                raise UserError(f"{path}, line {number}: not all of it are numbers") from None
            yield word, _finite(path, f"line {number}", row)
        else:
            yield None
        line, number = file.readline(LONGEST_LINE), number + 1


def _binary_rows(
    path: Path, file: IO[bytes], begun: bytes, count: int, width: int, wanted: Wanted
) -> Iterator[Row]:
    size, buffer, at = 4 * width, begun, 0
    for number in range(1, count + 1):
        place = buffer.find(b" ", at)
        while place < 0 or len(buffer) < place + 1 + size:
            more = file.read(1 << 20)
            if not more or (place < 0 and len(buffer) - at > LONGEST_LINE):
                raise UserError(f"{path} ends (or is damaged) in word {number:,} of {count:,}")
            buffer, at = buffer[at:] + more, 0
            place = buffer.find(b" ")
        word = _word(path, f"word {number:,}", buffer[at:place].lstrip(b"\n"))
        at = place + 1 + size
        if wanted is None or word in wanted:
            row = np.frombuffer(buffer[place + 1 : at], dtype="<f4")
            yield word, _finite(path, f"word {number:,}", row)
        else:
            yield None


def _finite(path: Path, where: str, row: np.ndarray) -> np.ndarray:
    if not np.isfinite(row).all():
        raise UserError(f"{path}, {where}: the vector is not finite")
    return row


def _word(path: Path, where: str, word: bytes) -> str:
    try:
        return word.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}, {where}: the word is not UTF-8 ({error})") from error


def _collect(path: Path, rows: Iterator[Row], count: int | None, width: int) -> WordVectors:
    """The rows that are wanted; UserError if there are more or fewer in all than the file says."""
    found: dict[str, np.ndarray] = {}
    read = twice = 0
    for row in rows:
        if row is not None:
            twice += row[0] in found
            found.setdefault(*row)
        read += 1
    if not read or (count is not None and read != count):
        raise UserError(f"{path}: line 1 tells of {count} words, but the file holds {read}")
    if twice:
        lines = number_of(twice, "line")
        LOGGER.warning("%s: %s left out, of words that stood there before", path, lines)
    matrix = np.empty((len(found), width), dtype=np.float32)
    for number, vector in enumerate(found.values()):
        matrix[number] = vector
    return WordVectors(list(found), matrix)
