"""The task of word vectors: estimators of words have losses of their own."""

from __future__ import annotations

from dataclasses import dataclass

from scratchlab.registry import register


@register("task", "word_vectors")
class WordVectors:
    """A vector for each word of a running text; the loss is the estimator's."""

    @dataclass(frozen=True)
    class Config:
        """It has no options."""
