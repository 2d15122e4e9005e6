"""Running text from the Hugging Face hub, read with ``datasets`` where it is installed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from scratchlab.data.sources.corpus import Read, whole_lines
from scratchlab.data.sources.hub import known_splits, load_tables
from scratchlab.errors import UserError, suggest


@dataclass(frozen=True)
class HubCorpus:
    """Where a corpus lies on the hub: ``column`` holds text, one line or one document a row."""

    id: str
    config: str | None
    column: str
    revision: str | None = None

    @property
    def description(self) -> str:
        config = f" ({self.config})" if self.config else ""
        return f"{self.id}{config}, column {self.column}"


def load_hub_text(where: HubCorpus, by_hand: str) -> tuple[dict[str, Read], dict[str, str]]:
    """The text of each split and its sha256; rows are read from the library's files as needed.

    ``by_hand`` says how the text is got without the hub; it ends up in the error message.

    Raises:
        MissingPackageError: ``datasets`` is not installed.
        UserError: the hub cannot be reached, or has no such data set, configuration or column.
    """
    tables = load_tables(where.id, where.config, (where.column,), by_hand, where.revision)
    reads: dict[str, Read] = {}
    hashes: dict[str, str] = {}
    for split, table in known_splits(where.id, tables).items():
        if where.column not in table.column_names:
            raise UserError(
                f"{where.id}: no column {where.column!r}",
                suggest(where.column, table.column_names, "Columns"),
            )
        reads[split] = _reader(table, where.column)
        digest = hashlib.sha256()
        for piece in reads[split]():
            digest.update(piece.encode())
        hashes[split] = digest.hexdigest()
    return reads, hashes


def _reader(table: Any, column: str) -> Read:
    def rows() -> Iterator[str]:
        for batch in table.select_columns([column]).iter(batch_size=1000):
            yield "".join(
                text if text.endswith("\n") else text + "\n" for text in map(_text, batch[column])
            )

    return lambda: whole_lines(rows())


def _text(cell: Any) -> str:
    return "" if cell is None else str(cell).replace("\r\n", "\n")
