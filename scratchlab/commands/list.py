"""``scratchlab list``: what there is to choose from."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scratchlab.config.origin import GLOBAL, config_folders
from scratchlab.config.reading import read_text, read_yaml
from scratchlab.errors import UserError, suggest
from scratchlab.registry import Part, section_parts
from scratchlab.regular_files import expanded

HELP = """
usage: scratchlab list [GROUP] [NAME]

  scratchlab list                  all groups and the choices in each; how long experiments and
                                   suites take, and whether their data is here
  scratchlab list model            the models, a line each
  scratchlab list model NAME       the options of one, with types, meanings and the values that
                                   model=NAME gives, and what else that sets
  --config-dir FOLDER              your own YAML files too
"""

SECTIONS = (
    "model", "dataset", "representation", "task", "method", "optimizer", "scheduler", "trainer",
    "decoding", "evaluator", "tracker",
)  # fmt: skip
TIMED = ("experiment", "suite")


def main(arguments: Sequence[str]) -> int:
    """Entry of the verb."""
    if any(a in ("-h", "--help") for a in arguments):
        print(HELP.strip())
        return 0
    arguments, config_dir = _without_folder(arguments)
    groups = choices(config_dir)
    if not arguments:
        for group, names in groups.items():
            print(f"{group}:")
            print(_timed(group, names, config_dir) if group in TIMED else _wrapped(names))
        print("\nscratchlab list GROUP tells more about each.")
        return 0
    group = arguments[0].rstrip("s") if arguments[0] not in groups else arguments[0]
    if group not in groups:
        raise UserError(f"there is no group {arguments[0]!r}", suggest(arguments[0], groups))
    if len(arguments) == 1:
        _print_group(group, groups[group], config_dir)
        return 0
    if len(arguments) > 2:
        raise UserError(f"list takes a group and a name, not {len(arguments)} words")
    _print_one(group, arguments[1], config_dir)
    return 0


def _without_folder(arguments: Sequence[str]) -> tuple[list[str], str | None]:
    """The words without ``--config-dir FOLDER``, and that folder."""
    words = list(arguments)
    for flag in ("--config-dir", "-cd"):
        if flag in words:
            at = words.index(flag)
            if at + 1 >= len(words):
                raise UserError(f"{flag} needs a folder")
            folder = words[at + 1]
            if not expanded(folder).is_dir():
                raise UserError(f"{flag}: {folder} is no folder")
            return words[:at] + words[at + 2 :], folder
    return words, None


def choices(config_dir: str | None = None) -> dict[str, list[str]]:
    """The YAML files of every group by name, read from the folders without Hydra."""
    found: dict[str, set[str]] = {}
    for folder in config_folders(config_dir):
        for path in folder.glob("*/*.yaml"):
            found.setdefault(path.parent.name, set()).add(path.stem)
    order = [*SECTIONS, "experiment", "suite", "sweep"]
    known = [g for g in order if g in found] + sorted(g for g in found if g not in order)
    return {g: sorted(found[g]) for g in known}


def _wrapped(names: Sequence[str], width: int = 90) -> str:
    lines, line = [], "   "
    for name in names:
        if len(line) + len(name) + 1 > width:
            lines.append(line)
            line = "   "
        line += f" {name}"
    return "\n".join([*lines, line])


def _timed(group: str, names: Sequence[str], config_dir: str | None) -> str:
    """A line each: the name, how long it takes, whether its data is here."""
    from scratchlab.data.catalog import data_context
    from scratchlab.studies.prepared import prepared

    root = data_context().root
    rows = [(one.name, one.takes, one.data(root)) for one in prepared(group, names, config_dir)]
    widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
    return "\n".join(f"    {n:<{widths[0]}}  {t:<{widths[1]}}  {d}".rstrip() for n, t, d in rows)


def _print_group(group: str, names: Sequence[str], config_dir: str | None) -> None:
    parts = section_parts(group) if group in SECTIONS else {}
    width = max(len(n) for n in names)
    for name in names:
        path = _path(group, name, config_dir)
        part = parts.get(name) or parts.get(_registered(path))
        print(
            f"  {name:<{width}}  {_heading(path) or (part.summary if part else '')}{_needs(part)}"
        )


def _needs(part: Part | None) -> str:
    """What a part wants beside scratchlab itself."""
    if part is None:
        return ""
    wants = [f"package {p}" for p in part.facts.get("needs", ())]
    if part.kind == "dataset" and "files" in part.facts.get("sources", ()):
        wants.append("files" if not os.environ.get("SCRATCHLAB_DATA") else "")
    tasks = part.facts.get("tasks") or ([part.facts["task"]] if "task" in part.facts else [])
    notes = [" ".join(tasks)] if tasks else []
    notes += [f"needs {' and '.join(w for w in wants if w)}"] if any(wants) else []
    return f" [{'; '.join(notes)}]" if notes else ""


def _path(group: str, name: str, config_dir: str | None) -> Path:
    for folder in config_folders(config_dir):
        if (folder / group / f"{name}.yaml").is_file():
            return folder / group / f"{name}.yaml"
    raise UserError(f"there is no {group} {name!r}", suggest(name, choices(config_dir)[group]))


def _heading(path: Path) -> str:
    """The first sentence of the comment at the top of a YAML file."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith(("# @package", "# takes:")):
            lines.append(line.lstrip("# ").rstrip())
    return re.split(r"(?<!\bal)\. ", " ".join(lines))[0].rstrip(".")


