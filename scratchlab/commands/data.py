"""``scratchlab data``: which data sets there are, getting, checking and describing them."""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scratchlab.config.overrides import key_of, last_value
from scratchlab.config.reading import read_json, read_mapping
from scratchlab.data.catalog import (
    ROOT_VARIABLE,
    data_context,
    files_of,
    find_dataset,
    layout_table,
    located,
    presence,
)
from scratchlab.describing.described import check, described, pictures
from scratchlab.errors import ConfigError, UserError, suggest
from scratchlab.registry import Part, parts
from scratchlab.regular_files import expanded
from scratchlab.table import Table
from scratchlab.tracking.console import print_table

PIPE_COLUMNS = 160

DESCRIBED = "described.json"  # which files the tables and pictures of a folder describe
HELP = """
usage: scratchlab data list
       scratchlab data get NAME [OPTION=VALUE …]       download from the Hugging Face hub into files
       scratchlab data check NAME [OPTION=VALUE …]     files there, readable, aligned; their sha256
       scratchlab data describe NAME [OPTION=VALUE …]  layout, sizes, lengths, vocabulary, samples

Files are looked for in the folder that SCRATCHLAB_DATA names. Options are those of the data set
(`scratchlab list dataset NAME`), for example:

  scratchlab data describe multi30k_en_fr tokenizer=word
  scratchlab data check parallel_text train_source=train.en train_target=train.fr
  scratchlab data describe table path=my.csv target=price

`describe` writes its tables as CSV and Markdown and its pictures into outputs/data/NAME/ (of your
own files outputs/data/NAME-FILE/; output_dir=FOLDER: below another folder).
"""


def main(arguments: Sequence[str]) -> int:
    """Entry of the verb."""
    words = list(arguments)
    if not words or any(w in ("-h", "--help") for w in words):
        print(HELP.strip())
        return 0
    action, rest = words[0], words[1:]
    if action == "list":
        if rest:
            raise UserError(f"data list takes nothing more, but got {' '.join(rest)!r}")
        return _list()
    actions: dict[str, Callable[[Part, Any], int]] = {
        "get": _get,
        "check": _check,
    }
    known = ["list", *actions, "describe"]
    if action not in known:
        raise UserError(f"data has no action {action!r}", suggest(action, known, "Actions"))
    if not rest or "=" in rest[0]:
        names = ", ".join(parts("dataset"))
        raise UserError(f"data {action} needs the name of a data set", f"Data sets: {names}.")
    part = find_dataset(rest[0])
    words = rest[1:]
    if action == "describe":
        where = expanded(last_value(words, "output_dir") or "outputs")
        words = [w for w in words if key_of(w) != "output_dir"]
        return _describe(part, read_options(part, words), where / "data")
    return actions[action](part, read_options(part, words))


def _list() -> int:
    root = data_context().root
    rows = []
    for name, part in parts("dataset").items():
        sources = ", ".join(part.facts.get("sources", ()))
        task = str(part.facts.get("task", ""))
        rows.append([name, task, sources, presence(part, root), part.summary])
    where = str(root) if root else f"{ROOT_VARIABLE} is not set"
    _show([Table(f"data sets (files: {where})", ["name", "task", "from", "here", "what"], rows)])
    return 0


def _get(part: Part, options: dict[str, Any]) -> int:
    if "embedded" in part.facts.get("sources", ()):
        print(f"{part.name} is built in; there is nothing to get.")
        return 0
    root = data_context().root
    if root is None:
        raise UserError(
            "data get needs a folder to write to",
            f"Name one: {ROOT_VARIABLE}=FOLDER scratchlab data get {part.name}",
        )
    cls = part.load()
    wanted = located(files_of(part), root)
    if wanted and all(path is not None for _, path in wanted):
        print(f"All files of {part.name} are in {root} already.")
        return 0
    try:
        written = cls.fetch(cls.Config(**options), root)
    except UserError as error:
        raise UserError(error.message, _by_hand(part)) from error
    for path in written:
        print(f"{path}  {path.stat().st_size:,} bytes")
    return 0


def _by_hand(part: Part) -> str:
    files = ", ".join(files_of(part))
    origin = part.facts.get("origin")
    if not files or not origin:
        return f"`scratchlab list dataset {part.name}` shows the options that name your files."
    return f"By hand: get {files} from {origin} and put them into ${ROOT_VARIABLE}."


