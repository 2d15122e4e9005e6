from __future__ import annotations

import itertools

import pytest
import torch

from scratchlab.data.contract import Spec
from scratchlab.errors import UserError
from scratchlab.models.transformer_mt import TransformerMT

PAD, SOS = 1, 2
SPEC = Spec(
    task="seq2seq",
    vocab_size=40,
    source_vocab_size=40,
    shared_vocabulary=True,
    unk_id=0,
    pad_id=PAD,
    sos_id=SOS,
    eos_id=3,
)
POSITIONS = ("sinusoidal", "learned", "rotary", "none")


def build(**options: object) -> TransformerMT:
    torch.manual_seed(0)
    small = {"d_model": 16, "n_heads": 2, "d_ff": 32, "encoder_layers": 2, "decoder_layers": 2}
    return TransformerMT(TransformerMT.Config(**{**small, **options}), SPEC).eval()


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    source, target = torch.randint(4, 40, (3, 8)), torch.randint(4, 40, (3, 6))
    source[0, 5:], source[2, 2:], target[:, 0] = PAD, PAD, SOS
    return source, target


@pytest.mark.parametrize(("positions", "norm"), list(itertools.product(POSITIONS, ("pre", "post"))))
def test_decoding_with_a_cache_gives_the_logits_of_the_whole_model(
    positions: str, norm: str
) -> None:
    model = build(positions=positions, norm=norm)
    source, target = batch()
    with torch.no_grad():
        expected = model(source, target)
        padding = model.padding(source)
        cache = model.start_cache(model.encode(source, padding), padding, 6)
        steps = [model.next_logits(target[:, t : t + 1], cache) for t in range(6)]
    assert torch.allclose(torch.cat(steps, 1), expected, atol=1e-5)


@pytest.mark.parametrize("positions", POSITIONS)
def test_beams_that_change_parents_keep_their_own_history(positions: str) -> None:
    model = build(positions=positions)
    source, _ = batch()
    torch.manual_seed(2)
    beams, steps = 3, 5
    history = torch.full((3, beams, 1), SOS)
    with torch.no_grad():
        padding = model.padding(source)
        cache = model.start_cache(model.encode(source, padding), padding, steps, beams)
        for _ in range(steps):
            logits = model.next_logits(history[..., -1], cache)
            expected = model(source.repeat_interleave(beams, 0), history.flatten(0, 1))[:, -1]
            assert torch.allclose(logits.flatten(0, 1), expected, atol=1e-5)
            parents = torch.randint(beams, (3, beams))
            cache.reorder(parents)
            history = history.gather(1, parents[..., None].expand_as(history))
            history = torch.cat([history, torch.randint(4, 40, (3, beams, 1))], -1)


def test_sentences_that_leave_the_cache_do_not_change_the_others() -> None:
    model = build()
    source, target = batch()
    kept = torch.tensor([0, 2])
    with torch.no_grad():
        padding = model.padding(source)
        cache = model.start_cache(model.encode(source, padding), padding, 6)
        for t in range(3):
            model.next_logits(target[:, t : t + 1], cache)
        cache.select(kept)
        logits = model.next_logits(target[kept, 3:4], cache)[:, 0]
        expected = model(source, target)[kept, 3]
    assert torch.allclose(logits, expected, atol=1e-5)


@pytest.mark.parametrize("positions", POSITIONS)
def test_padding_changes_nothing(positions: str) -> None:
    model = build(positions=positions)
    source, target = batch()
    wide = torch.cat([source, torch.full((3, 4), PAD)], 1)
    long = torch.cat([target, torch.full((3, 2), PAD)], 1)
    assert torch.allclose(model(wide, long)[:, :6], model(source, target), atol=1e-5)


def test_a_token_does_not_see_the_tokens_after_it() -> None:
    model = build()
    source, target = batch()
    changed = target.clone()
    changed[:, 4:] = 7
    before, after = model(source, target), model(source, changed)
    assert torch.allclose(before[:, :4], after[:, :4], atol=1e-6)
    assert not torch.allclose(before[:, 4:], after[:, 4:], atol=1e-2)


def test_without_positions_the_encoder_cannot_tell_the_order() -> None:
    source = torch.randint(4, 40, (1, 7))
    for positions in POSITIONS:
        model = build(positions=positions)
        forward, backward = model.encode(source), model.encode(source.flip(1)).flip(1)
        assert torch.allclose(forward, backward, atol=1e-5) == (positions == "none")


def test_tying_shares_one_matrix_and_its_gradient() -> None:
    tied = build()
    assert tied.source_embedding.weight is tied.target_embedding.weight
    assert tied.output_weight is tied.target_embedding.weight
    untied = build(tie_embeddings=False)
    assert untied.output_weight is not untied.target_embedding.weight
    assert untied.source_embedding.weight is not untied.target_embedding.weight
    extra = sum(p.numel() for p in untied.parameters()) - sum(p.numel() for p in tied.parameters())
    assert extra == 2 * 40 * 16


def test_separate_vocabularies_share_the_target_side_only() -> None:
    spec = Spec(task="seq2seq", vocab_size=40, source_vocab_size=30, pad_id=PAD)
    model = TransformerMT(TransformerMT.Config(d_model=16, n_heads=2), spec)
    assert model.output_weight is model.target_embedding.weight
    assert model.source_embedding.weight.shape == (30, 16)


def test_attention_maps_are_distributions_over_what_may_be_seen() -> None:
    model = build()
    source, target = batch()
    maps = model.attention_maps(source, target)
    assert maps["encoder"].shape == (2, 3, 2, 8, 8)
    assert maps["decoder"].shape == (2, 3, 2, 6, 6)
    assert maps["cross"].shape == (2, 3, 2, 6, 8)
    for weights in maps.values():
        assert torch.allclose(weights.sum(-1), torch.ones(()), atol=1e-5)
    assert maps["cross"][:, 0, :, :, 5:].abs().max() == 0
    assert maps["decoder"].triu(1).abs().max() == 0
    one = model.attention_maps(source[1:2, :8], target[1:2])
    assert torch.allclose(one["cross"][:, 0], maps["cross"][:, 1], atol=1e-5)


def test_attention_dropout_acts_in_training_only_and_keeps_the_mean() -> None:
    model = build(dropout=0.0, attention_dropout=0.3)
    source, target = batch()
    expected = model.decode(target, model.encode(source))
    model.train()
    with torch.no_grad():
        drawn = torch.stack([model.encode(source) for _ in range(300)])
    model.eval()
    assert drawn.std(0).mean() > 0.01
    assert (drawn.mean(0) - model.encode(source)).abs().mean() < 0.1
    assert torch.equal(model.decode(target, model.encode(source)), expected)


def test_initial_logits_are_near_uniform() -> None:
    spec = Spec(
        task="seq2seq", vocab_size=2000, source_vocab_size=2000, shared_vocabulary=True, pad_id=PAD
    )
    torch.manual_seed(0)
    model = TransformerMT(TransformerMT.Config(d_model=64), spec).eval()
    source, target = torch.randint(4, 2000, (2, 8, 12))
    loss = torch.nn.functional.cross_entropy(
        model(source, target).flatten(0, 1), torch.randint(4, 2000, (96,))
    )
    assert abs(loss.item() - torch.tensor(2000.0).log().item()) < 1.0


def test_a_data_set_without_vocabularies_is_refused() -> None:
    with pytest.raises(UserError, match="source and a target vocabulary"):
        TransformerMT(TransformerMT.Config(), Spec(task="classification"))
