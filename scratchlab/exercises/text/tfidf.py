"""Exercise: TF-IDF."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from scratchlab.exercises.contract import (
    Case,
    Exercise,
    Functions,
    Mistake,
    Replacement,
    Timed,
    unlike,
)
from scratchlab.exercises.looking import case
from scratchlab.registry import register

START = '''\
"""Exercise tfidf: term frequency times inverse document frequency.

Spärck Jones 1972; Salton and Buckley 1988; with the smoothing of scikit-learn. The weight of a word
in a document is tf · idf: tf, how often it occurs there, and

    idf = ln((1 + N) / (1 + df)) + 1        N documents, df of which hold the word

(as if one more document held every word once). idf is learned from some documents and then used
for any. At last each document's row is divided by its length, the root of the sum of squares.
"""

import numpy as np


def inverse_frequencies(documents):
    """documents: a list of lists of words → (words, idf).

    words: all that occur, in alphabetical order, a list; idf [words]: floats.
    """
    raise NotImplementedError


def weights(documents, words, idf):
    """→ [documents, words], floats. A word that is not among `words` counts for nothing; the row of
    a document without any stays 0."""
    raise NotImplementedError
'''

NAMES = ("documents", "words", "idf")
ROWS = 256  # documents whose weights are computed at once
Documents = Sequence[Sequence[str]]
Learned = tuple[list[str], Any]


def plain_idf(wrong: frozenset[str], documents: Documents) -> Learned:
    """The learning, with mistakes in it."""
    words = sorted({word for document in documents for word in document})
    occurrences = Counter(word for document in documents for word in document)
    holding = Counter(word for document in documents for word in set(document))
    counted = occurrences if "occurrences in place of documents" in wrong else holding
    df, n = np.array([counted[word] for word in words]), len(documents)
    if "not smoothed" in wrong:
        return words, np.log(n / df)
    share = (1 + n) / (1 + df)
    if "1 not added" in wrong:
        return words, np.log(share)
    if "logarithm to base 10" in wrong:
        return words, np.log10(share) + 1
    if "logarithm to base 2" in wrong:
        return words, np.log2(share) + 1
    return words, np.log(share) + 1


def plain_weights(
    wrong: frozenset[str], documents: Documents, words: Sequence[str], idf: Any
) -> Any:
    """The weighting, with mistakes in it."""
    place = {word: i for i, word in enumerate(words)}
    tf = np.zeros((len(documents), len(words)))
    for row, document in zip(tf, documents):
        for word, count in Counter(document).items():
            if word in place:
                row[place[word]] = 1 if "presence in place of counts" in wrong else count
    found = tf * idf
    if "columns in place of rows" in wrong:
        length = np.sqrt((found**2).sum(0, keepdims=True))
    elif "rows add up to 1" in wrong:
        length = found.sum(1, keepdims=True)
    else:
        length = np.sqrt((found**2).sum(1, keepdims=True))
    if "rows not normalised" in wrong:
        return found
    return np.divide(found, length, out=np.zeros_like(found), where=length > 0)


def scikit_learns_idf(documents: Documents) -> Learned:
    vectorizer = TfidfVectorizer(analyzer=lambda words: words).fit(documents)
    return vectorizer.get_feature_names_out().tolist(), vectorizer.idf_


def scikit_learns_weights(documents: Documents, words: Sequence[str], idf: Any) -> Any:
    vectorizer = TfidfVectorizer(analyzer=lambda words: words, vocabulary=list(words))
    vectorizer.idf_ = np.asarray(idf)
    return vectorizer.transform(documents).toarray()


@register(
    "exercise",
    "tfidf",
    paper="Salton & Buckley 1988",
    with_torch=False,
    use="model=logistic dataset=docstring_topics representation=tfidf",
)
class TfIdf(Exercise):
    """TF-IDF weights of the words of documents."""

    START = START
    HINTS = (
        "sorted() of the set of all words gives the columns; a dictionary word → column finds "
        "them.",
        "df counts documents: a word that occurs ten times in one document adds one.",
        "Divide each row by np.sqrt((row ** 2).sum()), unless that is 0.",
    )
    MISTAKES = (
        Mistake(
            "occurrences in place of documents",
            "inverse_frequencies",
            "df counts how often a word occurs. It counts the documents that hold it.",
        ),
        Mistake(
            "not smoothed",
            "inverse_frequencies",
            "idf is ln(N / df), so a word that is everywhere weighs nothing. Add 1 to N, to df and "
            "to the logarithm.",
        ),
        Mistake("1 not added", "inverse_frequencies", "1 is not added to the logarithm."),
        Mistake("logarithm to base 10", "inverse_frequencies", "the logarithm is the natural one."),
        Mistake("logarithm to base 2", "inverse_frequencies", "the logarithm is the natural one."),
        Mistake(
            "rows not normalised",
            "weights",
            "rows are not divided by their length, so long documents weigh more.",
        ),
        Mistake(
            "rows add up to 1",
            "weights",
            "rows are divided by their sum. Divide by the root of the sum of squares.",
        ),
        Mistake(
            "columns in place of rows",
            "weights",
            "columns are normalised. Each document, a row, is divided by its own length.",
        ),
        Mistake(
            "presence in place of counts",
            "weights",
            "tf is 1 for every word of a document. It is how often the word occurs there.",
        ),
    )
    LIBRARY = ("TfidfVectorizer", "TfidfTransformer")
    BESIDE = "scikit-learn's"

    def reference(self) -> Functions:
        return {"inverse_frequencies": scikit_learns_idf, "weights": scikit_learns_weights}

    def plain(self, wrong: frozenset[str]) -> Functions:
        return {
            "inverse_frequencies": lambda *a: plain_idf(wrong, *a),
            "weights": lambda *a: plain_weights(wrong, *a),
        }

    def cases(self) -> list[Case]:
        def learned(name: str, *texts: str) -> Case:
            documents = [text.split() for text in texts]
            results = ("the words", "idf")
            return case("inverse_frequencies", name, NAMES[:1], (documents,), results=results)

        def weighted(name: str, known: dict[str, float], *texts: str) -> Case:
            given = ([text.split() for text in texts], list(known), np.array([*known.values()]))
            return case("weights", name, NAMES, given, results=("the weights",))

        rng = np.random.default_rng(16)
        drawn = [" ".join(f"w{n}" for n in rng.zipf(1.5, 40).clip(max=30)) for _ in range(12)]
        known = {"a": 1.0, "b": 1.7, "cat": 2.4, "dog": 3.1}
        many = {f"w{n}": float(x) for n, x in enumerate(rng.random(31) + 1)}
        return [
            learned("three short documents", "the cat sat", "the dog sat on the mat", "a cat"),
            learned("a word that is everywhere", "a b", "a c", "a d d"),
            learned("a word often in one document", "x x x x y", "y z", "z"),
            learned("one document", "to be or not to be"),
            learned("an empty document", "a b", "", "b c c"),
            learned("twelve documents of forty words", *drawn),
            weighted("three short documents", known, "a cat", "the dog saw a dog", "b b b a"),
            weighted("an empty document", known, "a b", ""),
            weighted("no word that is known", known, "bird and fish", "cat"),
            weighted("one document, one word", {"a": 2.0}, "a a a"),
            weighted("twelve documents of forty words", many, *drawn),
        ]

    def timed(self) -> Timed:
        rng = np.random.default_rng(0)
        documents = [[f"w{n}" for n in row] for row in rng.zipf(1.5, (60, 50)).clip(max=300)]
        words = sorted({word for document in documents for word in document})
        given = (documents, words, np.ones(len(words)))
        return Timed("60 documents of 50 words", lambda f: f["weights"](*given))

    def refusal(self, config: Mapping[str, Any]) -> str | None:
        chosen = config.get("representation") or {}
        if found := unlike("representation", ("tfidf",), chosen.get("name")):
            return found
        wanted = {"binary": False, "use_idf": True, "smooth_idf": True, "sublinear_tf": False,
                  "norm": "l2"}  # fmt: skip
        for option, value in wanted.items():
            if chosen[option] != value:
                return f"it has no option for representation.{option}={chosen[option]}"
        return None

    def replacements(self, functions: Functions) -> Iterator[Replacement]:
        """Learning and weighting of representation=tfidf, which cuts and counts the words."""
        from scipy.sparse import csr_array, vstack

        from scratchlab.representations.tfidf import TfIdf as BuiltIn

        def documents_of(self: Any, counts: Any) -> list[list[str]]:
            terms = list(self.vocabulary_)
            rows = (slice(a, b) for a, b in pairwise(counts.indptr))
            return [
                [terms[t] for t, n in zip(counts.indices[r], counts.data[r]) for _ in range(n)]
                for r in rows
            ]

        def learn(self: Any, counts: Any, y: Any) -> None:
            words, idf = functions["inverse_frequencies"](documents_of(self, counts))
            of_word = dict(zip(words, np.asarray(idf, dtype=np.float64).tolist(), strict=True))
            self.idf_ = np.array([of_word[term] for term in self.vocabulary_])

        def weighted(self: Any, counts: Any) -> Any:
            documents, words = documents_of(self, counts), list(self.vocabulary_)
            parts = [
                csr_array(functions["weights"](documents[i : i + ROWS], words, self.idf_))
                for i in range(0, len(documents), ROWS)
            ]
            return csr_array(vstack(parts)) if parts else csr_array(counts.shape)

        yield Replacement(BuiltIn, "learn", learn)
        yield Replacement(BuiltIn, "weighted", weighted)
