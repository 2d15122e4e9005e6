"""Texts as counts of terms: what a term is, and which of them are kept (scikit-learn's rules)."""

from __future__ import annotations

import re
from abc import abstractmethod
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.sparse import csr_array
from sklearn.utils.validation import check_is_fitted

from scratchlab.errors import shortened
from scratchlab.estimators.protocol import InputError, State, check_choice
from scratchlab.estimators.state import text_from_array, text_to_array
from scratchlab.registry import option
from scratchlab.representations.contract import Representation

ANALYZERS = ("word", "char", "char_wb")
_SPACES = re.compile(r"\s\s+")


@dataclass(frozen=True)
class TermOptions:
    """What a term is and which ones are kept, with scikit-learn's names and defaults."""

    analyzer: str = option(
        "word",
        "what a term is made of: words; char: characters; char_wb: those within a word and the "
        "spaces around it",
        choices=("word", "char", "char_wb"),
    )
    token_pattern: str = option(
        r"(?u)\b\w\w+\b",
        "regular expression of a word; of one with a group, what stands in the group",
        when={"analyzer": "word"},
    )
    ngram_range: list[int] = option(
        [1, 1], "the shortest and the longest run of words (or characters) that is a term", min=1
    )
    lowercase: bool = option(True, "whether case makes no other term")
    stop_words: str | list[str] | None = option(
        None,
        "words that are left out: a list, or english for scikit-learn's; null: none",
        when={"analyzer": "word"},
    )
    min_df: int | float = option(
        1, "a term must be in as many texts; with a point: in this share of them", min=0
    )
    max_df: int | float = option(
        1.0, "a term must not be in more texts; with a point: in a larger share of them", min=0
    )
    max_features: int | None = option(
        None, "how many terms are kept, the most frequent ones; null: all", min=1
    )


