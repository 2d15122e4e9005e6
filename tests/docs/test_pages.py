"""What the pages name is there: files, tests, pages, anchors; the site is told of every page."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PATH = re.compile(r"`((?:scratchlab|tests|scripts|configs|docs)/[\w/.-]+?)(?:::(\w+))?`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```.*?^```", flags=re.DOTALL | re.MULTILINE)


def test_every_file_and_test_that_a_page_names_is_there(shown: dict[str, str]) -> None:
    missing: list[str] = []
    named = 0
    for page in PAGES:
        for path, test in PATH.findall(BLOCK.sub("", page.read_text(encoding="utf-8"))):
            named += bool(test)
            if path in shown or path == "docs/results/NAME.json":
                continue
            file = ROOT / path
            found = file.exists()
            if found and test:
                found = f"def {test}(" in file.read_text(encoding="utf-8")
            if not found:
                missing.append(f"{page.name}: {path}{f'::{test}' if test else ''}")
    assert not missing, "\n".join(missing)
    assert named > 40


def test_every_link_leads_to_a_page_or_is_an_address() -> None:
    wrong: list[str] = []
    for page in PAGES:
        for link in LINK.findall(BLOCK.sub("", page.read_text(encoding="utf-8"))):
            if re.fullmatch(r"https://[\w.-]+\.[a-z]+(/[\w./#?=&%~-]*)?", link):
                continue
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            if not target.is_file():
                wrong.append(f"{page.name}: {link}")
            elif anchor:
                text = target.read_text(encoding="utf-8")
                titles = re.findall(r"^#+ (.*)$", BLOCK.sub("", text), flags=re.MULTILINE)
                if anchor not in {
                    re.sub(r"[^\w -]", "", t.lower()).replace(" ", "-") for t in titles
                }:
                    wrong.append(f"{page.name}: {link}")
    assert not wrong, "\n".join(wrong)


def test_every_page_is_in_the_navigation_and_nothing_is_fetched_for_it() -> None:
    project = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
    listed = [name for entry in project["nav"] for name in entry.values()]
    assert sorted(listed) == sorted(p.name for p in (ROOT / "docs").glob("*.md"))
    assert project["theme"]["font"] is False and "offline" in project["plugins"]


def test_pictures_of_the_pages_are_all_shown() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    unused = [p.name for p in (ROOT / "docs/images").iterdir() if f"images/{p.name}" not in text]
    assert not unused


def test_the_drawing_of_the_house_has_its_floors_in_the_order_of_the_layers() -> None:
    picture = (ROOT / "docs/images/house.svg").read_text(encoding="utf-8")
    drawn = re.findall(r'font-weight="bold"[^>]*>(\w+)(?:/|\.py)<', picture)
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    house = contract["tool"]["importlinter"]["contracts"][0]["layers"]
    layers = [layer.partition(".")[2] for layer in house]
    assert drawn == [layer for layer in layers if layer in drawn]
    without = {
        "regular_files",
        "table",
        "formatting",
        "random_streams",
        "errors",
    }  # a file each, for all rooms
    assert set(layers) - set(drawn) <= without
