"""The n-gram model against a textbook implementation, hand-worked figures and its own promises."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from scratchlab.errors import UserError
from scratchlab.estimators.ngrams import model as ngram_module
from scratchlab.estimators.ngrams.counts import rank
from scratchlab.estimators.ngrams.model import NGram

Sentences = list[list[str]]


def zipf_text(sentences: int, words: int, seed: int) -> Sentences:
    """Sentences of 0 to 12 words with a Zipfian vocabulary and some repetition of phrases."""
    rng = np.random.default_rng(seed)
    weights = 1.0 / np.arange(1, words + 1)
    weights /= weights.sum()
    phrases = [rng.choice(words, rng.integers(1, 4), p=weights) for _ in range(150)]
    text = []
    for _ in range(sentences):
        picked = [phrases[min(rng.zipf(1.3) - 1, 149)] for _ in range(rng.integers(0, 5))]
        text.append([f"w{w}" for phrase in picked for w in phrase])
    return text


class Textbook:
    """Modified Kneser-Ney read off the paper: dictionaries, one n-gram at a time, recursion."""

    def __init__(self, sentences: Sentences, order: int) -> None:
        self.order = order
        self.vocabulary = {w for s in sentences for w in s} | {"</s>", "<unk>"}
        padded = [["<s>", *s, "</s>"] for s in sentences]
        plain: Counter[tuple[str, ...]] = Counter()
        for s in padded:
            for n in range(1, order + 1):
                plain.update(tuple(s[i : i + n]) for i in range(len(s) - n + 1))
        before = defaultdict(set)
        for gram in plain:
            if len(gram) > 1:
                before[gram[1:]].add(gram[0])
        self.counts = {}
        for gram, count in plain.items():
            if gram == ("<s>",):
                continue
            whole = len(gram) == order or gram[0] == "<s>"
            self.counts[gram] = count if whole else len(before[gram])
        self.following: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for gram, count in self.counts.items():
            self.following[gram[:-1]].append(count)
        self.discounts = {n: self.estimate_discounts(n) for n in range(1, order + 1)}

    def estimate_discounts(self, n: int) -> tuple[float, float, float]:
        have = [c for gram, c in self.counts.items() if len(gram) == n]
        n1, n2, n3, n4 = (have.count(i) for i in (1, 2, 3, 4))
        y = n1 / (n1 + 2 * n2)
        return 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3

    def prob(self, context: tuple[str, ...], word: str) -> float:
        following = self.following[context]
        lower = 1 / len(self.vocabulary) if not context else self.prob(context[1:], word)
        if not following:
            return lower
        d = self.discounts[len(context) + 1]
        gamma = sum(d[min(c, 3) - 1] for c in following) / sum(following)
        count = self.counts.get((*context, word), 0)
        top = count - d[min(count, 3) - 1] if count else 0.0
        return top / sum(following) + gamma * lower

    def score(self, sentence: list[str]) -> list[float]:
        words = [w if w in self.vocabulary else "<unk>" for w in sentence]
        history, scores = ["<s>"], []
        for word in [*words, "</s>"]:
            context = tuple(history[-(self.order - 1) :]) if self.order > 1 else ()
            scores.append(math.log10(self.prob(context, word)))
            history.append(word)
        return scores


TRAIN, TEST = zipf_text(800, 1000, 0), [["w0", "never", "w1"], [], *zipf_text(60, 1200, 1)]


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_every_word_scores_as_in_the_textbook_formula(order: int) -> None:
    model = NGram(order=order, discount_fallback=False).fit_sentences(TRAIN)
    book = Textbook(TRAIN, order)
    expected = [score for sentence in TEST for score in book.score(sentence)]
    scores = model.score_sentences(TEST)
    np.testing.assert_allclose(scores.log10_probs, expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(
        model.discounts_, [book.discounts[n] for n in range(1, order + 1)], atol=1e-12
    )
    assert scores.unknown.sum() == sum(w not in book.vocabulary for s in TEST for w in s) > 3


def test_an_unk_in_the_training_text_is_a_word_and_takes_the_unseen_ones() -> None:
    marked = [["<unk>" if w == "w3" else w for w in s] for s in TRAIN]
    model = NGram(order=3).fit_sentences(marked)
    same = [["<unk>" if w == "w3" else w for w in s] for s in TEST]
    book = Textbook(marked, 3)
    expected = [score for sentence in same for score in book.score(sentence)]
    np.testing.assert_allclose(model.score_sentences(same).log10_probs, expected, atol=1e-10)
    unseen = [["nobody" if w == "<unk>" else w for w in s] for s in same]
    assert model.score_sentences(unseen).perplexity == model.score_sentences(same).perplexity


@pytest.mark.filterwarnings("ignore:the counts of order")
def test_orders_that_no_sentence_reaches_change_nothing() -> None:
    short = [s[:2] for s in TRAIN]
    four, ten = (NGram(order=n).fit_sentences(short) for n in (4, 10))
    assert [len(level.keys) for level in ten.tables_.levels[4:]] == [0] * 6
    first, second = (m.score_sentences(TEST).log10_probs for m in (four, ten))
    np.testing.assert_array_equal(first, second)
    assert ten.fallback_orders_ == four.fallback_orders_


@pytest.mark.parametrize("smoothing", ["kneser_ney", "add_k", "stupid_backoff"])
def test_what_can_follow_any_context_sums_to_one_and_agrees_with_the_scores(smoothing: str) -> None:
    model = NGram(order=4, smoothing=smoothing).fit_sentences(TRAIN)
    rng, known = np.random.default_rng(5), len({w for s in TRAIN for w in s})
    for length in [0, 1, 2, 3, 3, 5, 8]:
        prefix = rng.integers(0, known + 20, length)  # the last 20 ids were never seen
        ids, probs = model.next_probabilities(prefix)
        assert len(ids) == known + 2
        assert probs.sum() == pytest.approx(1.0, abs=1e-12)
        assert probs.min() > 0
        # Every continuation as a sentence of its own; </s> closes the last one.
        continued = [[*prefix, i] for i in ids[:-2]] + [[*prefix, 10_000], [*prefix]]
        lengths = [len(s) for s in continued]
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        scores = model.score_tokens(np.concatenate(continued).astype(np.int64), offsets)
        at_prefix = scores.log10_probs[scores.offsets[:-1] + length]
        if smoothing == "stupid_backoff":
            at_prefix -= np.log10((10**at_prefix).sum())
        np.testing.assert_allclose(np.log10(probs), at_prefix, atol=1e-10)


def test_add_k_gives_the_figures_worked_out_by_hand() -> None:
    model = NGram(order=2, smoothing="add_k", k=0.5).fit_sentences([["a", "b"], ["a", "a"]])
    # Four outcomes: a, b, </s>, <unk>. After a: b, a, </s>, once each.
    scores = model.score_sentences([["a", "b"], ["c", "a"]])
    after_start, after_a, after_b = 2 + 4 * 0.5, 3 + 4 * 0.5, 1 + 4 * 0.5
    expected = [
        [2.5 / after_start, 1.5 / after_a, 1.5 / after_b],
        [0.5 / after_start, 1 / 4, 1.5 / after_a],
    ]
    np.testing.assert_allclose(10**scores.log10_probs, np.ravel(expected), rtol=1e-12)
    assert scores.offsets.tolist() == [0, 3, 6]
    np.testing.assert_allclose(10**scores.sentence_log10, np.prod(expected, axis=1), rtol=1e-12)
    assert scores.perplexity == pytest.approx(np.prod(expected) ** (-1 / 6))
    without = np.delete(np.ravel(expected), 3)
    assert scores.perplexity_without_unknown == pytest.approx(np.prod(without) ** (-1 / 5))


def test_stupid_backoff_gives_the_figures_worked_out_by_hand() -> None:
    model = NGram(order=3, smoothing="stupid_backoff", alpha=0.4)
    model.fit_sentences([["a", "b"], ["a", "a"]])
    # Six predicted words: a 3, b 1, </s> 2. "b a": never seen, so twice 0.4 in front of 3/6; no
    # context of two words stands before the first word, so one factor less there.
    scores = model.score_sentences([["b", "a", "b"], ["zzz"]])
    expected = [0.4 * 1 / 6, 0.4**2 * 3 / 6, 0.4 * 1 / 3, 1.0, 0.4 * 1 / 6, 0.4**2 * 2 / 6]
    np.testing.assert_allclose(10**scores.log10_probs, expected, rtol=1e-12)


def test_scores_do_not_depend_on_how_much_is_scored_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = NGram(order=4).fit_sentences(TRAIN)
    whole = model.score_sentences(TEST)
    one_by_one = [model.score_sentences([s]).log10_probs for s in TEST]
    np.testing.assert_array_equal(whole.log10_probs, np.concatenate(one_by_one))
    for chunk in (1, 7, 50):
        monkeypatch.setattr(ngram_module, "SCORING_CHUNK", chunk)
        np.testing.assert_array_equal(model.score_sentences(TEST).log10_probs, whole.log10_probs)


def test_a_model_of_ids_and_a_model_of_words_are_the_same_whatever_the_ids() -> None:
    by_words = NGram(order=3).fit_sentences(TRAIN)
    tokens = np.array([7 * int(w[1:]) + 5 for s in TRAIN for w in s], dtype=np.uint16)
    offsets = np.concatenate(([0], np.cumsum([len(s) for s in TRAIN])))
    by_ids = NGram(order=3).fit(tokens, offsets)
    np.testing.assert_allclose(
        by_ids.score_tokens(tokens, offsets).sentence_log10,
        by_words.score_sentences(TRAIN).sentence_log10,
        atol=1e-12,
    )
    with pytest.raises(UserError, match="knows ids, not words"):
        by_ids.score_sentences(TRAIN)


def test_keys_are_ranked_like_numpy_unique_also_where_they_do_not_fit_beside_a_position() -> None:
    rng = np.random.default_rng(0)
    for keys in (rng.integers(0, 300, 1000), rng.integers(0, 2**62, 50).repeat(20)):
        shuffled = rng.permutation(keys)
        unique, ranks, first = rank(shuffled)
        expected = np.unique(shuffled, return_index=True, return_inverse=True)
        for got, right in zip((unique, first, ranks), expected, strict=True):
            np.testing.assert_array_equal(got, right)


def test_sampled_texts_follow_the_model_and_do_not_depend_on_how_many_are_drawn() -> None:
    model = NGram(order=3).fit_sentences(TRAIN)
    many = model.sample(100, seed=3, max_length=8)
    few = model.sample(5, seed=3, max_length=8)
    assert [t.tolist() for t in many[:5]] == [t.tolist() for t in few]
    assert [t.tolist() for t in model.sample(5, seed=4, max_length=8)] != [t.tolist() for t in few]
    assert max(map(len, many)) == 8 and min(map(len, many)) < 8
    firsts = [t[0] if len(t) else -2 for t in model.sample(4000, seed=0, max_length=1)]
    ids, probs = model.next_probabilities()
    share = np.array([firsts.count(i) for i in [*ids[:-2], -2]]) / 4000
    wanted = np.append(probs[:-2], probs[-1]) / (1 - probs[-2])  # <unk> is not drawn
    error = np.sqrt(wanted * (1 - wanted) / 4000)
    assert np.all(np.abs(share - wanted) < 5 * error + 1e-3)
    assert sum(len(t) for t in many) > 100


def test_temperature_sharpens_and_zero_takes_the_likeliest_word_at_every_step() -> None:
    model = NGram(order=3).fit_sentences(TRAIN)
    greedy = model.sample(2, seed=0, temperature=0.0, prefix=[2], max_length=6)
    assert greedy[0].tolist() == greedy[1].tolist()
    prefix = [2]
    for word in greedy[0]:
        ids, probs = model.next_probabilities(prefix)
        probs[-2] = 0.0
        assert ids[np.argmax(probs)] == word
        prefix.append(int(word))
    words = model.sample_sentences(3, seed=1, temperature=1e-3, prefix=["w2"], max_length=6)
    assert words[0] == [
        model.words_[i]
        for i in model.sample(1, 0, temperature=0, prefix=[model.words_.index("w2")], max_length=6)[
            0
        ]
    ]
    perplexities = []
    for temperature in (0.5, 1.0, 2.0):
        drawn = model.sample_sentences(200, seed=0, temperature=temperature, unknown=True)
        perplexities.append(model.score_sentences(drawn).perplexity)
    assert perplexities == sorted(perplexities)
    assert perplexities[2] > 1.5 * perplexities[0]


def test_unknown_words_are_drawn_only_if_asked_for() -> None:
    model = NGram(order=1, smoothing="add_k", k=50.0).fit_sentences([["a", "b", "a"]])
    drawn = model.sample_sentences(200, seed=0, unknown=True)
    assert any("<unk>" in text for text in drawn)
    assert not any("<unk>" in text for text in model.sample_sentences(200, seed=0))


@pytest.mark.parametrize("smoothing", ["kneser_ney", "add_k", "stupid_backoff"])
def test_a_stored_model_scores_and_samples_bit_for_bit_the_same(smoothing: str) -> None:
    model = NGram(order=4, smoothing=smoothing, alpha=0.3).fit_sentences(
        [["línea", "a\nb"], *TRAIN]
    )
    state = load(save(dict(model.get_state())))
    again = NGram(order=4, smoothing=smoothing).set_state(state)
    for one, other in zip(
        (model.score_sentences(TEST).log10_probs, *model.sample(3, 1)),
        (again.score_sentences(TEST).log10_probs, *again.sample(3, 1)),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    assert again.words_ == model.words_
    with pytest.raises(UserError, match="order 4 and smoothing"):
        NGram(order=3, smoothing=smoothing).set_state(state)
    del state["log_probs_3"]
    with pytest.raises(UserError, match="log_probs_3"):
        NGram(order=4, smoothing=smoothing).set_state(state)


def test_a_text_too_small_for_discounts_is_named_or_falls_back_with_a_warning() -> None:
    tiny = [["a", "b", "c"], ["a", "b"]]
    with pytest.raises(UserError, match="order 1: no 1-gram has the adjusted count 3"):
        NGram(order=3, discount_fallback=False).fit_sentences(tiny)
    with pytest.warns(UserWarning, match="order 1, 2, 3"):
        model = NGram(order=3).fit_sentences(tiny)
    assert model.fallback_orders_ == [1, 2, 3]
    assert model.discounts_.tolist() == [[0.5, 1.0, 1.5]] * 3
    # Left neighbours: a, b, c one each, </s> two. Half of each 1 and all of the 2's 1 is freed.
    uniform = (3 * 0.5 + 1.0) / 5 / 5
    ids, probs = model.next_probabilities([99, 99])
    assert dict(zip(ids.tolist(), probs, strict=False))[0] == pytest.approx(0.5 / 5 + uniform)
    assert probs.sum() == pytest.approx(1.0)


@pytest.mark.filterwarnings("ignore:the counts of order")
def test_empty_sentences_count_as_an_end_after_a_start() -> None:
    model = NGram(order=2).fit_sentences([[], [], []])
    ids, probs = model.next_probabilities()
    assert ids.tolist() == [-1, -1] and probs[1] > 0.5 and probs.sum() == pytest.approx(1.0)
    assert len(model.score_sentences([[], []]).log10_probs) == 2


@pytest.mark.parametrize(
    ("tokens", "offsets", "message"),
    [
        ([], [0], "there is no sentence"),
        ([], [], "there is no sentence"),
        ([1, 2], [0, 3], "end with the number of tokens"),
        ([1, 2, 3], [0, 2, 1, 3], "never fall"),
        ([1, -2], [0, 2], "must not be negative; the smallest is -2"),
        ([0.5, 1.0], [0, 2], "integers"),
        ([[1, 2]], [0, 2], "one-dimensional"),
    ],
)
def test_text_that_is_no_text_is_refused_in_plain_words(tokens, offsets, message) -> None:
    with pytest.raises(UserError, match=message):
        NGram(order=2).fit(tokens, offsets)
    with pytest.raises(UserError, match=message):
        NGram(order=2, smoothing="add_k").fit([1, 2], [0, 2]).score_tokens(tokens, offsets)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": 0}, "order must be from 1 to 10, not 0"),
        ({"order": 11}, "order must be from 1 to 10"),
        ({"smoothing": "add_k", "k": 0.0}, "k must be greater than 0"),
        ({"smoothing": "stupid_backoff", "alpha": 1.5}, "alpha must be"),
        ({"smoothing": "kneser_nay"}, "Did you mean 'kneser_ney'"),
    ],
)
def test_options_out_of_range_are_refused(options, message) -> None:
    with pytest.raises(UserError, match=message):
        NGram(**options).fit_sentences(TRAIN)


def test_misuse_is_explained() -> None:
    with pytest.raises(UserError, match="not trained"):
        NGram().perplexity([1], [0, 1])
    with pytest.raises(UserError, match="not a list of tokens"):
        NGram().fit_sentences(["a sentence"])
    with pytest.raises(UserError, match="</s>, which is the model's own"):
        NGram().fit_sentences([["a", "</s>"]])
    with pytest.raises(UserError, match="only 2 words are given"):
        NGram().fit([0, 5], [0, 2], words=["a", "b"])
    with pytest.raises(UserError, match="no option 'ordre'"):
        NGram().set_params(ordre=3)
    with pytest.raises(UserError, match="must not be negative"):
        NGram(order=2).fit_sentences(TRAIN).sample(temperature=-1.0)


def test_the_constructor_and_the_declared_options_have_the_same_names_and_defaults() -> None:
    assert NGram().get_params() == asdict(NGram.Config())


def test_higher_orders_and_kneser_ney_predict_repeated_phrases_better() -> None:
    text = zipf_text(2500, 300, 2)
    train, test = text[:2000], text[2000:]

    def perplexity(**options: Any) -> float:
        return NGram(**options).fit_sentences(train).score_sentences(test).perplexity

    by_order = [perplexity(order=n) for n in (1, 2, 3)]
    assert all(lower > higher for lower, higher in pairwise(by_order))
    assert perplexity(order=3, smoothing="add_k", k=1.0) > by_order[2]
