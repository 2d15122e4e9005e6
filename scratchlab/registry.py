"""Parts by name: what exists, which options each takes, and where its code lies.

A part is a class with a decorator and a ``Config`` dataclass::

    @register("model", "gpt", tasks=("language_modeling",))
    class GPT(nn.Module):
        @dataclass(frozen=True)
        class Config:
            d_model: int = option(128, "width of the residual stream", min=1)

Parts are found by *reading* the package's source files (``ast``), not by importing them: listing,
``--help`` and the check of a configuration cost milliseconds and never load torch. A part's module
is imported only when the part is built. A configuration or a checkpoint names parts by their
registered names only; no import path is ever read from one, so opening a stranger's file cannot
run a stranger's code. Other packages add parts through the entry-point group ``scratchlab.parts``,
whose values name modules or packages to read in the same way.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from scratchlab.errors import MissingPackageError, UserError, shortened, suggest

ENTRY_POINTS = "scratchlab.parts"

# kind -> (the folder of the package that holds it, the section of a configuration that names it)
KINDS: dict[str, tuple[str, str]] = {
    "dataset": ("data", "dataset"),
    "task": ("tasks", "task"),
    "model": ("models", "model"),
    "estimator": ("estimators", "model"),
    "representation": ("representations", "representation"),
    "method": ("methods", "method"),
    "decoding": ("decoding", "decoding"),
    "optimizer": ("training", "optimizer"),
    "scheduler": ("training", "scheduler"),
    "trainer": ("training", "trainer"),
    "evaluator": ("evaluation", "evaluator"),
    "tracker": ("tracking", "tracker"),
    "outputs": ("evaluation/outputs", ""),  # a data set names them; they have no options
    "exercise": ("exercises", ""),  # a person names them, on the command line
}

C = TypeVar("C", bound=type)
PACKAGE = f"{__package__}."
_Found = tuple[ast.ClassDef, ast.Module, Path]  # a class and the module that defines it


def register(kind: str, name: str, **facts: Any) -> Callable[[C], C]:
    """Mark a class as the part ``name`` of ``kind``.

    ``facts`` (literals, or constants of the module) tell what can be known without importing the
    class: ``tasks`` that a model can be trained for, the ``task`` that a data set poses, the
    packages that a part ``needs``.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; one of {sorted(KINDS)}")

    def mark(cls: C) -> C:
        for attribute, value in (("kind", kind), ("name", name), ("facts", facts)):
            setattr(cls, f"registered_{attribute}", value)
        return cls

    return mark


def option(
    default: Any,
    meaning: str,
    *,
    min: float | None = None,
    max: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: tuple[Any, ...] | None = None,
    describes: str | None = None,
    path: str | None = None,
    when: dict[str, Any] | None = None,
    auto: str | None = None,
) -> Any:
    """A field of a ``Config``: its default, its meaning in one line, and the values it may take.

    ``min``/``max`` include the bound, ``above``/``below`` exclude it; for a list they hold for each
    element. ``describes`` names a kind of part: the value describes one of them (``{name: NAME,
    OPTION: VALUE, …}``) or several by labels. ``path`` says that the value is one: of
    "data", of a "folder", or of what may be a "name" (:mod:`scratchlab.config.places`). ``when``:
    the values of other options without which this one does nothing ({option: value, or a tuple of
    values}); who sets it all the same is told. ``auto``: the value may also be the word auto, and
    what that takes; it is a value of the type by the time the part is used. All arguments must be
    literals, since they are read without importing the module.
    """
    metadata = {
        "meaning": meaning,
        "min": min,
        "max": max,
        "above": above,
        "below": below,
        "choices": choices,
        "describes": describes,
        "path": path,
        "when": when,
        "auto": auto,
    }
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Option:
    """One declared option as read from the source: name, type as written, default, limits."""

    name: str
    type: str
    default: Any
    meaning: str
    limits: dict[str, Any]
    required: bool = False


@dataclass(frozen=True)
class Part:
    """A registered part as read from its source file; ``load`` imports the class itself."""

    kind: str
    name: str
    module: str
    qualname: str
    facts: dict[str, Any]
    options: tuple[Option, ...]
    rules: tuple[tuple[str, str], ...]
    summary: str
    path: Path

    def load(self) -> Any:
        """Import the module and return the class."""
        found: Any = importlib.import_module(self.module)
        for attribute in self.qualname.split("."):
            found = getattr(found, attribute)
        return found

    def defaults(self) -> dict[str, Any]:
        return {o.name: o.default for o in self.options}


