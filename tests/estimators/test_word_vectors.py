"""Word vectors: the loss that is descended, compiled as plain, same bits, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from scratchlab.errors import TrainingError, UserError
from scratchlab.estimators.embeddings import glove
from scratchlab.estimators.embeddings import negative_sampling as plain
from scratchlab.estimators.embeddings.cooccurrence import Cooccurrence
from scratchlab.estimators.embeddings.fasttext import FastText
from scratchlab.estimators.embeddings.glove import GloVe
from scratchlab.estimators.embeddings.ngrams import ngram_hashes
from scratchlab.estimators.embeddings.text import LEFT_OUT, LINE_END, Text
from scratchlab.estimators.embeddings.vectors import WordVectors
from scratchlab.estimators.embeddings.vocabulary import Words, alias_table
from scratchlab.estimators.embeddings.word2vec import CBOW, SkipGram

pytest.importorskip("numba")

from scratchlab.estimators.embeddings import compiled, compiled_glove

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


@pytest.mark.parametrize("kind", [SkipGram, CBOW, FastText])
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


def test_hashes_of_ngrams_are_those_of_the_reference() -> None:
    """As gensim 4.4 computes them: <nä <näh <nähe <nähe> näh nähe nähe> ähe ähe> he>."""
    wanted = [2801956096, 1356780216, 734392807, 3248208027, 2789219162, 4125811757, 868551145,
              2714208833, 740230637, 3098816280]  # fmt: skip
    assert ngram_hashes("nähe", 3, 6) == wanted


def test_hashes_of_ngrams_are_gensims() -> None:
    theirs = pytest.importorskip("gensim.models.fasttext_inner")
    for word in ("a", "to", "naïve", "日本語", "the", "зима", "x" * 30, "🙂🙂"):
        for shortest, longest in ((3, 6), (1, 2), (4, 4)):
            wanted = [theirs.ft_hash_bytes(g) for g in
                      theirs.compute_ngrams_bytes(word, shortest, longest)]  # fmt: skip
            assert sorted(ngram_hashes(word, shortest, longest)) == sorted(wanted), word


def test_a_word_of_fasttext_is_the_mean_of_its_rows_and_unseen_words_have_vectors() -> None:
    words = [["walking", "walked", "talking", "talked"]] * 5
    model = FastText(vector_size=6, min_count=1, threads=1, random_state=0, epochs=1).fit(words)
    vectors, places = model.vectors(), model._places
    for number, word in enumerate(vectors.words):
        rows = places.rows[places.starts[number] : places.starts[number + 1]]
        assert len(rows) == 1 + len(ngram_hashes(word, 3, 6))
        np.testing.assert_allclose(vectors.matrix[number], model.inputs_[rows].mean(0), rtol=1e-5)
    unseen = vectors.vector("talks")
    known = [h % 2_000_000 for h in ngram_hashes("talks", 3, 6)]
    used = [4 + model._used.tolist().index(b) for b in known if b in model._used]
    assert len(used) == 6  # <ta tal alk <tal talk <talk
    np.testing.assert_allclose(unseen, model.inputs_[used].mean(0), rtol=1e-5)
    assert vectors.vector("xyzzy") is None


def test_cooccurrence_is_counted_alike_in_memory_in_blocks_and_from_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = Text.from_sentences([["b", "a", "rare", "c", "a"], *sentences(40), ["a", "b"]])
    words = Words.of(text, 2, punctuation=False)
    table, window = words.table(text), 4
    wanted: dict[tuple[int, int], float] = {}
    line: list[int] = []
    for word in [*table[text.ids.all()].tolist(), LINE_END]:
        if word == LINE_END:
            line = []
        if word < 0:
            continue
        for distance, other in enumerate(line[-window:][::-1], 1):
            pair = (min(word, other), max(word, other))
            wanted[pair] = wanted.get(pair, 0) + 1 / distance
        line.append(word)
    for block, most in ((1 << 19, 10**6), (7, 10**6), (50, 30)):
        monkeypatch.setattr("scratchlab.estimators.embeddings.cooccurrence.BLOCK", block)
        found = Cooccurrence(text, table, len(words), window, most)
        assert (len(found.shards) > 2) == (most == 30)
        counted = {
            divmod(int(k), len(words)): float(c)
            for keys, counts in found.shards for k, c in zip(keys, counts, strict=True)
        }  # fmt: skip
        assert counted == pytest.approx(wanted)
    i, j, x = found.pairs(0)
    assert {(a, b) for a, b in zip(i, j)} == {(b, a) for a, b in zip(i, j)} and len(x) == len(i)


def glove_parameters(dtype: Any) -> list[Any]:
    rng = np.random.default_rng(4)
    squares = [rng.uniform(1, 2, (5, 4)).astype(dtype) for _ in range(2)]
    return [*(rng.normal(size=(5, 4)).astype(dtype) for _ in range(2)), *squares]


def test_a_step_of_glove_is_adagrad_on_the_written_loss() -> None:
    torch: Any = pytest.importorskip("torch")
    x, x_max = 3.5, 10.0
    for a, b in ((0, 1), (2, 2)):
        inputs, outputs, s, t = glove_parameters(np.float64)
        w, v = (torch.tensor(m.copy(), requires_grad=True) for m in (inputs, outputs))
        error = w[a, :3] @ v[b, :3] + w[a, 3] + v[b, 3] - np.log(x)
        loss = 0.5 * min(1, (x / x_max) ** 0.75) * error**2
        loss.backward()
        wanted = [
            (m - 0.1 * p.grad.numpy() / np.sqrt(q), q + p.grad.numpy() ** 2)
            for m, p, q in ((inputs, w, s), (outputs, v, t))
        ]
        weight = np.array([min(1, (x / x_max) ** 0.75)])
        found = glove.descend(
            np.array([a]), np.array([b]), np.log([x]), weight, inputs, outputs, s, t, 0.1, 1e9
        )
        assert found == pytest.approx(loss.item())
        for one, (moved, squares) in zip(((inputs, s), (outputs, t)), wanted, strict=True):
            np.testing.assert_allclose(one[0], moved, rtol=1e-12)
            np.testing.assert_allclose(one[1], squares, rtol=1e-12)


def test_compiled_steps_of_glove_are_those_of_plain_numpy() -> None:
    rng = np.random.default_rng(5)
    i, j = rng.integers(0, 5, (2, 200)).astype(np.int32)
    targets, weights = rng.uniform(0, 3, (2, 200)).astype(np.float32)
    found = []
    for module in (glove, compiled_glove):
        parameters = glove_parameters(np.float32)
        loss = module.descend(i, j, targets, weights, *parameters, 0.05, 0.8)
        still = module.descend(i, j, targets, weights, *parameters, 0.0, 0.8)
        found.append((*parameters, loss, still))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
    assert found[0][-1] < found[0][-2]


def test_glove_brings_words_of_a_topic_together_and_goes_on_to_the_same_bits() -> None:
    text = Text.from_sentences(sentences(150))
    options: dict[str, Any] = {"vector_size": 8, "window": 4, "epochs": 12, "threads": 1}
    model = GloVe(**options, random_state=0).fit(text)
    vectors = model.vectors()
    for word in vectors.words:
        nearest = vectors.nearest(vectors.vector(word), 5, without=[word])
        assert [w[0] for w, _ in nearest] == [word[0]] * 5
    begun = GloVe(**options, random_state=0).start(text)
    for _ in range(5):
        begun.epoch(text)
    resumed = GloVe(**options, random_state=0).set_state(begun.get_state())
    resumed.fit_epochs(text, None, resume=True)
    for name, array in model.get_state().items():
        assert np.array_equal(array, resumed.get_state()[name]), name


@pytest.mark.parametrize("kind", [GloVe, SkipGram])
def test_training_that_diverges_is_said_in_one_line(kind: Any) -> None:
    with pytest.raises(TrainingError, match=f"{kind.__name__}: the loss is .*: training diverged"):
        kind(vector_size=4, threads=1, random_state=0, learning_rate=1e30).fit(sentences(60))


@pytest.mark.parametrize("kind", [SkipGram, FastText, GloVe])
def test_training_begins_with_the_vectors_that_are_given(kind: Any) -> None:
    given = WordVectors(["a0", "elsewhere"], np.array([[1, 2], [3, 4]], dtype=np.float32))
    model = kind(vector_size=2, epochs=0, random_state=0)
    model.begin_with(given)
    found = model.fit(sentences(60)).vectors()
    np.testing.assert_allclose(found.vector("a0"), [1, 2], rtol=1e-5)
    np.testing.assert_allclose(found.vector("elsewhere"), [3, 4], rtol=1e-5)
    assert len(found) == 13
    with pytest.raises(UserError, match="2 dimensions, the model 3"):
        kind(vector_size=3).begin_with(given)
