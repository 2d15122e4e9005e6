"""The one way in which files of text are read, so that all readers take and refuse the same.

A text file is UTF-8, with or without a byte order mark, plain or packed with gzip (known by its
first bytes, whatever it is called), and a regular file. Its lines end in ``\\n`` (or ``\\r\\n``)
only: Unicode's line separators are text. Everything else is a :class:`UserError` that names the
file and, where there is one, the line.
"""

from __future__ import annotations

import codecs
import functools
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from scratchlab.config.reading import distinct
from scratchlab.errors import UserError, shortened, suggest
from scratchlab.regular_files import half_of_memory, irregular, open_regular

GZIP_MAGIC = b"\x1f\x8b"
PIECE = 1 << 20  # bytes read at once
OF_A_LIST = "To make lines of a list: jq -c '.[]' OLD > NEW"
LONGEST_LINE = 1 << 26  # bytes; a stream whose lines are longer has none

# What else may have been given in place of text, by its first bytes.
OTHERS = {
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"BZh": "packed with bzip2",
    b"\xfd7zXZ": "packed with xz",
    b"\x28\xb5\x2f\xfd": "packed with zstd",
    b"PAR1": "a Parquet file",
    b"%PDF": "a PDF",
    b"\x89PNG": "a picture",
}
WIDE = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class TextFile:
    """The lines of a file."""

    path: Path
    lines: list[str]

    @functools.cached_property
    def sha256(self) -> str:
        """Of the file's bytes on disk."""
        return sha256_of(self.path)


# --- bytes --------------------------------------------------------------------------------------


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, read in pieces."""
    digest = hashlib.sha256()
    with _explained(path), open_regular(path) as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def find_file(path: Path) -> Path | None:
    """The file itself, or the same file packed (``.gz`` added) or unpacked (``.gz`` taken away).

    Something else in its place (a folder, a named pipe) is found too: opening it says what it is.

    Raises:
        UserError: the place cannot be looked at.
    """
    other = path.with_suffix("") if path.suffix == ".gz" else path.with_name(path.name + ".gz")
    with _explained(path):
        found = next((p for p in (path, other) if p.is_file()), None)
    return found or next((p for p in (path, other) if irregular(p) is not None), None)


@contextmanager
def open_unpacked(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file as a stream, unpacked if it is packed; faults become UserErrors."""
    with _explained(path), open_regular(path) as file:
        yield unpacked(file)


def unpacked(file: IO[bytes]) -> IO[bytes]:
    """A buffered stream, unpacked if its first bytes say that it is packed."""
    first = cast(io.BufferedReader, file).peek(len(GZIP_MAGIC))
    if not first.startswith(GZIP_MAGIC):
        return file
    return cast(IO[bytes], gzip.GzipFile(fileobj=file, mode="rb"))


def read_unpacked(path: Path) -> bytes:
    """All bytes of a file, unpacked; UserError for one that would fill the memory."""
    most, pieces, size = half_of_memory(), [], 0
    with open_unpacked(path) as file:
        while piece := file.read(PIECE):
            size += len(piece)
            if size > most:
                raise UserError(
                    f"{path} holds more than {most:,} bytes of text",
                    "That is half of this machine's memory; divide the file.",
                )
            pieces.append(piece)
    return b"".join(pieces)


@contextmanager
def _explained(path: Path | str) -> Iterator[None]:
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(
            f"{path}: damaged gzip file ({error})", "Copy or download the file again."
        ) from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error


# --- text ---------------------------------------------------------------------------------------


def no_text(where: Path | str, content: bytes, place: int, line: int) -> UserError:
    """Why ``content`` is no UTF-8 at ``place``, which is in ``line``, and what to do about it."""
    byte = content[place]
    what = "a NUL character" if byte == 0 else f"byte 0x{byte:02x} is not UTF-8"
    known = next((text for magic, text in OTHERS.items() if content.startswith(magic)), None)
    if known is not None and line == 1:
        return UserError(f"{where} is {known}, not text", "Unpack or export it as text first.")
    encoding = _wide(content) or ("" if byte == 0 else "cp1252" if byte < 0xA0 else "latin1")
    hint = "This is no text file, or a damaged one: get it again."
    if encoding:
        hint = f"Convert the file, for example: iconv -f {encoding} -t utf-8 OLD > NEW"
    return UserError(f"{where}, line {line}: {what}", hint)


def _wide(content: bytes) -> str | None:
    """The name of an encoding of two or four bytes a character, if these look like that."""
    for mark, name in WIDE.items():
        if content.startswith(mark):
            return name
    head = content[:200]
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) * 4 > len(head) > 3:  # half of the bytes of Latin letters are 0
        return "utf-16le" if odd > even else "utf-16be"
    return None