def parts(kind: str) -> dict[str, Part]:
    """All parts of a kind by name: the package's own first, then those of other packages."""
    found: dict[str, Part] = {}
    for part in (*_own_parts(kind), *_foreign_parts(kind)):
        if part.name in found and found[part.name].path != part.path:
            raise UserError(
                f"two parts of kind {kind!r} are named {part.name!r}: "
                f"{found[part.name].path} and {part.path}"
            )
        found[part.name] = part
    return found


def section_parts(section: str) -> dict[str, Part]:
    """All parts that a section of a configuration may name (``model``: models and estimators)."""
    found: dict[str, Part] = {}
    for kind, (_, its_section) in KINDS.items():
        if its_section == section:
            found.update(parts(kind))
    return found


def find(section: str, name: str) -> Part:
    """The part that a section of a configuration names; UserError with the nearest name."""
    known = section_parts(section)
    if name not in known:
        raise UserError(f"unknown {section} {shortened(name)}", suggest(name, known))
    return known[name]


@functools.cache
def _own_parts(kind: str) -> tuple[Part, ...]:
    folder = Path(__file__).parent / KINDS[kind][0]
    package = f"{PACKAGE}{KINDS[kind][0].replace('/', '.')}"
    return tuple(_read_tree(folder, package, kind))


@functools.cache
def _foreign_parts(kind: str) -> tuple[Part, ...]:
    return tuple(part for part in _all_foreign_parts() if part.kind == kind)


@functools.cache
def _all_foreign_parts() -> tuple[Part, ...]:
    from importlib.metadata import entry_points

    found: list[Part] = []
    for entry in entry_points(group=ENTRY_POINTS):
        spec = importlib.util.find_spec(entry.value)
        if spec is None or spec.origin is None:
            raise UserError(
                f"entry point {entry.name!r} of group {ENTRY_POINTS} names {entry.value!r}, "
                "which cannot be found"
            )
        for kind in KINDS:
            if spec.submodule_search_locations:
                for location in spec.submodule_search_locations:
                    found += _read_tree(Path(location), entry.value, kind)
            else:
                found += _read_file(Path(spec.origin), entry.value, kind)
    return tuple(found)


def _read_tree(folder: Path, package: str, kind: str) -> Iterator[Part]:
    for path in sorted(folder.rglob("*.py")):
        inner = path.relative_to(folder).with_suffix("").parts
        names = [package, *(n for n in inner if n != "__init__")]
        yield from _read_file(path, ".".join(names), kind)


def _read_file(path: Path, module: str, kind: str) -> Iterator[Part]:
    source = path.read_text(encoding="utf-8")
    if "@register(" not in source:
        return
    tree = _parse(path, source)
    for node in _classes(tree).values():
        for decorator in node.decorator_list:
            if _called_name(decorator) != "register":
                continue
            assert isinstance(decorator, ast.Call)
            its_kind, name = (ast.literal_eval(a) for a in decorator.args)
            if its_kind != kind:
                continue
            facts = {k.arg: _literal(k.value, tree) for k in decorator.keywords if k.arg}
            options, rules = _read_config(node, tree, path) if KINDS[kind][1] else ((), ())
            doc = ast.get_docstring(node) or ast.get_docstring(tree) or ""
            yield Part(
                kind=kind,
                name=name,
                module=module,
                qualname=node.name,
                facts=facts,
                options=options,
                rules=rules,
                summary=doc.split("\n\n")[0].replace("\n", " "),
                path=path,
            )


def _literal(value: ast.expr, tree: ast.Module) -> Any:
    """A literal, or the name of a constant that the module gives one at its top level."""
    if isinstance(value, ast.Name):
        for line in tree.body:
            if isinstance(line, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == value.id for target in line.targets
            ):
                return ast.literal_eval(line.value)
    return ast.literal_eval(value)


