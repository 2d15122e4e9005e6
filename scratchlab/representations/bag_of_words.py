"""The bag of words: how often each term is in a text, or only whether it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from scratchlab.registry import option, register
from scratchlab.representations.terms import TermOptions, Terms


@register("representation", "bag_of_words")
class BagOfWords(Terms):
    """How often each term is in the text (Harris 1954): scikit-learn's ``CountVectorizer``."""

    @dataclass(frozen=True)
    class Config(TermOptions):
        binary: bool = option(False, "whether a term is there, not how often")

    binary: bool

    def weighted(self, counts: csr_array) -> csr_array:
        if self.binary:
            counts.data = np.ones_like(counts.data)
        return counts


@register("representation", "one_hot")
class OneHot(Terms):
    """1 for each term that is in the text, however often: the sum of its words' one-hot vectors,
    cut off at 1."""

    @dataclass(frozen=True)
    class Config(TermOptions):
        pass

    def weighted(self, counts: csr_array) -> csr_array:
        counts.data = np.ones_like(counts.data)
        return counts
