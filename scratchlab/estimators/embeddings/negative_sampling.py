"""Skip-gram, CBOW and FastText as one algorithm in plain NumPy: a bag of rows predicts words.

Around each word of a sentence lies a window of up to ``window`` words to either side (its size is
drawn anew for each word). Every such place has a *bag* of rows of ``inputs`` and *targets*:

==================  =====================================  =========================
                    bag                                    targets
==================  =====================================  =========================
skip-gram           the word                               the words around it
CBOW                the words around it                    the word
FastText            the same as either, and of each word the rows of its n-grams
==================  =====================================  =========================

With h the mean of the bag's rows, u the rows of ``outputs``, and noise words drawn from the
unigram distribution to the power 0.75 (one that is a target is passed over), the loss of a place is

    L = - Σ log σ(u_t · h) over targets t  -  Σ log σ(-u_k · h) over noise words k

(Mikolov et al. 2013b, equation 4). Two things differ from word2vec.c. The noise is drawn once a
place and shared by its targets, which costs a third of the products and reads a third of the rows.
And every row of a bag gets its gradient, which is 1/n of that of the mean; word2vec.c gives each
the whole, so that the step grows with the bag (İrsoy et al. 2021 found that this is what made CBOW
the weaker of the two). Learning rates of CBOW and FastText are therefore larger than elsewhere.

This file is to be read and to test with; :mod:`.compiled` is what trains.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scratchlab.estimators.embeddings.text import LEFT_OUT, LINE_END

SENTENCE = 1000
"""Words of a line that are read at once; windows do not reach beyond."""

MEASURED = 8
"""In training the loss is computed at one of so many places."""

_MASK = (1 << 64) - 1


class Places(NamedTuple):
    """What bags and targets are made with.

    ``keep`` [words]: how often a word is read; ``share`` and ``other`` [words]: the noise
    (:func:`~.vocabulary.alias_table`); ``rows[starts[w] : starts[w + 1]]``: the rows of word w.
    ``from_word``: the word predicts its context (skip-gram), else the context predicts the word.
    """

    keep: NDArray[np.float32]
    share: NDArray[np.float32]
    other: NDArray[np.int32]
    starts: NDArray[np.int64]
    rows: NDArray[np.int32]
    window: int
    negatives: int
    from_word: bool


def learn(
    words: NDArray[np.int32],
    inputs: NDArray[Any],
    outputs: NDArray[Any],
    places: Places,
    first_rate: float,
    last_rate: float,
    random: NDArray[np.uint64],
    learns: bool,
) -> tuple[float, int]:
    """Go through ``words`` once, in place; the sum of losses and how many places they are of.

    ``words`` [n] are numbers of words, ``LEFT_OUT`` or ``LINE_END``; ``inputs`` [rows, d] and
    ``outputs`` [words, d] change. The learning rate falls evenly from ``first_rate`` to
    ``last_rate``. ``random`` [1] is the state of a generator. If it does not learn, the loss is
    measured at every place and nothing changes.
    """
    loss, measured, place, position = 0.0, 0, 0, 0
    while position < len(words):
        rate = first_rate + (last_rate - first_rate) * position / len(words)
        sentence, position = _next_sentence(words, position, places, random)
        for i, word in enumerate(sentence):
            reach = 1 + (next_random(random) >> 33) % places.window
            around = sentence[max(0, i - reach) : i] + sentence[i + 1 : i + reach + 1]
            if not around:
                continue
            bag, targets = ([word], around) if places.from_word else (around, [word])
            noise = [draw(places, random) for _ in range(places.negatives)]
            noise = [k for k in noise if k not in targets]
            rows = np.concatenate([places.rows[places.starts[w] : places.starts[w + 1]]
                                   for w in bag])  # fmt: skip
            ids = np.array(targets + noise)
            labels = np.repeat([1.0, 0.0], [len(targets), len(noise)])
            if learns:
                found = update(inputs, outputs, rows, ids, labels, rate)
            else:
                found = loss_and_gradients(inputs[rows], outputs[ids], labels)[0]
            place += 1
            if not learns or place % MEASURED == 0:
                loss, measured = loss + found, measured + 1
    return loss, measured


def update(
    inputs: NDArray[Any],
    outputs: NDArray[Any],
    rows: NDArray[np.int32],
    ids: NDArray[np.int64],
    labels: NDArray[np.float64],
    rate: float,
) -> float:
    """A step down the gradient at one place, whose bag are the ``rows``; its loss before."""
    loss, of_mean, of_outputs = loss_and_gradients(inputs[rows], outputs[ids], labels)
    np.add.at(inputs, rows, (-rate / len(rows) * of_mean).astype(inputs.dtype))
    np.add.at(outputs, ids, (-rate * of_outputs).astype(outputs.dtype))
    return loss


def loss_and_gradients(
    bag: NDArray[Any], others: NDArray[Any], labels: NDArray[np.float64]
) -> tuple[float, NDArray[Any], NDArray[Any]]:
    """Loss of one place, its gradient by the mean of the bag [d] and by the outputs [n, d].

    ``bag`` [rows, d]; ``others`` [n, d] the outputs of targets (label 1) and noise (label 0).
    """
    h = bag.mean(axis=0)
    logits = others @ h
    signed = np.where(labels == 1, logits, -logits)
    loss = float(np.logaddexp(0, -signed).sum())  # -log σ(x) = log(1 + exp(-x))
    error = 1 / (1 + np.exp(-logits)) - labels
    return loss, error @ others, np.outer(error, h)


def _next_sentence(
    words: NDArray[np.int32], position: int, places: Places, random: NDArray[np.uint64]
) -> tuple[list[int], int]:
    """The words that are read up to the next end of a line, and where to go on."""
    sentence: list[int] = []
    while position < len(words) and len(sentence) < SENTENCE:
        word = int(words[position])
        position += 1
        if word == LINE_END:
            break
        if word != LEFT_OUT and unit(random) <= places.keep[word]:
            sentence.append(word)
    return sentence, position


def next_random(random: NDArray[np.uint64]) -> int:
    """The next 64 bits of a xorshift generator (Marsaglia 2003)."""
    x = int(random[0])
    x ^= (x << 13) & _MASK
    x ^= x >> 7
    x ^= (x << 17) & _MASK
    random[0] = x
    return x


def unit(random: NDArray[np.uint64]) -> np.float32:
    """A number from 0 up to 1, of 24 bits."""
    return np.float32(next_random(random) >> 40) * np.float32(2.0**-24)


def draw(places: Places, random: NDArray[np.uint64]) -> int:
    """A word of the noise: the upper half of a number picks a column, the lower one decides."""
    x = next_random(random)
    column = ((x >> 32) * len(places.share)) >> 32
    kept = np.float32(x & 0xFFFFFFFF) * np.float32(2.0**-32) <= places.share[column]
    return column if kept else int(places.other[column])
