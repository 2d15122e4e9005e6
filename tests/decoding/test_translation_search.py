"""Greedy and beam search on small models with real weights."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from scratchlab.data.contract import Spec
from scratchlab.decoding.beam import Beam
from scratchlab.decoding.contract import pad_rows, top_k
from scratchlab.decoding.greedy import Greedy
from scratchlab.errors import UserError
from scratchlab.models.transformer_mt import TransformerMT

UNK, PAD, SOS, EOS = 0, 1, 2, 3
POSITIONS = ("sinusoidal", "learned", "rotary", "none")


def spec(vocabulary: int) -> Spec:
    return Spec(
        task="seq2seq",
        vocab_size=vocabulary,
        source_vocab_size=vocabulary,
        shared_vocabulary=True,
        unk_id=UNK,
        pad_id=PAD,
        sos_id=SOS,
        eos_id=EOS,
    )


def build(vocabulary: int = 30, seed: int = 0, **options: object) -> TransformerMT:
    """A random model with pre-norm whose outputs vary in length and content."""
    torch.manual_seed(seed)
    small = {"d_model": 16, "n_heads": 2, "d_ff": 32, "encoder_layers": 1, "decoder_layers": 2}
    config = TransformerMT.Config(**{**small, "tie_embeddings": False, **options})
    model = TransformerMT(config, spec(vocabulary)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
        model.decoder_norm.bias.fill_(0.5)
        model.output.weight[EOS] += 0.25  # a constant: every step has a fair chance to be the last
    return model


def sources(count: int = 12, vocabulary: int = 30, longest: int = 9) -> list[list[int]]:
    generator = torch.Generator().manual_seed(7)
    lengths = torch.randint(1, longest + 1, (count,), generator=generator).tolist()
    return [
        [*torch.randint(4, vocabulary, (n,), generator=generator).tolist(), EOS] for n in lengths
    ]


def log_probability(model: TransformerMT, source: list[int], ids: list[int]) -> float:
    """What the model says about a whole sequence, without any cache."""
    with torch.no_grad():
        logits = model(torch.tensor([source]), torch.tensor([[SOS, *ids]]))[0]
    answers = torch.tensor([*ids, EOS])[:, None]
    return logits.log_softmax(-1).gather(1, answers).sum().item()


def uncached_greedy(model: TransformerMT, source: list[int], longest: int) -> list[int]:
    ids: list[int] = []
    while len(ids) < longest - 1:
        with torch.no_grad():
            logits = model(torch.tensor([source]), torch.tensor([[SOS, *ids]]))[0, -1]
        logits[[PAD, SOS]] = float("-inf")
        token = int(logits.argmax())
        if token == EOS:
            break
        ids.append(token)
    return ids


@pytest.mark.parametrize("positions", POSITIONS)
def test_cached_greedy_decoding_equals_uncached_token_for_token(positions: str) -> None:
    model = build(positions=positions)
    texts = sources()
    found = Greedy(Greedy.Config()).generate_all(model, texts, spec(30), batch_size=5)
    lengths = set()
    for text, hypothesis in zip(texts, found, strict=True):
        assert hypothesis.ids == uncached_greedy(model, text, 2 * len(text) + 10)
        lengths.add(len(hypothesis.ids))
    assert len(lengths) > 3  # some ended early, some at their limit


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_a_beam_of_one_equals_greedy(positions: str, length_penalty: float) -> None:
    model = build(seed=1, positions=positions)
    source = pad_rows(sources(20), PAD)
    greedy = Greedy(Greedy.Config()).generate(model, source, spec(30))
    config = Beam.Config(beam_size=1, length_penalty=length_penalty)
    beam = Beam(config).generate(model, source, spec(30))
    assert [h.ids for h in beam] == [h.ids for h in greedy]
    expected = [h.log_probability for h in greedy]
    assert [h.log_probability for h in beam] == pytest.approx(expected, abs=1e-4)


def test_scores_are_the_models_own_log_probabilities() -> None:
    model = build()
    texts = sources(6)
    search = Beam(Beam.Config(beam_size=4, length_penalty=0.8))
    found = search.n_best(model, pad_rows(texts, PAD), spec(30), 4)
    compared = 0
    for text, hypotheses in zip(texts, found, strict=True):
        scores = [h.score for h in hypotheses]
        assert scores == sorted(scores, reverse=True)
        assert len({tuple(h.ids) for h in hypotheses}) == len(hypotheses)
        for h in hypotheses:
            expected = log_probability(model, text, h.ids)
            assert h.log_probability == pytest.approx(expected, abs=1e-3)
            penalty = ((5 + len(h.ids) + 1) / 6) ** 0.8
            assert h.score == pytest.approx(expected / penalty, abs=1e-3)
            compared += 1
    assert compared >= 20


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 2.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_large_beam_finds_the_best_of_all_sequences(length_penalty: float, seed: int) -> None:
    vocabulary, longest = 7, 4  # words 0, 4, 5, 6: 1 + 4 + 16 + 64 sequences
    model = build(vocabulary, seed)
    texts = sources(3, vocabulary, 4)
    config = Beam.Config(
        beam_size=85, length_penalty=length_penalty, max_length_factor=0.0, max_length_extra=longest
    )
    found = Beam(config).n_best(model, pad_rows(texts, PAD), spec(vocabulary), 85)
    for text, hypotheses in zip(texts, found, strict=True):
        every = {
            ids: log_probability(model, text, list(ids)) / ((6 + n) / 6) ** length_penalty
            for n in range(longest)
            for ids in itertools.product((UNK, 4, 5, 6), repeat=n)
        }
        ranked = sorted(every.values(), reverse=True)
        assert [h.score for h in hypotheses] == pytest.approx(ranked, abs=1e-3)
        assert every[tuple(hypotheses[0].ids)] == pytest.approx(ranked[0], abs=1e-4)


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.5])
def test_ending_a_search_early_changes_no_result(length_penalty: float) -> None:
    model = build(seed=3)
    source = pad_rows(sources(20), PAD)
    search = Beam(Beam.Config(beam_size=5, length_penalty=length_penalty))
    full = search.n_best(model, source, spec(30), 5)  # needs all five: goes on longest
    for n in (1, 3):
        for short, long in zip(search.n_best(model, source, spec(30), n), full, strict=True):
            assert [h.ids for h in short] == [h.ids for h in long[:n]]


@pytest.mark.parametrize("beam_size", [1, 4])
def test_batch_size_and_neighbours_change_no_translation(beam_size: int) -> None:
    model = build(seed=2)
    texts = sources(40)
    decoders = [Beam(Beam.Config(beam_size=beam_size)), Greedy(Greedy.Config())]
    for decoder in decoders:
        alone = decoder.generate_all(model, texts, spec(30), batch_size=1)
        together = decoder.generate_all(model, texts, spec(30), batch_size=64)
        mixed = decoder.generate(model, pad_rows(texts[::-1], PAD), spec(30))[::-1]
        for other in (together, mixed):
            assert [h.ids for h in other] == [h.ids for h in alone]
            expected = [h.score for h in alone]
            assert [h.score for h in other] == pytest.approx(expected, abs=1e-4)


def test_a_wider_beam_finds_more_probable_translations() -> None:
    model = build(seed=4)
    source = pad_rows(sources(40), PAD)
    means = [
        sum(
            h.log_probability
            for h in Beam(Beam.Config(beam_size=k, length_penalty=0.0)).generate(
                model, source, spec(30)
            )
        )
        / 40
        for k in (1, 3, 8)
    ]
    assert means[0] < means[1] < means[2]


def test_a_higher_length_penalty_lengthens_translations() -> None:
    model = build(seed=4)
    source = pad_rows(sources(40), PAD)
    lengths = [
        sum(
            len(h.ids)
            for h in Beam(Beam.Config(length_penalty=a)).generate(model, source, spec(30))
        )
        for a in (0.0, 1.0, 3.0)
    ]
    assert lengths[0] < lengths[2] and lengths[0] <= lengths[1] <= lengths[2]


@pytest.mark.parametrize("name", ["greedy", "beam"])
def test_lengths_keep_to_their_limits(name: str) -> None:
    model = build()
    limits = {"max_length_factor": 1.0, "max_length_extra": 2, "min_length": 3}
    decoder = Greedy(Greedy.Config(**limits)) if name == "greedy" else Beam(Beam.Config(**limits))
    texts = sources(30)
    found = decoder.generate_all(model, texts, spec(30))
    for text, hypothesis in zip(texts, found, strict=True):
        assert 3 <= len(hypothesis.ids) + 1 <= len(text) + 2
        assert not {PAD, SOS, EOS} & set(hypothesis.ids)
        assert math.isfinite(hypothesis.score)
    assert any(len(h.ids) + 1 == len(t) + 2 for h, t in zip(found, texts, strict=True))


def test_more_hypotheses_than_beams_are_refused() -> None:
    model, source = build(), pad_rows(sources(2), PAD)
    with pytest.raises(UserError, match="6 hypotheses cannot come from a beam of 5"):
        Beam(Beam.Config()).n_best(model, source, spec(30), 6)
    with pytest.raises(UserError, match="one hypothesis, not 2"):
        Greedy(Greedy.Config()).n_best(model, source, spec(30), 2)


@pytest.mark.parametrize("width", [63, 640, 1000, 1537])
def test_the_fast_top_k_finds_what_torch_finds(width: int) -> None:
    torch.manual_seed(0)
    logits = torch.randn(6, 3, width)
    logits[..., :5] = float("-inf")
    expected = logits.topk(5).values
    best, index = top_k(logits, 5)
    assert torch.equal(best.sort(descending=True).values, expected)
    assert torch.equal(logits.gather(-1, index), best)