def _classes(tree: ast.Module) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def _find_class(base: ast.expr, tree: ast.Module, path: Path) -> _Found | None:
    """The class that a module means by ``NAME`` or ``NAME.NESTED``, its own or one that it imports
    from this package; None for others, which declare no options."""
    if isinstance(base, ast.Attribute):
        outer = _find_class(base.value, tree, path)
        inner = [n for n in outer[0].body if _is_class(n, base.attr)] if outer else []
        return (inner[0], *outer[1:]) if outer and inner else None  # type: ignore[return-value]
    if not isinstance(base, ast.Name):
        return None
    for node in tree.body:
        if _is_class(node, base.id):
            return node, tree, path  # type: ignore[return-value]
        if not isinstance(node, ast.ImportFrom) or not f"{node.module}.".startswith(PACKAGE):
            continue
        for alias in node.names:
            if base.id == (alias.asname or alias.name):
                place = Path(__file__).parent.joinpath(*str(node.module).split(".")[1:])
                place = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
                inner_tree = _parse(place, place.read_text(encoding="utf-8"))
                return _find_class(ast.Name(alias.name), inner_tree, place)
    return None


def _is_class(node: ast.stmt, name: str) -> bool:
    return isinstance(node, ast.ClassDef) and node.name == name


@functools.cache
def _parse(path: Path, source: str) -> ast.Module:
    return ast.parse(source, filename=str(path))


def _called_name(node: ast.AST) -> str | None:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id
    return None


def _read_config(
    node: ast.ClassDef, tree: ast.Module, path: Path
) -> tuple[tuple[Option, ...], tuple[tuple[str, str], ...]]:
    """The ``Config`` of a part: nested in its class, or the module's own; with inherited fields."""
    nested = {n.name: n for n in node.body if isinstance(n, ast.ClassDef)}
    config = nested.get("Config") or _classes(tree).get("Config")
    if config is None:
        raise UserError(f"{path}:{node.lineno}: the part {node.name} declares no Config dataclass")
    return _read_fields(config, tree, path)


def _read_fields(
    config: ast.ClassDef, tree: ast.Module, path: Path
) -> tuple[tuple[Option, ...], tuple[tuple[str, str], ...]]:
    options: dict[str, Option] = {}
    rules: list[tuple[str, str]] = []
    for base in config.bases:
        if found := _find_class(base, tree, path):
            inherited, its_rules = _read_fields(*found)
            options.update((o.name, o) for o in inherited)
            rules += its_rules
    for line in config.body:
        if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name):
            continue
        name, annotation = line.target.id, ast.unparse(line.annotation)
        if name == "RULES":
            rules += ast.literal_eval(line.value) if line.value else []
        elif not annotation.startswith("ClassVar"):
            options[name] = _read_option(name, annotation, line, path)
    return tuple(options.values()), tuple(rules)


def _read_option(name: str, annotation: str, line: ast.AnnAssign, path: Path) -> Option:
    if line.value is None:
        return Option(name, annotation, None, "", {}, required=True)
    if _called_name(line.value) != "option":
        return Option(name, annotation, ast.literal_eval(line.value), "", {})
    assert isinstance(line.value, ast.Call)
    try:
        arguments = [ast.literal_eval(a) for a in line.value.args]
        limits = {k.arg: ast.literal_eval(k.value) for k in line.value.keywords if k.arg}
    except ValueError as error:
        raise UserError(f"{path}:{line.lineno}: option {name!r} takes literals only") from error
    return Option(name, annotation, arguments[0], arguments[1], limits)


def read_options(path: Path, class_name: str) -> tuple[Option, ...]:
    """The options that a top-level dataclass of a source file declares, without importing it."""
    tree = _parse(path, path.read_text(encoding="utf-8"))
    return _read_fields(_classes(tree)[class_name], tree, path)[0]


def build(section: str, entry: dict[str, Any], *arguments: Any) -> Any:
    """Build the part that a checked section of a configuration describes.

    ``entry`` holds ``name`` and the options; the class is called as ``cls(config, *arguments)``.
    Parts whose packages are missing say so in one line.
    """
    part = find(section, str(entry["name"]))
    require_packages(part, section)
    cls = part.load()
    config_class = getattr(cls, "Config", None) or importlib.import_module(part.module).Config
    options = {k: v for k, v in entry.items() if k != "name"}
    return cls(config_class(**options), *arguments)


def require_packages(part: Part, section: str) -> None:
    """MissingPackageError if a package that a part needs is not installed."""
    for package in part.facts.get("needs", ()):
        if importlib.util.find_spec(package) is None:
            raise MissingPackageError(package, f"{section}={part.name}", part.facts.get("extra"))


def is_estimator(config: Mapping[str, Any]) -> bool:
    """Whether the model of a configuration is an estimator (and no torch module)."""
    name = (config.get("model") or {}).get("name")
    return name is not None and find("model", name).kind == "estimator"
