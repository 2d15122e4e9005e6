"""word2vec's text and binary formats, and GloVe's text (the same without its first line)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from scratchlab.data.sources.reading import open_unpacked
from scratchlab.errors import UserError, shortened
from scratchlab.estimators.embeddings.vectors import WordVectors
from scratchlab.run.atomic import replacing

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


def read_vectors(path: Path) -> WordVectors:
    """Vectors of a file in either format, compressed or not; of a word that stands twice the first.

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
                return _collect(path, _text_rows(path, file, second, 2, width), count)
            return _collect(path, _binary_rows(path, file, second, count, width), count)
        if len(head) < 3:
            raise UserError(
                f"{path}: line 1 is neither 'WORDS DIMENSIONS' nor a word and its vector: "
                f"{shortened(first[:60].decode(errors='replace'))}",
                "Give vectors in word2vec's text or binary format, or in GloVe's.",
            )
        return _collect(path, _text_rows(path, file, first, 1, len(head) - 1), None)


Row = tuple[str, np.ndarray]


def _is_text(line: bytes, width: int) -> bool:
    """Whether a first record is one of text: after its word stand printable characters only."""
    _, _, numbers = line.partition(b" ")
    return all(32 <= byte < 127 or byte in b"\t\r\n" for byte in numbers[: 16 * width])


def _text_rows(path: Path, file: IO[bytes], line: bytes, number: int, width: int) -> Iterator[Row]:
    while line:
        cells = line.rstrip(b"\r\n ").split(b" ")
        if len(cells) - 1 != width:
            raise UserError(
                f"{path}, line {number}: {len(cells) - 1} numbers, where the first line has or "
                f"names {width}",
                "A word must not hold spaces, and each line needs as many numbers.",
            )
        try:
            row = np.array(cells[1:], dtype=np.float32)
        except ValueError:
            raise UserError(f"{path}, line {number}: not all of it are numbers") from None
        yield _checked(path, f"line {number}", cells[0], row)
        line, number = file.readline(LONGEST_LINE), number + 1


def _binary_rows(
    path: Path, file: IO[bytes], begun: bytes, count: int, width: int
) -> Iterator[Row]:
    size, buffer = 4 * width, begun
    for number in range(1, count + 1):
        place = buffer.find(b" ")
        while place < 0 or len(buffer) < place + 1 + size:
            more = file.read(1 << 20)
            if not more or (place < 0 and len(buffer) > LONGEST_LINE):
                raise UserError(f"{path} ends (or is damaged) in word {number:,} of {count:,}")
            buffer += more
            place = buffer.find(b" ")
        row = np.frombuffer(buffer[place + 1 : place + 1 + size], dtype="<f4")
        yield _checked(path, f"word {number:,}", buffer[:place].lstrip(b"\n"), row)
        buffer = buffer[place + 1 + size :]


def _checked(path: Path, where: str, word: bytes, row: np.ndarray) -> Row:
    if not np.isfinite(row).all():
        raise UserError(f"{path}, {where}: the vector is not finite")
    try:
        return word.decode(), row
    except UnicodeDecodeError as error:
        raise UserError(f"{path}, {where}: the word is not UTF-8 ({error})") from error


def _collect(path: Path, rows: Iterator[Row], count: int | None) -> WordVectors:
    """All rows; UserError if there are more or fewer than the file says."""
    found: dict[str, np.ndarray] = {}
    read = 0
    for word, row in rows:
        found.setdefault(word, row)
        read += 1
    if not read or (count is not None and read != count):
        raise UserError(f"{path}: line 1 tells of {count} words, but the file holds {read}")
    return WordVectors(list(found), np.stack(list(found.values())).astype(np.float32))
