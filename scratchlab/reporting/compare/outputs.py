"""What a run said to each example, read from its folder and checked by the hash in its results."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchlab.config.reading import parse_json
from scratchlab.errors import UserError, shortened
from scratchlab.evaluation.comparable import parts_of
from scratchlab.evaluation.contract import Measurement
from scratchlab.evaluation.records import FOLDER
from scratchlab.evaluation.rescoring import OF_THE_FILE, statistic
from scratchlab.evaluation.rescoring.contract import Columns, Statistic
from scratchlab.regular_files import read_regular

FILE = re.compile(rf"{FOLDER}/[A-Za-z0-9][A-Za-z0-9._+-]*\.jsonl")
BYTES = 512 * 2**20


@dataclass(frozen=True)
class Outputs:
    """The lines of one file as columns; ``ids`` are places in the split."""

    path: Path
    columns: Columns

    @property
    def ids(self) -> list[int]:
        return list(self.columns["id"])


class Reader:
    """Reads each file once."""

    def __init__(self) -> None:
        self._read: dict[Path, Outputs] = {}

    def outputs(self, folder: Path, measured: Measurement) -> Outputs:
        """The file that a figure of the run in ``folder`` is made of.

        Raises:
            UserError: the run kept none, or it is not what was written then.
        """
        file = str(measured.examples.get("file", ""))
        if not file:
            raise UserError(
                f"{folder} kept no outputs of its examples for {measured.name}",
                f"Make them: scratchlab eval {folder}",
            )
        if not FILE.fullmatch(file):
            raise UserError(f"{folder / 'results.json'}: {shortened(file)} is no file of outputs")
        path = folder / file
        if path not in self._read:
            self._read[path] = read_outputs(path, str(measured.examples.get("sha256")), folder)
        return self._read[path]

    def statistic(self, folder: Path, measured: Measurement) -> Statistic:
        """The figure as it is made again from its file."""
        found = self.outputs(folder, measured)
        try:
            return statistic(measured.examples, found.columns)
        except UserError as error:
            raise UserError(f"{found.path} {error.message}", error.hint) from error


def read_outputs(path: Path, sha256: str, run: Path) -> Outputs:
    """The columns of a file whose content has this hash."""
    again = f"Make it anew: scratchlab eval {run}"
    if not path.is_file():
        raise UserError(f"{path} is gone", again)
    content = read_regular(path, BYTES)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(
            f"{path} was changed since it was written: its hash is not the one in results.json",
            again,
        )
    columns: dict[str, list[Any]] = {}
    # Only \n ends a line: texts may hold other characters that some take for the end of one.
    for number, text in enumerate(content.decode("utf-8", "replace").split("\n")[:-1], 1):
        line = parse_json(text, f"{path}, line {number}")
        if not isinstance(line, dict) or not isinstance(line.get("id"), int):
            raise UserError(f"{path}, line {number}: there is no example with an id")
        if number > 1 and line.keys() != columns.keys():
            raise UserError(f"{path}, line {number}: other names than in the first line")
        for name, value in line.items():
            columns.setdefault(name, []).append(value)
    if not columns:
        raise UserError(f"{path} is empty", again)
    return Outputs(path, columns)


def why_unlike(ours: tuple[Measurement, Outputs], theirs: tuple[Measurement, Outputs]) -> str:
    """What keeps two figures from being compared example by example; empty if nothing does.

    ``ours`` are those of the row that is compared with, and are named second.
    """
    (base, asked), (other, also) = ours, theirs
    if base.split != other.split:
        return f"it was measured on the split {other.split}, there {base.split}"
    data, how = parts_of(base.compares)
    other_data, other_how = parts_of(other.compares)
    if data != other_data and data and other_data:
        return f"its data are {other_data}, there {data}"
    if how != other_how and how and other_how:
        return f"it counts {other_how}, there {how}"
    there, here = _options(base.examples), _options(other.examples)
    for key in {**there, **here}:
        if there.get(key) != here.get(key):
            return f"it is scored with {key}={here.get(key)}, there {there.get(key)}"
    if asked.ids != also.ids:
        more = sorted(set(asked.ids) ^ set(also.ids))
        if not more:
            return "its examples stand in another order"
        return (
            f"it has {len(also.ids):,} examples, there {len(asked.ids):,} "
            f"(example {more[0]} is in one only)"
        )
    if base.examples.get("data") != other.examples.get("data"):
        return _first_difference(asked, also)
    return ""


def _options(examples: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in examples.items() if k not in OF_THE_FILE} | {
        "statistic": examples.get("statistic")
    }


def _first_difference(asked: Outputs, also: Outputs) -> str:
    for column, verb in (("given", "was given"), ("expected", "expects")):
        pairs = zip(asked.columns.get(column, ()), also.columns.get(column, ()))
        for i, (there, here) in enumerate(pairs):
            if there != here:
                return (
                    f"its data are others: example {asked.ids[i]} {verb} {shortened(here)}, "
                    f"there {shortened(there)}"
                )
    return "its data are others (their hashes differ)"
