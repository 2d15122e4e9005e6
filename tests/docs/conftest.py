"""The files that docs/add-a-part.md shows, as an installed package of somebody else."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scratchlab import registry

ROOT = Path(__file__).resolve().parents[2]
NAMED = re.compile(r"^`([\w/.]+)`:\n\n```\w+\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
GROUP = '[project.entry-points."scratchlab.parts"]\n'


@pytest.fixture(scope="session")
def shown() -> dict[str, str]:
    """The files of the page by their path in this repository."""
    return dict(NAMED.findall((ROOT / "docs/add-a-part.md").read_text(encoding="utf-8")))


@pytest.fixture
def own_parts(
    shown: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[str]]:
    """The parts are installed, ``configs/`` is in the working folder; their names."""
    site = tmp_path / "site"
    info = site / "own_parts-1.0.dist-info"
    info.mkdir(parents=True)
    for path, text in shown.items():
        place = tmp_path / path if path.startswith("configs/") else site / Path(path).name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-parts\nVersion: 1.0\n")
    page = (ROOT / "docs/add-a-part.md").read_text(encoding="utf-8")
    declared = page.partition(GROUP)[2].partition("```")[0]
    (info / "entry_points.txt").write_text("[scratchlab.parts]\n" + declared.replace('"', ""))
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))  # of the processes that sweeps and suites start
    monkeypatch.chdir(tmp_path)
    names = [Path(path).stem for path in shown if path.startswith("scratchlab/")]

    def forget() -> None:
        registry._foreign_parts.cache_clear()
        registry._all_foreign_parts.cache_clear()
        importlib.invalidate_caches()
        for name in names:
            sys.modules.pop(name, None)

    forget()
    yield names
    forget()
