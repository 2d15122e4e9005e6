"""YAML and JSON that a user or a stranger hands over, read within limits.

A configuration, a suite, a checkpoint's state: whatever is wrong with such a file (no regular file,
too large, not UTF-8, wrong indent, nested too deep, aliases that expand, keys named twice, numbers
of thousands of digits, a value of another type) is one :class:`UserError` with file, line and
column, or file and key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scratchlab.config.schema import Mismatch, coerce
from scratchlab.errors import UserError, shortened
from scratchlab.regular_files import read_regular

YAML_BYTES = 4 * 2**20
JSON_BYTES = 256 * 2**20  # a tokenizer of a quarter of a million pieces takes 40 MB
DEPTH = 60
NODES = 200_000  # of YAML, aliases written out
DIGITS = 400
KINDS = ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "value")


def read_text(path: Path, limit: int = JSON_BYTES) -> str:
    """A whole UTF-8 file as text, a byte-order mark left out."""
    content = read_regular(path, limit)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise UserError(
            f"{path}, line {line}, column {column}: byte 0x{content[error.start]:02X} is no UTF-8",
            "Save the file as UTF-8.",
        ) from error


def read_yaml(path: Path) -> Any:
    """The plain values of a YAML file; nothing in it is looked up, and a date stays text."""
    text = read_text(path, YAML_BYTES)
    with yaml_faults(path):
        return _yaml_values(text, path)


@contextmanager
def yaml_faults(path: Path) -> Iterator[None]:
    """What a YAML library raises about a file becomes one line with the place."""
    import yaml

    try:
        yield
    except yaml.YAMLError as error:
        raise UserError(_yaml_problem(error, path)) from error
    except (ValueError, OverflowError, RecursionError) as error:  # numbers that cannot be
        raise UserError(f"{path} is no valid YAML: {shortened(str(error))}") from error


def _yaml_problem(error: Any, path: Path) -> str:
    import yaml

    mark, problem = None, str(error)
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        problem = error.problem or error.context or problem
    if isinstance(error, yaml.reader.ReaderError):  # it has no mark
        before = read_text(path, YAML_BYTES)[: error.position]
        line, column = before.count("\n") + 1, error.position - before.rfind("\n")
        code = error.character if isinstance(error.character, int) else ord(error.character)
        problem = f"the control character U+{code:04X}"
        return f"{path}, line {line}, column {column} is no valid YAML: {problem}"
    return f"{_place(path, mark)} is no valid YAML: {str(problem).splitlines()[0]}"


def _place(path: Path, mark: Any) -> str:
    return f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)


def _yaml_values(text: str, path: Path) -> Any:
    import yaml

    base: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
    depth = 0
    for event in yaml.parse(text, Loader=base):  # no recursion here, unlike in all that follows
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH:
            raise UserError(f"{_place(path, event.start_mark)}: nested more than {DEPTH} deep")
    loader = base(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _check_nodes(node, path)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _check_nodes(root: Any, path: Path) -> None:
    """What a YAML document may not have, before any value of it is made."""
    import yaml

    stack, count = [(root, 1)], 0
    while stack:
        node, depth = stack.pop()
        count += 1
        place = _place(path, node.start_mark)
        if depth > DEPTH:
            raise UserError(f"{place}: nested more than {DEPTH} deep, or a part of itself")
        if count > NODES:
            raise UserError(f"{place}: more than {NODES:,} values, aliases written out")
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if kind not in KINDS:
            raise UserError(f"{place}: the tag {shortened(node.tag)} is not used here")
        if isinstance(node, yaml.MappingNode):
            seen = set()
            for key, value in node.value:
                _check_key(key, _place(path, key.start_mark))
                if key.value in seen:
                    problem = f"the key {shortened(key.value)} is there twice"
                    raise UserError(f"{_place(path, key.start_mark)}: {problem}")
                if not key.tag.endswith(":merge"):
                    seen.add(key.value)
                stack.append((value, depth + 1))
        elif isinstance(node, yaml.SequenceNode):
            stack += [(value, depth + 1) for value in node.value]
        elif kind in ("int", "float") and len(node.value) > DIGITS:
            raise UserError(f"{place}: a number of {len(node.value):,} digits")
        elif kind == "timestamp":
            node.tag = "tag:yaml.org,2002:str"


def _check_key(key: Any, place: str) -> None:
    kind = key.tag.rpartition(":")[2]
    if kind in ("str", "int", "merge", "value"):
        if len(key.value) > DIGITS:
            raise UserError(f"{place}: a key of {len(key.value):,} characters")
        return
    words = {"timestamp": "a date", "bool": "true or false", "null": "nothing", "float": "a number"}
    what = words.get(kind, f"a {kind}")
    text = shortened(key.value) if isinstance(key.value, str) else "a list or mapping"
    raise UserError(f"{place}: the key {text} is {what}, not text", "Put it into quotes.")


def line_of_key(path: Path, keys: Sequence[str]) -> int | None:
    """The line of a YAML file that :func:`read_yaml` reads in which a nested key stands."""
    import yaml

    node, line = yaml.compose(read_text(path, YAML_BYTES), Loader=yaml.SafeLoader), None
    for key in keys:
        entries = node.value if isinstance(node, yaml.MappingNode) else []
        found = next(((k, v) for k, v in entries if k.value == key), None)
        if found is None:
            return None
        line, node = found[0].start_mark.line + 1, found[1]
    return line


def read_mapping(path: Path, what: str = "configuration") -> dict[str, Any]:
    """A YAML file whose whole content is one mapping."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no {what}")
    return {str(key): value for key, value in content.items()}


