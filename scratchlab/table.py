"""A titled table of text: what a person is shown on the screen and finds again as a file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Table:
    """A titled table of text for the screen; ``name`` is for its file (default: of the title)."""

    title: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    name: str = ""

    @property
    def file_name(self) -> str:
        """The title up to its first mark of punctuation, without an article: ``sample_pairs``."""
        words = re.findall(r"\w+", re.split(r"[^\w\s]", self.title.lower())[0], re.ASCII)
        return self.name or "_".join(words[words[:1] == ["the"] :]) or "table"