def decoded(path: Path, content: bytes) -> str:
    """The text of a file's unpacked bytes, without a byte order mark."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The codec for marks counts from behind the mark.
        place = error.start + len(content) - len(error.object)
        raise no_text(path, content, place, content.count(b"\n", 0, place) + 1) from error
    if "\0" in text:
        place = content.index(b"\0")
        raise no_text(path, content, place, content.count(b"\n", 0, place) + 1)
    return text


def read_whole(path: Path) -> str:
    """All text of a file, its line ends as they are."""
    return decoded(path, read_unpacked(path))


def lines_of(path: Path, text: str) -> list[str]:
    """The lines of a text without their ends; UserError where lines end as on old systems."""
    if text.count("\r") > 1 and "\n" not in text:
        raise UserError(
            f"{path}: its lines end in carriage returns only, so it would be a single line",
            r"Convert the file: tr '\r' '\n' < OLD > NEW",
        )
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def read_text(path: Path) -> TextFile:
    """All lines of a text file."""
    return TextFile(path, lines_of(path, read_whole(path)))


def read_stream(where: Path | str, file: IO[bytes], size: int = PIECE) -> Iterator[str]:
    """Text of any lengths, without a byte order mark and with ``\\n`` at the ends of lines."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines, held, first = 1, "", True
    while True:
        block = file.read(size)
        try:
            text = held + decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            content = bytes(error.object)
            line = lines + content.count(b"\n", 0, error.start)
            raise no_text(where, content, error.start, line) from error
        if "\0" in text:
            content = text.encode()
            place = content.index(b"\0")
            raise no_text(where, content, place, lines + content.count(b"\n", 0, place))
        if first and text:
            text, first = text.removeprefix("\ufeff"), False
        held = ""
        if block and text.endswith("\r"):  # its \n may be the first byte of the next block
            text, held = text[:-1], "\r"
        text = text.replace("\r\n", "\n")
        lines += text.count("\n")
        yield text
        if not block:
            return


def stream_lines(where: Path | str, file: IO[bytes]) -> Iterator[str]:
    """The lines of a stream without their ends, each as soon as it is there."""
    number = 0
    with _explained(where):
        while line := file.readline(LONGEST_LINE + 1):
            number += 1
            if len(line) > LONGEST_LINE:
                raise UserError(f"{where}, line {number}: longer than {LONGEST_LINE:,} bytes")
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                place = error.start + len(line) - len(error.object)
                raise no_text(where, line, place, number) from error
            if "\0" in text:
                raise no_text(where, line, line.index(b"\0"), number)
            yield text.removesuffix("\n").removesuffix("\r")


# --- JSON lines ---------------------------------------------------------------------------------


def read_objects(path: Path, fields: tuple[str, ...]) -> list[tuple[int, dict[str, Any]]]:
    """The JSON object of each line that is not empty, with the line's number.

    Raises:
        UserError: a line is no JSON, no object, or lacks one of ``fields``.
    """
    found = []
    for number, line in enumerate(read_text(path).lines, 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        hint = f"Each line must be one JSON object (JSON Lines). {OF_A_LIST}"
        try:
            row: Any = json.loads(line, object_pairs_hook=distinct)
        except json.JSONDecodeError as error:
            place = f"{where}, column {error.colno}"
            raise UserError(f"{place}: is no JSON ({error.msg})", hint) from error
        except (ValueError, RecursionError) as error:  # a key twice, thousands of digits
            raise UserError(f"{where}: is no JSON ({error})", hint) from error
        if not isinstance(row, dict):
            hint = f'Each line must be one: {{"{fields[0] if fields else "text"}": …}}. {OF_A_LIST}'
            raise UserError(f"{where}: is no JSON object, but {shortened(line)}", hint)
        for name in fields:
            if name not in row:
                raise UserError(f"{where}: no field {name!r}", suggest(name, row, "Fields"))
        found.append((number, row))
    return found


def text_field(path: Path, number: int, row: dict[str, Any], name: str) -> str:
    """The text in a field of a JSON object; null counts as no text.

    Raises:
        UserError: the field holds something else, or half of a surrogate pair, which no text has.
    """
    value = row[name]
    where = f"{path}, line {number}"
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UserError(f"{where}: no text in the field {name!r}, but {shortened(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{where}: the text in the field {name!r} holds half of a surrogate pair "
            f"(\\u{ord(value[error.start]):04x})"
        ) from error
    return value
