"""The task of search: an index learns nothing from targets, so there is no loss of its own."""

from __future__ import annotations

from dataclasses import dataclass

from scratchlab.registry import register


@register("task", "retrieval")
class Retrieval:
    """Rank the documents of a collection for a query."""

    @dataclass(frozen=True)
    class Config:
        """It has no options."""
