"""N-gram language model: interpolated modified Kneser-Ney of any order, as KenLM estimates it.

The baseline that every neural language model has to beat. Beside Kneser-Ney there are add-k and
stupid back-off, to see what good smoothing is worth. Counting is in :mod:`ngram_counts`, the
formulas in :mod:`ngram_smoothing`; this file is what a user of the model sees.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, repeat
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scratchlab.errors import UserError, suggest
from scratchlab.estimators.configured import Configured
from scratchlab.estimators.ngrams.arpa import write_arpa
from scratchlab.estimators.ngrams.counts import (
    EOS,
    FIRST_WORD,
    MARKERS,
    UNK,
    IntArray,
    build_stream,
    check_text,
    count_ngrams,
    flatten,
)
from scratchlab.estimators.ngrams.sampling import Walk, sample
from scratchlab.estimators.ngrams.smoothing import (
    FloatArray,
    NGramTable,
    Tables,
    add_k,
    kneser_ney,
    stupid_backoff,
)
from scratchlab.registry import option, register

SMOOTHINGS = ("kneser_ney", "add_k", "stupid_backoff")
# Words scored at once: a text of any length is scored in bounded memory.
SCORING_CHUNK = 1 << 20
# What stands for an unknown word in the output of a model that was given no id for it.
NO_ID = -1


@dataclass(frozen=True)
class Scores:
    """log10 probability of every word of a text and of every ``</s>``.

    ``log10_probs`` [words + sentences]; sentence i is ``offsets[i] : offsets[i + 1]``, its last
    entry the ``</s>``. ``unknown`` marks the words that were read as ``<unk>``.
    """

    log10_probs: FloatArray
    offsets: NDArray[np.int64]
    unknown: NDArray[np.bool_]

    @cached_property
    def sentence_log10(self) -> FloatArray:
        """Sum [sentences] over the words of each sentence and its ``</s>``."""
        return np.add.reduceat(self.log10_probs, self.offsets[:-1])

    @property
    def perplexity(self) -> float:
        """Per word, every ``</s>`` counted as a word, unknown words included."""
        return float(10.0 ** -self.log10_probs.mean())

    @property
    def perplexity_without_unknown(self) -> float:
        """The same over the words that are not ``<unk>``."""
        return float(10.0 ** -self.log10_probs[~self.unknown].mean())


@register("estimator", "ngram", tasks=("language_modeling",), exports=("arpa",))
class NGram(Configured):
    """N-gram language model with modified Kneser-Ney, add-k or stupid back-off smoothing.

    Text is given as integers: ``tokens`` [n], any ids >= 0, and ``offsets`` [sentences + 1], the
    bounds of the sentences in it. ``<s>`` and ``</s>`` are the model's own and must not be in
    the text. The vocabulary is what was seen in training, ``<unk>`` and ``</s>``; every other id is
    read as ``<unk>``. An ``<unk>`` in the training text (``unk_id``) is counted like any word.
    """

    block_size: int | None = None  # lines of any length

    @dataclass(frozen=True)
    class Config:
        order: int = option(5, "length of the longest n-gram, in tokens", min=1, max=10)
        smoothing: str = option(
            "kneser_ney",
            "how counts become probabilities",
            choices=("kneser_ney", "add_k", "stupid_backoff"),
        )
        k: float = option(
            0.01, "add_k: what is added to every count", above=0.0, when={"smoothing": "add_k"}
        )
        alpha: float = option(
            0.4,
            "stupid_backoff: factor for every word of context given up",
            above=0.0,
            max=1.0,
            when={"smoothing": "stupid_backoff"},
        )
        discount_fallback: bool = option(
            True,
            "kneser_ney: use discounts 0.5, 1, 1.5 (with a warning) where none can be found",
            when={"smoothing": "kneser_ney"},
        )

    order: int
    smoothing: str
    k: float
    alpha: float
    discount_fallback: bool
    tables_: Tables | None = None

    # ---- training

    def fit(
        self,
        tokens: ArrayLike,
        offsets: ArrayLike,
        *,
        unk_id: int | None = None,
        words: Sequence[str] | None = None,
    ) -> NGram:
        """Estimate the model. ``words[id]`` is an id's text, used by the ARPA file only.

        Sets ``tables_``, ``types_`` (the ids seen, rising), ``discounts_`` [order, 3] and
        ``fallback_orders_`` (Kneser-Ney only). UserError for a text without sentences, and, with
        ``discount_fallback=False``, for one that is too small to estimate the discounts from.
        """
        self._check_options()
        ids, bounds = check_text(tokens, offsets, "training text")
        self.types_: NDArray[np.int64] = np.unique(ids).astype(np.int64)
        self.unk_id_ = unk_id
        if unk_id is not None:
            self.types_ = self.types_[self.types_ != unk_id]
        if words is not None and len(self.types_) and self.types_[-1] >= len(words):
            raise UserError(
                f"the training text holds the id {self.types_[-1]}, "
                f"but only {len(words)} words are given"
            )
        self.words_ = None if words is None else list(words)
        self._check_markers()
        self._ids_of_words: dict[str, int] | None = None
        vocabulary = FIRST_WORD + len(self.types_)
        adjusted = self.smoothing == "kneser_ney"
        stream = build_stream(self._encode(ids), bounds)
        levels = count_ngrams(stream, self.order, vocabulary, adjusted)
        del stream
        self.discounts_: FloatArray = np.zeros((0, 3))
        self.fallback_orders_: list[int] = []
        if self.smoothing == "kneser_ney":
            found, self.discounts_, self.fallback_orders_ = kneser_ney(
                levels, vocabulary, self.discount_fallback
            )
        elif self.smoothing == "add_k":
            found = add_k(levels, vocabulary, self.k)
        else:
            found = stupid_backoff(levels, vocabulary)
        self.tables_ = Tables(found, vocabulary, self.smoothing, self.alpha)
        return self

    def fit_sentences(self, sentences: Sequence[Sequence[str]]) -> NGram:
        """``fit`` on lists of word strings; ``<unk>`` among them is the unknown word."""
        tokens, offsets = flatten(sentences)
        words = list(dict.fromkeys(tokens))
        ids = {word: number for number, word in enumerate(words)}
        numbers = np.fromiter(map(ids.__getitem__, tokens), dtype=np.int32, count=len(tokens))
        return self.fit(numbers, offsets, unk_id=ids.get(MARKERS[UNK]), words=words)

    def _check_options(self) -> None:
        limits = (
            ("order", self.order, 1 <= self.order <= 10, "from 1 to 10"),
            ("k", self.k, self.k > 0, "greater than 0"),
            ("alpha", self.alpha, 0 < self.alpha <= 1, "greater than 0 and at most 1"),
        )
        for name, value, right, rule in limits:
            if not right:
                raise UserError(f"{name} must be {rule}, not {value}")
        if self.smoothing not in SMOOTHINGS:
            raise UserError(
                f"unknown smoothing {self.smoothing!r}", suggest(self.smoothing, SMOOTHINGS)
            )

    def _check_markers(self) -> None:
        for marker in MARKERS if self.words_ is not None else ():
            if marker in self._texts()[FIRST_WORD:]:
                raise UserError(
                    f"the training text holds the word {marker}, which is the model's own",
                    "give its id as unk_id" if marker == MARKERS[UNK] else "leave it out",
                )

    def _fitted(self) -> Tables:
        if self.tables_ is None:
            raise UserError("the n-gram model is not trained", "call fit or set_state first")
        return self.tables_

    def _encode(self, ids: IntArray) -> NDArray[np.int32]:
        """The model's own numbers of ``ids``; ``<unk>`` for those not seen in training."""
        if len(self.types_) == 0:
            return np.full(len(ids), UNK, dtype=np.int32)
        places = np.searchsorted(self.types_, ids).astype(np.int32)
        places[places == len(self.types_)] = 0
        known = self.types_[places] == ids
        places += FIRST_WORD
        places[~known] = UNK
        return places

    def _decode(self, numbers: IntArray) -> NDArray[np.int64]:
        unknown = NO_ID if self.unk_id_ is None else self.unk_id_
        return np.concatenate(([unknown, NO_ID, NO_ID], self.types_))[numbers]

    # ---- scoring

    def score_tokens(self, tokens: ArrayLike, offsets: ArrayLike) -> Scores:
        """log10 probabilities of a whole text; see :class:`Scores`.

        With ``stupid_backoff`` the scores are no probabilities and the perplexity is only a number
        to compare with others of its kind.
        """
        tables = self._fitted()
        ids, bounds = check_text(tokens, offsets, "text to score")
        words = self._encode(ids)
        ends = bounds + np.arange(len(bounds))
        marks = np.arange(0, ends[-1], SCORING_CHUNK)
        edges = np.unique(np.append(np.searchsorted(ends, marks), len(bounds) - 1))
        parts = []
        for first, last in pairwise(edges):
            part = bounds[first : last + 1]
            stream = build_stream(words[part[0] : part[-1]], part - part[0])
            parts.append(tables.score(stream))
        unknown = np.zeros(int(ends[-1]), dtype=bool)
        unknown[np.arange(len(words)) + np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))] = (
            words == UNK
        )
        return Scores(np.concatenate(parts), ends, unknown)

    def score_sentences(self, sentences: Sequence[Sequence[str]]) -> Scores:
        """``score_tokens`` for lists of word strings (a model trained with words)."""
        tokens, offsets = flatten(sentences)
        return self.score_tokens(self._ids(tokens), offsets)

    def perplexity(self, tokens: ArrayLike, offsets: ArrayLike) -> float:
        """Perplexity per word, every ``</s>`` counted as one."""
        return self.score_tokens(tokens, offsets).perplexity

    def evaluate(self, tokens: ArrayLike, offsets: ArrayLike) -> dict[str, float]:
        """``loss``: mean negative log-likelihood in nats per word, every ``</s>`` one of them."""
        perplexity = self.perplexity(tokens, offsets)
        return {"loss": float(np.log(perplexity)), "perplexity": perplexity}

    def _ids(self, tokens: Sequence[str]) -> NDArray[np.int64]:
        """Ids of word strings; an id that no word has where the word is unknown."""
        if self.words_ is None:
            raise UserError(
                "the n-gram model knows ids, not words", "give words= to fit, or score ids"
            )
        if self._ids_of_words is None:
            self._ids_of_words = {word: number for number, word in enumerate(self.words_)}
        nobody = len(self.words_)
        found = map(self._ids_of_words.get, tokens, repeat(nobody))
        return np.fromiter(found, dtype=np.int64, count=len(tokens))

    # ---- generation

    def next_probabilities(self, prefix: ArrayLike = ()) -> tuple[NDArray[np.int64], FloatArray]:
        """Ids and probabilities of all that can follow ``<s>`` and ``prefix`` [n].

        The last two entries are ``<unk>`` (its id, or -1) and ``</s>`` (always -1). They sum to 1.
        """
        tables = self._fitted()
        walk = Walk(tables, 1)
        for number in self._encode(np.asarray(prefix, dtype=np.int64)):
            walk.advance(np.array([number], dtype=np.int64))
        order = np.append(np.arange(FIRST_WORD, tables.vocabulary), [UNK, EOS])
        return self._decode(order), walk.distribution()[0, order]

    def sample(
        self,
        texts: int = 1,
        seed: int = 0,
        *,
        max_length: int = 50,
        temperature: float = 1.0,
        prefix: ArrayLike = (),
        unknown: bool = False,
    ) -> list[NDArray[np.int64]]:
        """Draw ``texts`` continuations of ``prefix``: ids without the prefix and without ``</s>``.

        Each text has random numbers of its own, so text i is the same however many are drawn.
        ``<unk>`` is drawn only if ``unknown``. Temperature 0 always takes the likeliest word.
        """
        tables = self._fitted()
        if texts < 0 or max_length < 0 or not temperature >= 0:
            raise UserError(
                "texts, max_length and temperature must not be negative; "
                f"they are {texts}, {max_length} and {temperature}"
            )
        start = self._encode(np.asarray(prefix, dtype=np.int64))
        draws = np.random.default_rng(seed).random((texts, max_length))
        drawn = sample(tables, start, draws, temperature, unknown)
        return [self._decode(numbers) for numbers in drawn]

    def sample_sentences(
        self, texts: int = 1, seed: int = 0, *, prefix: Sequence[str] = (), **options: Any
    ) -> list[list[str]]:
        """``sample`` in words (a model trained with words)."""
        drawn = self.sample(texts, seed, prefix=self._ids(prefix), **options)
        spelled = [*(self.words_ or ()), MARKERS[UNK]]  # NO_ID reads the last
        return [[spelled[number] for number in text] for text in drawn]

    # ---- files

    def export_arpa(self, path: str | os.PathLike[str]) -> None:
        """Write the model for KenLM, SRILM and others (Kneser-Ney only, see :mod:`ngram_arpa`).

        A model trained without words writes the ids as its words.
        """
        write_arpa(path, self._fitted(), self._texts())

    def _texts(self) -> list[str]:
        """The text [vocabulary] of each of the model's numbers."""
        spell = str if self.words_ is None else self.words_.__getitem__
        return [*MARKERS, *map(spell, self.types_.tolist())]

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Everything that was learnt, as plain arrays (to be stored without pickle)."""
        tables = self._fitted()
        state: dict[str, NDArray[Any]] = {
            "order": np.array([len(tables.levels)], dtype=np.int64),
            "smoothing": np.array([SMOOTHINGS.index(tables.smoothing)], dtype=np.int64),
            "alpha": np.array([tables.alpha]),
            "types": self.types_,
            "unk_id": np.array([NO_ID if self.unk_id_ is None else self.unk_id_], dtype=np.int64),
            "discounts": self.discounts_,
            "fallback_orders": np.array(self.fallback_orders_, dtype=np.int64),
        }
        if self.words_ is not None:
            encoded = [word.encode() for word in self.words_]
            state["words"] = np.frombuffer(b"".join(encoded), dtype=np.uint8)
            state["word_lengths"] = np.array([len(word) for word in encoded], dtype=np.int64)
        for n, level in enumerate(tables.levels, 1):
            state[f"keys_{n}"] = level.keys
            state[f"log_probs_{n}"] = level.log_probs
            state[f"weights_{n}"] = level.weights
        return state

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> NGram:
        """Take over what ``get_state`` of a model with the same options gave."""
        try:
            order, smoothing = int(state["order"][0]), SMOOTHINGS[int(state["smoothing"][0])]
            if (order, smoothing) != (self.order, self.smoothing):
                raise UserError(
                    f"the saved n-gram model has order {order} and smoothing {smoothing}, "
                    f"this one order {self.order} and {self.smoothing}"
                )
            self.types_ = state["types"]
            levels = [
                NGramTable(state[f"keys_{n}"], state[f"log_probs_{n}"], state[f"weights_{n}"])
                for n in range(1, order + 1)
            ]
            unk_id = int(state["unk_id"][0])
            self.unk_id_ = None if unk_id == NO_ID else unk_id
            self.discounts_ = state["discounts"]
            self.fallback_orders_ = state["fallback_orders"].tolist()
            alpha = float(state["alpha"][0])
        except (KeyError, IndexError) as error:
            raise UserError(
                f"the saved n-gram model is not complete: {error} is missing"
            ) from error
        self.words_ = None
        if "words" in state:
            ends = np.cumsum(state["word_lengths"]).tolist()
            text = state["words"].tobytes()
            self.words_ = [
                text[begin:end].decode() for begin, end in zip([0, *ends[:-1]], ends, strict=True)
            ]
        self._ids_of_words = None
        self.tables_ = Tables(levels, FIRST_WORD + len(self.types_), smoothing, alpha)
        return self
