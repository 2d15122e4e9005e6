"""Candidates that a search looks at: learned by IBM model 1, and what comes out with them."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch

from scratchlab.data.batching.plans import Ragged
from scratchlab.data.contract import Spec
from scratchlab.decoding import shortlist as module
from scratchlab.decoding.beam import Beam
from scratchlab.decoding.contract import pad_rows
from scratchlab.decoding.greedy import Greedy
from scratchlab.decoding.shortlist import Shortened, Shortlist, learned
from scratchlab.errors import UserError
from scratchlab.models.transformer_mt import TransformerMT

VOCABULARY = 40
SPEC = Spec(
    task="seq2seq", vocab_size=VOCABULARY, source_vocab_size=VOCABULARY, shared_vocabulary=True,
    unk_id=0, pad_id=1, sos_id=2, eos_id=3,
)  # fmt: skip


def translator(**options: Any) -> TransformerMT:
    torch.manual_seed(1)
    small = {"d_model": 16, "n_heads": 2, "d_ff": 32, "encoder_layers": 1, "decoder_layers": 1}
    model = TransformerMT(TransformerMT.Config(**{**small, **options}), SPEC).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    return model


def pairs(count: int = 200) -> tuple[Ragged, Ragged]:
    """Each source token 4 … 20 is always translated by itself + 19; a target has other order."""
    random = np.random.default_rng(0)
    rows = [random.integers(4, 21, random.integers(1, 9)).tolist() for _ in range(count)]
    return Ragged.of(rows), Ragged.of([[token + 19 for token in row[::-1]] for row in rows])


def texts(count: int = 9) -> list[list[int]]:
    random = np.random.default_rng(1)
    return [[*random.integers(4, 21, random.integers(1, 8)).tolist(), 3] for _ in range(count)]


def everything() -> Shortlist:
    return Shortlist(torch.full((VOCABULARY, 1), 3), torch.arange(VOCABULARY))


def few() -> Shortlist:
    """Of source token i: i and i + 10; and always token 5."""
    own = torch.arange(VOCABULARY)[:, None]
    candidates = torch.cat([own, (own + 10) % VOCABULARY], 1)
    candidates[:4] = 3
    return Shortlist(candidates, torch.tensor([5]))


def test_em_is_that_of_the_formula() -> None:
    source, target = Ragged.of([[4, 5], [4], [5, 6]]), Ragged.of([[7, 8], [7], [8, 9, 9]])
    e, f, which = module.token_pairs(source, target, 3)
    names, pair = np.unique(e * VOCABULARY + f, return_inverse=True)
    found = module.translation_probabilities(names // VOCABULARY, pair, which)
    sentences = [([*source[i], 3], target[i]) for i in range(3)]
    t = {(a, b): 1.0 for s, o in sentences for a, b in itertools.product(s, o)}
    for _ in range(module.STEPS):
        counts = dict.fromkeys(t, 0.0)
        for s, o in sentences:
            for b in o:
                whole = sum(t[a, b] for a in s)
                for a in s:
                    counts[a, b] += t[a, b] / whole
        totals = {a: sum(c for (x, _), c in counts.items() if x == a) for a, _ in t}
        t = {(a, b): c / totals[a] for (a, b), c in counts.items()}
    told = {(int(n) // VOCABULARY, int(n) % VOCABULARY): p
            for n, p in zip(names, found, strict=True)}  # fmt: skip
    assert told == pytest.approx(t)


def test_candidates_are_what_a_token_is_translated_by() -> None:
    tables = learned(*pairs(), SPEC, 2)
    assert tables["candidates"].shape == (VOCABULARY, 2)
    assert [int(c[0]) for c in tables["candidates"][4:21]] == list(range(23, 40))
    assert (tables["candidates"][30] == 3).all()  # never seen in a source
    assert set(tables["frequent"].tolist()) == set(range(23, 40))  # none that never came


def test_of_more_meetings_than_fit_some_sentences_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = pairs()
    monkeypatch.setattr(module, "MOST", 1000)
    assert (learned(source, target, SPEC, 1)["candidates"][4:21, 0] == np.arange(23, 40)).all()


@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("search", [Greedy, Beam])
def test_a_list_of_all_tokens_changes_nothing(search: Any, tied: bool, softcap: float) -> None:
    model = translator(tie_embeddings=tied, logit_softcap=softcap)
    whole, listed = search(search.Config()), search(search.Config(shortlist=1))
    listed.shortlist = everything()
    expected = whole.generate_all(model, texts(), SPEC)
    found = listed.generate_all(model, texts(), SPEC)
    assert [h.ids for h in found] == [h.ids for h in expected]
    assert [h.score for h in found] == pytest.approx([h.score for h in expected], abs=1e-4)


@pytest.mark.parametrize("search", [Greedy, Beam])
def test_each_sentence_gets_its_own_tokens_only_whatever_stands_beside_it(search: Any) -> None:
    model, decoder = translator(), search(search.Config(shortlist=2))
    decoder.shortlist = few()
    alone = decoder.generate_all(model, texts(), SPEC, batch_size=1)
    together = decoder.generate_all(model, texts(), SPEC)
    assert [h.ids for h in together] == [h.ids for h in alone]
    assert [h.score for h in together] == pytest.approx([h.score for h in alone], abs=1e-4)
    used = set()
    for source, hypothesis in zip(texts(), alone, strict=True):
        may = {5} | {i for token in source[:-1] for i in (token, token + 10)}
        assert set(hypothesis.ids) <= may
        used |= set(hypothesis.ids)
    assert len(used) > 3


def test_a_layer_that_is_not_plain_is_asked_for_all_logits() -> None:
    model = translator()
    source = pad_rows(texts(3), 1)
    newest = torch.tensor([[4], [5], [6]])

    def logits() -> torch.Tensor:
        short = Shortened(model, source, SPEC, few())
        padding = model.padding(source)
        cache = short.start_cache(model.encode(source, padding), padding, 9)
        return short.next_logits(newest, cache)

    with torch.inference_mode():
        expected = logits()
        model.output.bias = torch.nn.Parameter(torch.zeros(VOCABULARY))
        assert model.output_weight is None
        torch.testing.assert_close(logits(), expected)


def test_tables_of_another_vocabulary_are_refused() -> None:
    tables = learned(*pairs(), SPEC, 2)
    assert Shortlist.of(tables, SPEC).candidates.shape == (VOCABULARY, 2)
    smaller = dataclasses.replace(SPEC, vocab_size=30)
    for wrong, spec in (
        (tables, smaller),
        ({**tables, "candidates": tables["candidates"][:9]}, SPEC),
        ({**tables, "frequent": tables["frequent"].astype(float)}, SPEC),
        ({"frequent": tables["frequent"]}, SPEC),
    ):
        with pytest.raises(UserError, match="not of this vocabulary"):
            Shortlist.of(wrong, spec)


def test_a_search_without_its_candidates_says_so() -> None:
    with pytest.raises(UserError, match="no candidates were learned"):
        Beam(Beam.Config(shortlist=5)).generate_all(translator(), texts(), SPEC)
