"""No module imports another that imports it again, neither late nor for its types only."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def import_graph(root: Path, package: str) -> dict[str, set[str]]:
    """The modules of a package that each of them imports anywhere in its source."""
    paths = {}
    for path in (root / package).rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        paths[".".join(parts).removesuffix(".__init__")] = path
    graph: dict[str, set[str]] = {}
    for module, path in paths.items():
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}:{node.lineno}: a relative import"
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                names.update(name if name in paths else str(node.module) for name in inner)
        graph[module] = (names & paths.keys()) - {module}
    return graph


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Modules that import each other, in order; empty if there are none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_imports_go_in_a_circle() -> None:
    graph = import_graph(ROOT, "scratchlab")
    assert len(graph) > 200
    assert circle(graph) == []


def test_late_imports_and_those_for_types_close_a_circle(tmp_path: Path) -> None:
    package = tmp_path / "p"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
                                  "    from p.b import x\n")  # fmt: skip
    (package / "b.py").write_text("def f():\n    from p import c\n")
    (package / "c.py").write_text("import p.d\n")
    (package / "d.py").write_text("")
    assert circle(import_graph(tmp_path, "p")) == []
    (package / "d.py").write_text("from p.a import y\n")
    assert set(circle(import_graph(tmp_path, "p"))) == {"p.a", "p.b", "p.c", "p.d"}
