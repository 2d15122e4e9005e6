"""Word vectors: the loss that is descended, compiled as plain, same bits, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from scratchlab.errors import UserError
from scratchlab.estimators.embeddings import negative_sampling as plain
from scratchlab.estimators.embeddings.text import LEFT_OUT, LINE_END, Text
from scratchlab.estimators.embeddings.vocabulary import Words, alias_table
from scratchlab.estimators.embeddings.word2vec import CBOW, SkipGram

pytest.importorskip("numba")

from scratchlab.estimators.embeddings import compiled

SKIPGRAM, CONTEXT = True, False


def places(from_word: bool, rows: list[list[int]], window: int = 3) -> plain.Places:
    """Five words, each with its rows; the noise is uneven."""
    share, other = alias_table([5.0, 1.0, 2.0, 4.0, 1.0])
    return plain.Places(
        keep=np.array([0.6, 1, 1, 0.9, 1], dtype=np.float32),
        share=share,
        other=other,
        starts=np.cumsum([0, *map(len, rows)]),
        rows=np.concatenate([np.array(r, dtype=np.int32) for r in rows]),
        window=window,
        negatives=4,
        from_word=from_word,
    )


WORDS = np.random.default_rng(0).integers(0, 5, 400).astype(np.int32)
WORDS[::29] = LINE_END
WORDS[3::17] = LEFT_OUT
PLAIN_ROWS = [[0], [1], [2], [3], [4]]
NGRAM_ROWS = [[0, 5, 6], [1, 6, 6], [2], [3, 7, 5, 8], [4, 8]]


@pytest.mark.parametrize("rows", [PLAIN_ROWS, NGRAM_ROWS])
@pytest.mark.parametrize("from_word", [SKIPGRAM, CONTEXT])
def test_compiled_updates_are_those_of_plain_numpy(from_word: bool, rows: list[list[int]]) -> None:
    found = []
    for module in (plain, compiled):
        rng = np.random.default_rng(1)
        inputs = rng.normal(0, 0.5, (9, 11)).astype(np.float32)
        outputs = rng.normal(0, 0.5, (5, 11)).astype(np.float32)
        random = np.array([12345], dtype=np.uint64)
        first = module.learn(
            WORDS, inputs, outputs, places(from_word, rows), 0.1, 0.02, random, True
        )
        last = module.learn(
            WORDS, inputs, outputs, places(from_word, rows), 0.0, 0.0, random, False
        )
        found.append((inputs, outputs, random[0], *first, *last))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)
    assert found[0][2] == found[1][2]  # not one random number more or less
    assert found[0][4] * plain.MEASURED <= found[0][6] + 100 and found[0][6] > 200


@pytest.mark.parametrize("rows", [PLAIN_ROWS, NGRAM_ROWS])
@pytest.mark.parametrize("from_word", [SKIPGRAM, CONTEXT])
def test_an_update_is_the_gradient_of_the_written_loss(
    from_word: bool, rows: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """float64, against torch: -Σ log σ(u_t·h) - Σ log σ(-u_k·h), h the mean of the bag."""
    torch: Any = pytest.importorskip("torch")
    drawn: list[list[int]] = []
    own = plain.draw

    def draw(p: plain.Places, random: Any) -> int:
        drawn[-1].append(own(p, random))
        return drawn[-1][-1]

    monkeypatch.setattr(plain, "draw", draw)
    p = places(from_word, rows)._replace(keep=np.ones(5, dtype=np.float32))
    rng = np.random.default_rng(2)
    inputs, outputs = rng.normal(size=(9, 7)), rng.normal(size=(5, 7))
    for pair in [(a, b) for a in range(5) for b in range(5) if a != b]:  # two words are a window
        drawn.append([])
        x, u = (torch.tensor(m.copy(), requires_grad=True) for m in (inputs, outputs))
        words = np.array(pair, dtype=np.int32)
        before = inputs.copy(), outputs.copy()
        # The first place only: the line ends there.
        state = np.array([99 + sum(pair)], dtype=np.uint64)
        loss: Any = 0.0
        new_in, new_out = inputs.copy(), outputs.copy()
        measured, _ = plain.learn(words, new_in, new_out, p, 0.0, 0.0, state.copy(), False)
        noise = [drawn[-1][:4], drawn[-1][4:]]
        for place, (word, other) in enumerate((pair, pair[::-1])):
            bag, target = (word, other) if from_word else (other, word)
            h = x[rows[bag]].mean(0)
            loss = loss - torch.nn.functional.logsigmoid(u[target] @ h)
            for k in noise[place]:
                if k != target:
                    loss = loss - torch.nn.functional.logsigmoid(-u[k] @ h)
        assert measured == pytest.approx(loss.item(), rel=1e-12)
        loss.backward()
        # A step so small that the second place is taken where the first one was.
        rate = 1e-6
        drawn.append([])
        plain.learn(words, new_in, new_out, p, rate, rate, state.copy(), True)
        for new, old, tensor in ((new_in, before[0], x), (new_out, before[1], u)):
            np.testing.assert_allclose((old - new) / rate, tensor.grad.numpy(), rtol=0, atol=2e-4)


def test_noise_is_drawn_with_counts_to_the_power_three_quarters() -> None:
    words = Words(["a", "b", "c"], np.array([1000, 100, 10]))
    share, other = words.noise()
    p = places(SKIPGRAM, PLAIN_ROWS)._replace(share=share, other=other)
    random = np.array([7], dtype=np.uint64)
    drawn = np.bincount([plain.draw(p, random) for _ in range(20_000)], minlength=3) / 20_000
    wanted = words.counts**0.75 / (words.counts**0.75).sum()
    np.testing.assert_allclose(drawn, wanted, atol=0.01)


def sentences(n: int = 300) -> list[list[str]]:
    """Words of two topics, which share no sentence."""
    rng = np.random.default_rng(3)
    topics = [[f"{topic}{i}" for i in range(6)] for topic in "ab"]
    return [rng.choice(topics[i % 2], 8).tolist() for i in range(n)]


@pytest.mark.parametrize("kind", [SkipGram, CBOW])
def test_words_of_one_topic_come_to_lie_together(kind: Any) -> None:
    model = kind(vector_size=16, window=4, threads=1, random_state=0, epochs=8)
    vectors = model.fit(sentences()).vectors()
    for word in vectors.words:
        nearest = vectors.nearest(vectors.vector(word), 5, without=[word])
        assert [w[0] for w, _ in nearest] == [word[0]] * 5
    assert model.history_[-1]["loss"] < model.history_[0]["loss"]
    again = kind(vector_size=16, window=4, threads=1, random_state=0, epochs=8).fit(sentences())
    assert np.array_equal(again.vectors().matrix, vectors.matrix)


def test_two_threads_learn_as_well_as_one() -> None:
    model = SkipGram(vector_size=16, window=4, threads=2, random_state=0, epochs=8)
    vectors = model.fit(sentences()).vectors()
    near = [vectors.nearest(vectors.vector(w), 1, without=[w])[0][0] for w in vectors.words]
    assert [n[0] for n in near] == [w[0] for w in vectors.words]


def test_a_state_goes_on_to_the_same_bits_in_the_middle_of_an_epoch() -> None:
    text = Text.from_sentences(sentences())
    options: dict[str, Any] = {"vector_size": 8, "parts": 3, "epochs": 2, "threads": 1}
    whole = SkipGram(**options, random_state=1).fit(text)
    begun = SkipGram(**options, random_state=1).start(text)
    for _ in range(4):
        begun.epoch(text)
    resumed = SkipGram(**options, random_state=1).set_state(begun.get_state())
    resumed.fit_epochs(text, None, resume=True)
    assert whole.n_epochs_ == resumed.n_epochs_ == 6
    for name, array in whole.get_state().items():
        assert np.array_equal(array, resumed.get_state()[name]), name


def test_rare_words_and_signs_are_left_out_of_the_text() -> None:
    text = Text.from_sentences([["a", ",", "b", "a"], ["a", "rare", ",", "b"]])
    assert Words.of(text, 2, punctuation=False).words == ["a", "b"]
    assert set(Words.of(text, 1, punctuation=True).words) == {"a", ",", "b", "rare"}
    words = Words.of(text, 2, punctuation=False)
    block = words.table(text)[text.ids.all()]
    assert block.tolist() == [0, -1, 1, 0, -2, 0, -1, -1, 1, -2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_count": 1000}, "min_count=1000 leaves no word of the training text: the most"),
        ({"window": 0}, "window: 0 is out of range"),
        ({"learning_rate": -1.0}, "learning_rate: -1.0 is out of range"),
    ],
)
def test_what_cannot_be_learned_from_is_said_in_one_line(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        SkipGram(**options).fit(sentences(20))
    assert message in caught.value.message and "\n" not in caught.value.message