def _registered(path: Path) -> str:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip().startswith("name:"):
            return line.partition(":")[2].strip()
    return path.stem


def given(path: Path, group: str) -> tuple[dict[str, Any], list[str]]:
    """The values that a YAML file gives to the options of its own part, and the words for what else
    it sets."""
    content = read_yaml(path) or {}
    if not isinstance(content, Mapping):
        return {}, []
    if GLOBAL.search(read_text(path)) is None:
        return {str(k): v for k, v in content.items()}, []
    own = content.get(group) or {}
    words = []
    for entry in content.get("defaults") or []:
        for key, value in entry.items() if isinstance(entry, Mapping) else ():
            chosen = f"[{','.join(map(str, value))}]" if isinstance(value, list) else shown(value)
            words.append(f"{str(key).removeprefix('override ').lstrip('/')}={chosen}")
    for section, values in content.items():
        if section in ("defaults", group):
            continue
        entries = values.items() if isinstance(values, Mapping) else [("", values)]
        words += [f"{section}{'.' if key else ''}{key}={shown(value)}" for key, value in entries]
    return {str(k): v for k, v in own.items()}, words


def shown(value: Any) -> str:
    """A value as it is written on a command line."""
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)


def _print_one(group: str, name: str, config_dir: str | None) -> None:
    path = _path(group, name, config_dir)
    parts = section_parts(group) if group in SECTIONS else {}
    part = parts.get(name) or parts.get(_registered(path))
    if part is None:
        print(path.read_text(encoding="utf-8").rstrip())
        return
    print(f"{name}: {part.summary}\n")
    values, others = given(path, group)
    prefix = f"{group}.{part.name}" if group in ("evaluator", "tracker", "method") else group
    for option in part.options:
        limits = [
            f"{word} {option.limits[key]}"
            for key, word in (("min", "≥"), ("above", ">"), ("max", "≤"), ("below", "<"))
            if option.limits.get(key) is not None
        ]
        if option.limits.get("auto"):
            limits.append(f"or auto: {option.limits['auto']}")
        if option.limits.get("choices"):
            limits.append("one of " + ", ".join(map(str, option.limits["choices"])))
        head = f"  {prefix}.{option.name}={shown(values.get(option.name, option.default))}"
        print(f"{head:<44} {option.meaning} ({', '.join([option.type, *limits])})")
    for _, message in part.rules:
        print(f"  rule: {message}")
    if others:
        print(f"\n{group}={name} also sets: {'  '.join(others)}")
    print(f"\n{path}")
