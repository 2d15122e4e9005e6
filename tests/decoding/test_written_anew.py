"""Targets that teachers write: what a search finds, kept in parts, the closest ones, ensembles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from sacrebleu import sentence_bleu

from scratchlab.data.contract import DataContext
from scratchlab.data.sets.translation import Phrasebook
from scratchlab.decoding import written_anew as module
from scratchlab.decoding.beam import Beam
from scratchlab.decoding.written_anew import Writer, closest, written_anew
from scratchlab.models.ensemble import Ensemble
from scratchlab.models.transformer_mt import TransformerMT


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    config = Phrasebook.Config(train_pairs=60, val_pairs=5, test_pairs=5, vocab_size=200)
    return Phrasebook(config, DataContext(None, tmp_path_factory.mktemp("cache")))


def translator(pairs: Any, seed: int) -> TransformerMT:
    torch.manual_seed(seed)
    config = TransformerMT.Config(
        d_model=16, n_heads=2, d_ff=32, encoder_layers=1, decoder_layers=1, dropout=0.0
    )
    model = TransformerMT(config, pairs.spec).eval()
    torch.nn.init.normal_(model.target_embedding.weight, std=0.3)
    return model


def beam(size: int = 3) -> Beam:
    return Beam(Beam.Config(beam_size=size, max_length_extra=2, max_length_factor=1.0))


def writer(pairs: Any, model: Any, close: bool = False, **more: Any) -> Writer:
    return Writer(model, pairs, beam(), {"teacher": "a", **more}, close)


def test_it_is_what_the_search_finds_for_each_source(pairs: Any, tmp_path: Path) -> None:
    model = translator(pairs, 0)
    sources, targets = pairs.sources("train")[:20], pairs.references("train")[:20]
    found = written_anew(writer(pairs, model), sources, targets, tmp_path)
    assert len(set(found)) > 3
    for source, text in zip(sources, found, strict=True):
        ids = torch.tensor([pairs.encode_source(source)])
        (best,) = beam().generate(model, ids, pairs.spec)
        assert text == pairs.decode_target(best.ids)


def test_of_the_beam_the_closest_to_the_target_is_kept(pairs: Any, tmp_path: Path) -> None:
    model = translator(pairs, 1)
    sources, targets = pairs.sources("train")[:12], pairs.references("train")[:12]
    found = written_anew(writer(pairs, model, close=True), sources, targets, tmp_path)
    for source, target, text in zip(sources, targets, found, strict=True):
        ids = torch.tensor([pairs.encode_source(source)])
        (hypotheses,) = beam().n_best(model, ids, pairs.spec, 3)
        texts = [pairs.decode_target(one.ids) for one in hypotheses]
        scores = {one: sentence_bleu(one, [target]).score for one in texts}
        assert scores[text] == max(scores.values())
    assert closest(["a b", "a c", "a c"], "a c") == "a c"


def test_parts_that_were_written_are_not_written_again(
    pairs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that was stopped in the third part goes on with that."""
    monkeypatch.setattr(module, "PART", 8)
    sources, targets = pairs.sources("train")[:20], pairs.references("train")[:20]
    model, searched, done = translator(pairs, 2), [], []

    class Stopping(Beam):
        def generate_all(self, model: Any, sources: Any, *more: Any) -> Any:
            if len(searched) == 2:
                raise KeyboardInterrupt
            searched.append(len(sources))
            return super().generate_all(model, sources, *more)

    first = Writer(model, pairs, Stopping(beam().config), {"teacher": "a"})
    with pytest.raises(KeyboardInterrupt):
        written_anew(first, sources, targets, tmp_path, done.append)
    assert done == [8, 16]
    searched[:] = [0]
    whole = written_anew(first, sources, targets, tmp_path, done.append)
    assert searched == [0, 4] and done[-1] == 20
    assert whole == written_anew(writer(pairs, model), sources, targets, tmp_path / "other")
    searched[:] = []
    other = Writer(model, pairs, Stopping(beam().config), {"teacher": "b"})  # nothing is kept of it
    with pytest.raises(KeyboardInterrupt):
        written_anew(other, sources, targets, tmp_path)
    assert searched == [8, 8]


def test_an_ensemble_searches_with_the_mean_of_the_distributions(
    pairs: Any, tmp_path: Path
) -> None:
    members = [translator(pairs, seed) for seed in (3, 4)]
    source = torch.tensor([pairs.encode_source(pairs.sources("train")[0])])
    ensemble = Ensemble(members)
    cache = ensemble.start_cache(ensemble.encode(source), ensemble.padding(source), 8)
    tokens = [pairs.spec.sos_id, 9, 11]
    for length in range(1, 4):
        found = ensemble.next_logits(torch.tensor([[tokens[length - 1]]]), cache)[0, 0]
        so_far = torch.tensor([tokens[:length]])
        expected = torch.stack([m(source, so_far)[0, -1].softmax(-1) for m in members]).mean(0)
        torch.testing.assert_close(found.exp(), expected, rtol=1e-4, atol=1e-7)
    sources, targets = pairs.sources("train")[:8], pairs.references("train")[:8]
    alone = written_anew(writer(pairs, members[0]), sources, targets, tmp_path / "a")
    twice = written_anew(writer(pairs, Ensemble([members[0]] * 2)), sources, targets, tmp_path)
    assert twice == alone


@pytest.mark.parametrize("keep", [False, True])
def test_a_data_set_takes_other_targets(pairs: Any, keep: bool) -> None:
    before = pairs.references("train")
    texts = [f"le {text}" for text in before]
    found = pairs.with_targets("train", texts, keep)
    assert found.references("train") == (before + texts if keep else texts)
    assert found.sources("train") == pairs.sources("train") * (2 if keep else 1)
    assert found.references("test") == pairs.references("test")
    assert pairs.references("train") == before
    seen = {}
    for batch in found.batches("train", seed=0, epoch=0):
        for index, ids in zip(batch.indices.tolist(), batch.target_out.tolist(), strict=True):
            seen[index] = found.decode_target(ids)
    assert len(seen) == found.size("train") == len(before) * (2 if keep else 1)
    assert seen[len(seen) - 1] == found.decode_target(found.encode_target(texts[-1]))