class Terms(Representation):
    """Texts as weights of the terms in them; a subclass says what a term's count weighs.

    Attributes after ``fit``: ``vocabulary_``, the column of each term; the terms are in the order
    of the alphabet.
    """

    sparse = True
    analyzer: str
    token_pattern: str
    ngram_range: Sequence[int]
    lowercase: bool
    stop_words: Any
    min_df: float
    max_df: float
    max_features: int | None
    vocabulary_: dict[str, int]

    # --- what a subclass provides -------------------------------------------------------------

    def learn(self, counts: csr_array, y: Any) -> None:
        """What the weights depend on besides, of the texts' counts [texts, terms]."""

    @abstractmethod
    def weighted(self, counts: csr_array) -> csr_array:
        """The rows of texts with these counts [texts, terms], which may be overwritten."""

    # --- scikit-learn's contract ----------------------------------------------------------------

    def fit(self, texts: Sequence[str], y: Any = None) -> Self:
        self._fit_counts(texts, y)
        return self

    def fit_transform(self, texts: Sequence[str], y: Any = None) -> csr_array:
        return self.weighted(self._fit_counts(texts, y))

    def transform(self, texts: Sequence[str]) -> csr_array:
        return self.weighted(self.counts(texts))

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        check_is_fitted(self, "vocabulary_")
        return np.array(list(self.vocabulary_), dtype=object)

    def get_state(self) -> State:
        check_is_fitted(self, "vocabulary_")
        return {"vocabulary": text_to_array(list(self.vocabulary_))}

    def set_state(self, state: State) -> Self:
        terms = text_from_array(state["vocabulary"])
        if not all(isinstance(term, str) for term in terms) or len(set(terms)) < len(terms):
            raise InputError("its vocabulary is no list of different terms")
        self.vocabulary_ = {term: column for column, term in enumerate(terms)}
        return self

    def per_term(self, state: State, name: str) -> np.ndarray:
        """Numbers of a state, one for each term."""
        found = np.asarray(state[name])
        if found.shape[-1:] != (len(self.vocabulary_),) or not np.isfinite(found).all():
            raise InputError(f"{name} does not hold a number for each term")
        return found

    # --- counting -------------------------------------------------------------------------------

    def check_options(self) -> None:
        check_choice("analyzer", self.analyzer, ANALYZERS)
        low, high = self.ngram_range if len(self.ngram_range) == 2 else (0, 0)
        if not 0 < low <= high:
            raise InputError(
                f"ngram_range={list(self.ngram_range)} must be two numbers, the smaller first",
                "For example [1,2]: single words and pairs.",
            )
        for name, share in (("min_df", self.min_df), ("max_df", self.max_df)):
            if share < 0 or (isinstance(share, float) and share > 1):
                raise InputError(
                    f"{name}={share} is neither a whole number of texts nor a share up to 1.0"
                )
        self._analysis()

    def _analysis(self) -> Callable[[str], Iterator[str] | list[str]]:
        """What gives the terms of a text, in their order."""
        low, high = self.ngram_range
        if self.analyzer == "char":
            return lambda text: _runs(_SPACES.sub(" ", text), low, high)
        if self.analyzer == "char_wb":
            return lambda text: _runs_in_words(text, low, high)
        try:
            pattern = re.compile(self.token_pattern)
        except re.error as error:
            raise InputError(
                f"token_pattern={self.token_pattern!r} is no regular expression: {error}"
            ) from error
        if pattern.groups > 1:
            raise InputError(
                f"token_pattern={self.token_pattern!r} has {pattern.groups} groups",
                "Have one at most; write (?:…) for the others.",
            )
        left_out = self._stop_words()

        def words(text: str) -> list[str]:
            found = pattern.findall(text)
            return [w for w in found if w not in left_out] if left_out else found

        if (low, high) == (1, 1):
            return words
        return lambda text: _phrases(words(text), low, high)

    def _stop_words(self) -> frozenset[str]:
        if self.stop_words == "english":
            from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

            return ENGLISH_STOP_WORDS
        if isinstance(self.stop_words, str):
            raise InputError(
                f"stop_words={self.stop_words!r} is no list of words that is known",
                "Write english, or a list of words.",
            )
        return frozenset(self.stop_words or ())

    def counts(self, texts: Sequence[str]) -> csr_array:
        """How often each term of the vocabulary is in each text [texts, terms]."""
        check_is_fitted(self, "vocabulary_")
        return self._count(texts, self.vocabulary_, grow=False)

    def _fit_counts(self, texts: Sequence[str], y: Any) -> csr_array:
        self.check_options()
        found: dict[str, int] = {}
        counts = self._count(texts, found, grow=True)
        kept = self._kept(counts, list(found))
        self.vocabulary_ = {term: column for column, term in enumerate(kept)}
        counts = counts[:, [found[term] for term in kept]]
        counts.sort_indices()
        self.learn(counts, y)
        return counts

    def _count(self, texts: Sequence[str], columns: dict[str, int], grow: bool) -> csr_array:
        """Counts [texts, terms]; with ``grow`` new terms get the next columns."""
        if isinstance(texts, str):
            raise InputError("one text stands where a list of texts is wanted", "Write [TEXT].")
        terms_of = self._analysis()
        places, values, ends = array("q"), array("q"), array("q", [0])
        for number, text in enumerate(texts):
            if not isinstance(text, str):
                raise InputError(f"text {number} is none, but {shortened(text)}")
            of_text = Counter(terms_of(text.lower() if self.lowercase else text))
            for term, count in of_text.items():
                place = columns.setdefault(term, len(columns)) if grow else columns.get(term)
                if place is not None:
                    places.append(place)
                    values.append(count)
            ends.append(len(places))
        parts = (np.array(part, dtype=np.int64) for part in (values, places, ends))
        counts = csr_array(tuple(parts), shape=(len(ends) - 1, len(columns)))
        counts.sort_indices()
        return counts

    def _kept(self, counts: csr_array, terms: list[str]) -> list[str]:
        """The terms of the columns that the options keep, in the order of the alphabet."""
        texts = counts.shape[0]
        if not terms:
            raise InputError(
                f"none of the {texts:,} texts holds a term",
                "See the options token_pattern, stop_words and ngram_range, and the texts.",
            )
        least, most = (
            bound * texts if isinstance(bound, float) else bound
            for bound in (self.min_df, self.max_df)
        )
        in_texts = np.bincount(counts.indices, minlength=len(terms))
        chosen = np.flatnonzero((in_texts >= least) & (in_texts <= most))
        if not len(chosen):
            raise InputError(
                f"min_df={self.min_df} and max_df={self.max_df} leave no term: the most frequent "
                f"of {len(terms):,} is in {in_texts.max():,} of {texts:,} texts, the rarest in "
                f"{in_texts.min():,}",
                "Lower min_df, or raise max_df.",
            )
        ordered = sorted(chosen.tolist(), key=terms.__getitem__)
        if self.max_features is not None and len(ordered) > self.max_features:
            often = np.asarray(counts.sum(axis=0))[ordered]
            first = np.argsort(-often, kind="stable")[: self.max_features]
            ordered = [ordered[place] for place in sorted(first.tolist())]
        return [terms[column] for column in ordered]


def in_texts(counts: csr_array) -> np.ndarray:
    """In how many texts each term is [terms]."""
    return np.bincount(counts.indices, minlength=counts.shape[1])


def _runs(text: str, low: int, high: int) -> Iterator[str]:
    """Runs of ``low`` to ``high`` characters."""
    for n in range(low, high + 1):
        for first in range(len(text) - n + 1):
            yield text[first : first + n]


def _runs_in_words(text: str, low: int, high: int) -> Iterator[str]:
    """Runs of characters of each word with a space on both sides; a shorter one counts once."""
    for word in text.split():
        padded = f" {word} "
        for n in range(low, high + 1):
            if len(padded) <= n:
                yield padded
                break
            yield from _runs(padded, n, n)


def _phrases(words: list[str], low: int, high: int) -> Iterator[str]:
    """Runs of ``low`` to ``high`` words, with single spaces between them."""
    for n in range(low, high + 1):
        for first in range(len(words) - n + 1):
            yield " ".join(words[first : first + n])
