"""Running text from the Hugging Face hub, read with ``datasets`` where it is installed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from scratchlab.data.hub import OFFLINE_ERRORS, SPLIT_NAMES, is_offline
from scratchlab.data.text import Read, whole_lines
from scratchlab.errors import MissingPackageError, UserError, suggest


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
    try:
        import datasets
    except ImportError as error:
        raise MissingPackageError(
            "datasets", f"Loading {where.id} from the Hugging Face hub", "hub"
        ) from error
    datasets.disable_progress_bars()
    try:
        loaded = datasets.load_dataset(where.id, where.config, revision=where.revision)
    except Exception as error:  # the library raises its own, requests', httpx' and plain errors
        raise _explain(where, error, by_hand) from error
    reads: dict[str, Read] = {}
    hashes: dict[str, str] = {}
    for name, table in loaded.items():
        split = SPLIT_NAMES.get(str(name))
        if split is None:
            continue
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
    if not reads:
        raise UserError(
            f"{where.id} has no split named {', '.join(SPLIT_NAMES)}; it has: {', '.join(loaded)}"
        )
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


def _explain(where: HubCorpus, error: Exception, by_hand: str) -> UserError:
    text = " ".join(str(error).split())
    kind = type(error).__name__
    if is_offline() or kind in OFFLINE_ERRORS or isinstance(error, ConnectionError):
        return UserError(f"The Hugging Face hub cannot be reached for {where.id}.", by_hand)
    if kind in ("DatasetNotFoundError", "RepositoryNotFoundError"):
        return UserError(f"The Hugging Face hub has no data set {where.id!r}.", by_hand)
    return UserError(f"{where.id} cannot be loaded: {kind}: {text[:300]}", by_hand)
