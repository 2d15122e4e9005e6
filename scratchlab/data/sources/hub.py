"""Data sets of the Hugging Face hub, read with the ``datasets`` library where it is installed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchlab.data.sources.corpus import Read, whole_lines
from scratchlab.data.sources.csv_cells import read_cells
from scratchlab.data.sources.locating import Pair, Splits
from scratchlab.data.sources.reading import read_objects, read_whole
from scratchlab.errors import MissingPackageError, UserError, suggest

# What hub data sets call the split that is "val" here.
SPLIT_NAMES = {"train": "train", "validation": "val", "valid": "val", "dev": "val", "test": "test"}


@dataclass(frozen=True)
class HubSet:
    """Where text lies on the hub: the columns of a data set that hold it, one or two.

    Two are the sides of pairs: columns, or languages within a column ``translation`` of the form
    ``{"en": …, "fr": …}``, as many translation data sets have it. ``id`` may be a local folder.
    """

    id: str
    config: str | None
    columns: tuple[str, ...]
    revision: str | None = None

    @classmethod
    def of(cls, config: Any, *columns: str) -> HubSet:
        """As the options of a data set name it."""
        options = vars(config)
        return cls(config.hub_id, options.get("hub_config"), columns, options.get("hub_revision"))

    @property
    def description(self) -> str:
        config = f" ({self.config})" if self.config else ""
        columns = " to ".join(self.columns) if self.columns[1:] else f"column {self.columns[0]}"
        return f"{self.id}{config}, {columns}"


def load_tables(where: HubSet, by_hand: str) -> dict[str, Any]:
    """All splits of a hub data set (or of a local folder in the hub's form: parquet, jsonl, csv).

    Its columns are read as text: in CSV files, a cell that says NA or 007 says just that.
    ``by_hand`` says how the files are got without the hub; it ends up in the error message.

    Raises:
        MissingPackageError: ``datasets`` is not installed.
        UserError: the hub cannot be reached, or has no such data set or configuration; or a CSV
            file of a local folder is damaged.
    """
    hub_id, config, texts = where.id, where.config, where.columns
    try:
        import datasets
    except ImportError as error:
        purpose = f"Loading {hub_id} from the Hugging Face hub"
        raise MissingPackageError("datasets", purpose, "hub") from error
    datasets.disable_progress_bars()
    if Path(hub_id).is_dir():
        for path in sorted(Path(hub_id).rglob("*")):
            hidden = any(name.startswith(".") for name in path.relative_to(hub_id).parts)
            if not hidden and path.is_file():
                _check_text(path, texts)
    try:
        with _no_vain_retries(hub_id):
            builder = datasets.load_dataset_builder(hub_id, config, revision=where.revision)
            options: dict[str, Any] = {}
            if "keep_default_na" in vars(builder.config):
                options = {"keep_default_na": False, "converters": dict.fromkeys(texts, str)}
            loaded = datasets.load_dataset(hub_id, config, revision=where.revision, **options)
    except Exception as error:  # the library raises its own, requests', httpx' and plain errors
        raise _explain(hub_id, config, error, by_hand) from error
    return {str(name): table for name, table in loaded.items()}


def _check_text(path: Path, texts: Sequence[str]) -> None:
    """Refuse a damaged CSV or JSON file, of which the library shifts rows or crashes."""
    kind = Path(path.name.lower().removesuffix(".gz")).suffix
    if kind in (".csv", ".tsv"):
        read_cells(path, "," if kind == ".csv" else "\t", wanted=texts)
    elif kind in (".jsonl", ".ndjson", ".json"):
        if kind == ".json":
            try:
                json.loads(read_whole(path))
                return
            except (ValueError, RecursionError):
                pass  # not one document, so one a line
        read_objects(path, ())


def known_splits(hub_id: str, tables: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of train, val and test under these names; UserError if there is none."""
    found = {SPLIT_NAMES[name]: table for name, table in tables.items() if name in SPLIT_NAMES}
    if not found:
        raise UserError(
            f"{hub_id} has no split named {', '.join(SPLIT_NAMES)}; it has: {', '.join(tables)}"
        )
    return found


def load_hub_pairs(where: HubSet, by_hand: str) -> Splits:
    """The sentence pairs of all splits (:func:`load_tables`); UserError for an unknown column."""
    tables = known_splits(where.id, load_tables(where, by_hand))
    return {split: _pairs(where, table) for split, table in tables.items()}


def _pairs(where: HubSet, table: Any) -> list[Pair]:
    columns = list(table.column_names)
    wanted = list(where.columns)
    if set(wanted) <= set(columns):
        texts: list[Iterable[Any]] = [table.select_columns([c])[c] for c in wanted]
    elif "translation" in columns:
        cells = list(table.select_columns(["translation"])["translation"])
        for language in wanted:
            if cells and language not in cells[0]:
                raise UserError(
                    f"{where.id}: no language {language!r} in the column translation",
                    suggest(language, cells[0], "Languages"),
                )
        texts = [[cell[language] for cell in cells] for language in wanted]
    else:
        missing = next(c for c in wanted if c not in columns)
        raise UserError(f"{where.id}: no column {missing!r}", suggest(missing, columns, "Columns"))
    source, target = ([one_line(cell) for cell in side] for side in texts)
    return list(zip(source, target, strict=True))


def one_line(cell: Any) -> str:
    """A cell as text of one line."""
    return "" if cell is None else " ".join(str(cell).split("\n")).strip()


def load_hub_text(where: HubSet, by_hand: str) -> tuple[dict[str, Read], dict[str, str]]:
    """The text of each split and its sha256; rows are read from the library's files as needed.

    ``by_hand`` says how the text is got without the hub; it ends up in the error message.

    Raises:
        MissingPackageError: ``datasets`` is not installed.
        UserError: the hub cannot be reached, or has no such data set, configuration or column.
    """
    (column,) = where.columns
    tables = load_tables(where, by_hand)
    reads: dict[str, Read] = {}
    hashes: dict[str, str] = {}
    for split, table in known_splits(where.id, tables).items():
        if column not in table.column_names:
            raise UserError(
                f"{where.id}: no column {column!r}",
                suggest(column, table.column_names, "Columns"),
            )
        reads[split] = _reader(table, column)
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


def load_hub_images(hub_id: str, by_hand: str) -> list[Any]:
    """Images [n, height, width] and labels [n] (bytes) of train, then those of test.

    Raises:
        MissingPackageError: ``datasets`` is not installed.
        UserError: the hub cannot be reached, or the data set has no such splits or columns.
    """
    import numpy as np

    loaded = load_tables(HubSet(hub_id, None, ()), by_hand)
    arrays: list[Any] = []
    for split in ("train", "test"):
        if split not in loaded or not {"image", "label"} <= set(loaded[split].column_names):
            raise UserError(f"{hub_id} has no split {split} of image and label", by_hand)
        table = loaded[split]
        arrays.append(np.stack([np.asarray(i.convert("L"), np.uint8) for i in table["image"]]))
        arrays.append(np.asarray(table["label"], dtype=np.uint8))
    return arrays


def _explain(hub_id: str, config: str | None, error: Exception, by_hand: str) -> UserError:
    """One clear message for whatever the library raised."""
    if type(error).__name__ == "DatasetGenerationError" and isinstance(error.__cause__, Exception):
        error = error.__cause__  # it says only that there was an error
    text = " ".join(str(error).split())
    kind = type(error).__name__
    if "Config name is missing" in text or "BuilderConfig" in text:
        names = re.findall(r"'([^']+)'", text.partition("[")[2].partition("]")[0])
        return UserError(
            f"{hub_id} has no configuration {config!r}",
            suggest(config or "", names, "Configurations (dataset.hub_config)"),
        )
    offline = is_offline() or kind in OFFLINE_ERRORS or isinstance(error, ConnectionError)
    if offline and not Path(hub_id).is_dir():
        return UserError(f"The Hugging Face hub cannot be reached for {hub_id}.", by_hand)
    if kind in ("DatasetNotFoundError", "RepositoryNotFoundError"):
        return UserError(f"The Hugging Face hub has no data set {hub_id!r}.", by_hand)
    return UserError(f"{hub_id} cannot be loaded: {kind}: {text[:300]}", by_hand)


OFFLINE_ERRORS = frozenset(
    (
        "OfflineModeIsEnabled",
        "LocalEntryNotFoundError",
        "ConnectError",
        "ConnectTimeout",
        "ReadTimeout",
        "Timeout",
        "ProxyError",
        "SSLError",
    )
)


@contextlib.contextmanager
def _no_vain_retries(hub_id: str) -> Iterator[None]:
    """Switch the libraries to offline mode when the hub's name cannot even be resolved.

    They would try again for half a minute; offline they turn at once to what was loaded before.
    Behind a proxy names are resolved elsewhere, so nothing is switched there.
    """
    import datasets.config
    import huggingface_hub.constants

    if Path(hub_id).is_dir() or urllib.request.getproxies() or _resolves():
        yield
        return
    constants, config = huggingface_hub.constants, datasets.config
    before = constants.HF_HUB_OFFLINE, config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, config.HF_HUB_OFFLINE = before


def _resolves() -> bool:
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    host = urllib.parse.urlsplit(endpoint).hostname or "huggingface.co"
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return False
    return True


def is_reachable() -> bool:
    """Whether the hub may be asked and its name is known, or a proxy would look for it."""
    return not is_offline() and (bool(urllib.request.getproxies()) or _resolves())


def is_offline() -> bool:
    """Whether the hub's own switches forbid the network."""
    switches = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
    return any(os.environ.get(s, "").upper() in ("1", "ON", "YES", "TRUE") for s in switches)


def fingerprint(pairs: Iterable[Pair]) -> str:
    """The sha256 of sentence pairs, for data that are no files here; other pairs, another one."""
    digest = hashlib.sha256()
    for pair in pairs:
        # Marks within a text are escaped: ("a\tb", "c") is not ("a", "b\tc").
        source, target = (
            t.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n") for t in pair
        )
        digest.update(f"{source}\t{target}\n".encode())
    return digest.hexdigest()