def read_json(path: Path, limit: int = JSON_BYTES) -> Any:
    """The value of a JSON file."""
    return parse_json(read_text(path, limit), str(path))


def parse_json(text: str, where: str) -> Any:
    """The value of a JSON text that was found at ``where``."""
    try:
        value = json.loads(text, object_pairs_hook=distinct)
    except json.JSONDecodeError as error:
        place = f"{where}, line {error.lineno}, column {error.colno}"
        raise UserError(f"{place} is no valid JSON: {error.msg}") from error
    except RecursionError as error:
        raise UserError(f"{where} is nested more than {DEPTH} deep") from error
    except ValueError as error:  # a key twice, a number of thousands of digits
        raise UserError(f"{where} is no valid JSON: {shortened(str(error))}") from error
    stack = [(value, 1)] if isinstance(value, dict | list) else []
    while stack:
        node, depth = stack.pop()
        if depth > DEPTH:
            raise UserError(f"{where} is nested more than {DEPTH} deep")
        inner = node.values() if isinstance(node, dict) else node
        stack += [(v, depth + 1) for v in inner if isinstance(v, dict | list)]
    return value


def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object of its pairs; ValueError for a key that is there twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {shortened(twice)} is there twice")
    return found


def require(
    content: Any, schema: Mapping[str, Any], where: str | Path, keys: Sequence[str] = ()
) -> dict[str, Any]:
    """``content`` as a mapping with the keys and types of ``schema``; others pass as they are.

    A type is written as in a configuration (``"int"``, ``"dict[str, str] | None"``) or is the
    schema of a mapping; a key that ends in ``?`` may be left out. ``where`` names the file, and
    ``keys`` lead to ``content`` in it.

    Raises:
        UserError: the first value that is missing or has another type, with its key.
    """
    if not isinstance(content, dict):
        raise UserError(f"{_key(where, keys)} holds no mapping of names to values")
    found: dict[str, Any] = dict(content)
    for name, kind in schema.items():
        key, optional = name.removesuffix("?"), name.endswith("?")
        path = (*keys, key)
        if key not in content:
            if optional:
                continue
            raise UserError(f"{_key(where, path)} is missing")
        if isinstance(kind, Mapping):
            found[key] = require(content[key], kind, where, path)
            continue
        try:
            found[key] = coerce(content[key], kind)
        except Mismatch as mismatch:
            raise UserError(f"{_key(where, path)}: {mismatch}") from mismatch
    return found


def _key(where: str | Path, keys: Sequence[str]) -> str:
    return f"{where}: {'.'.join(keys)}" if keys else str(where)