def _check(part: Part, options: dict[str, Any]) -> int:
    context = data_context()
    if files_of(part):
        _show([layout_table(part, context.root)])
    found = check(part.load(), part.load().Config(**options), context)
    _show(found.tables)
    for note in found.notes:
        print(f"note: {note}")
    for fault in found.faults:
        print(f"fault: {fault}")
    if found.faults:
        return 1
    print(f"{part.name} was read without a fault.")
    return 0


def _describe(part: Part, options: dict[str, Any], parent: Path) -> int:
    context = data_context()
    print(f"{part.name}: {part.summary}")
    if "origin" in part.facts:
        print(f"origin: {part.facts['origin']}")
    if "hub" in part.facts:
        print(f"hub: {part.facts['hub']}")
    if files_of(part):
        _show([layout_table(part, context.root)])
    cls = part.load()
    dataset = cls(cls.Config(**options), context)
    print(f"used: {dataset.provenance.kind}, {dataset.provenance.description}")
    for note in dataset.notes:
        print(f"note: {note}")
    tables = described(dataset)
    _show(tables)
    folder, said = _folder_of(parent, part, options)
    _write(folder, tables, pictures(dataset), said)
    return 0


def _write(
    folder: Path, tables: Sequence[Table], figures: Mapping[str, Any], said: Mapping[str, Any]
) -> None:
    """Tables as CSV and Markdown, pictures as PNG, and what is described."""
    from scratchlab.reporting.sink import FolderSink
    from scratchlab.run.atomic import write_json

    write_json(folder / DESCRIBED, said)
    sink = FolderSink(folder)
    names = Counter[str]()
    for table in tables:
        names[table.file_name] += 1
        count = names[table.file_name]
        name = table.file_name if count == 1 else f"{table.file_name}_{count}"
        sink.table(name, table.columns, table.rows)
    for name in figures:
        sink.figure(name, figures.__getitem__, name)
    print(f"tables{' and pictures' if figures else ''}: {folder}")


def _folder_of(parent: Path, part: Part, options: Mapping[str, Any]) -> tuple[Path, dict[str, Any]]:
    """A folder for what is said of a data set (of the user's own: named after the first file), and
    what tells it from others: the same files are described in the same folder again."""
    files: list[str] = []
    for option in part.options:
        value = options.get(option.name)
        if option.limits.get("path") == "data" and value and value != option.default:
            files += [value] if isinstance(value, str) else value
    said = {"dataset": part.name, "files": [str(expanded(f).absolute()) for f in files]}
    stem = re.sub(r"[^\w.+-]+", "-", Path(files[0]).name.removesuffix(".gz")) if files else ""
    name = f"{part.name}-{Path(stem).stem}".strip("-.") if stem else part.name
    taken = (parent / (f"{name}_{number}" if number > 1 else name) for number in itertools.count(1))
    return next(f for f in taken if not files or not f.exists() or _said(f) == said), said


def _said(folder: Path) -> Any:
    """What a folder describes, as far as it says it."""
    try:
        return read_json(folder / DESCRIBED)
    except UserError:
        return None


def read_options(part: Part, words: Sequence[str]) -> dict[str, Any]:
    """All options of a data set: its defaults, its YAML file's, then those of the command.

    Raises:
        ConfigError: everything that is wrong with them.
    """
    from scratchlab.config.origin import config_folders
    from scratchlab.config.overrides import read_values
    from scratchlab.config.schema import check_options

    values: dict[str, Any] = {}
    for folder in config_folders(None):
        path = folder / "dataset" / f"{part.name}.yaml"
        if path.is_file():
            values = read_mapping(path, "options of a data set")
            break
    given, faults = read_values([w.removeprefix("dataset.") for w in words], part.options)
    values |= given
    options, found = check_options("dataset", values, part.options, part.rules)
    if faults or found:
        raise ConfigError([*faults, *found])
    # Nothing is trained here that a batch would have to fit: auto is as good as the default.
    defaults = {o.name: o.default for o in part.options if o.limits.get("auto")}
    return {k: defaults[k] if k in defaults and v == "auto" else v for k, v in options.items()}


def _show(tables: Sequence[Table]) -> None:
    """On a terminal and where COLUMNS is set as wide as that; in a pipe there is room."""
    room = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else PIPE_COLUMNS
    for table in tables:
        print_table(table.title, table.columns, table.rows, width=room, borders=False)
