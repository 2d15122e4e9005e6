"""Data sets of the Hugging Face hub, read with the ``datasets`` library where it is installed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchlab.data.sources import Pair, Splits
from scratchlab.errors import MissingPackageError, UserError, suggest

# What hub data sets call the split that is "val" here.
SPLIT_NAMES = {"train": "train", "validation": "val", "valid": "val", "dev": "val", "test": "test"}


@dataclass(frozen=True)
class HubText:
    """Where sentence pairs lie on the hub.

    ``source_column`` and ``target_column`` are columns of text, or languages within a column
    ``translation`` of the form ``{"en": …, "fr": …}``, as many translation data sets have it.
    """

    id: str
    config: str | None
    source_column: str
    target_column: str

    @property
    def description(self) -> str:
        config = f" ({self.config})" if self.config else ""
        return f"{self.id}{config}, {self.source_column} to {self.target_column}"


def load_hub_pairs(where: HubText, by_hand: str) -> Splits:
    """All splits of a hub data set (or of a local folder in the hub's form: parquet, jsonl, csv).

    ``by_hand`` says how the files are got without the hub; it ends up in the error message.

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
        with _no_vain_retries(where.id):
            loaded = datasets.load_dataset(where.id, where.config)
    except Exception as error:  # the library raises its own, requests', httpx' and plain errors
        raise _explain(where, error, by_hand) from error
    splits: Splits = {}
    for name, table in loaded.items():
        split = SPLIT_NAMES.get(str(name))
        if split is not None:
            splits[split] = _pairs(where, table)
    if not splits:
        raise UserError(
            f"{where.id} has no split named {', '.join(SPLIT_NAMES)}; it has: {', '.join(loaded)}"
        )
    return splits


def _pairs(where: HubText, table: Any) -> list[Pair]:
    columns = list(table.column_names)
    wanted = [where.source_column, where.target_column]
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
    source, target = ([" ".join(str(t or "").split("\n")).strip() for t in side] for side in texts)
    return list(zip(source, target, strict=True))


def load_hub_images(hub_id: str, by_hand: str) -> list[Any]:
    """Images [n, height, width] and labels [n] (bytes) of train, then those of test.

    Raises:
        MissingPackageError: ``datasets`` is not installed.
        UserError: the hub cannot be reached, or the data set has no such splits or columns.
    """
    import numpy as np

    try:
        import datasets
    except ImportError as error:
        purpose = f"Loading {hub_id} from the Hugging Face hub"
        raise MissingPackageError("datasets", purpose, "hub") from error
    from scratchlab.data.image_files import image_pixels

    datasets.disable_progress_bars()
    where = HubText(hub_id, None, "image", "label")
    try:
        with _no_vain_retries(hub_id):
            loaded = datasets.load_dataset(hub_id)
    except Exception as error:  # the library raises its own, requests', httpx' and plain errors
        raise _explain(where, error, by_hand) from error
    arrays: list[Any] = []
    for split in ("train", "test"):
        if split not in loaded or not {"image", "label"} <= set(loaded[split].column_names):
            raise UserError(f"{hub_id} has no split {split} of image and label", by_hand)
        table = loaded[split]
        images = table["image"]
        shape = (1, images[0].height, images[0].width)
        arrays.append(np.stack([image_pixels(image, shape)[0] for image in images]))
        arrays.append(np.asarray(table["label"], dtype=np.uint8))
    return arrays


def _explain(where: HubText, error: Exception, by_hand: str) -> UserError:
    """One clear message for whatever the library raised."""
    text = " ".join(str(error).split())
    kind = type(error).__name__
    if "Config name is missing" in text or "BuilderConfig" in text:
        names = re.findall(r"'([^']+)'", text.partition("[")[2].partition("]")[0])
        return UserError(
            f"{where.id} has no configuration {where.config!r}",
            suggest(where.config or "", names, "Configurations (dataset.hub_config)"),
        )
    if is_offline() or kind in OFFLINE_ERRORS or isinstance(error, ConnectionError):
        return UserError(f"The Hugging Face hub cannot be reached for {where.id}.", by_hand)
    if kind in ("DatasetNotFoundError", "RepositoryNotFoundError"):
        return UserError(f"The Hugging Face hub has no data set {where.id!r}.", by_hand)
    return UserError(f"{where.id} cannot be loaded: {kind}: {text[:300]}", by_hand)


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
