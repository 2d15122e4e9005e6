"""The recurrent encoder-decoder: steps, beams, padding, what it shares, what it looks at."""

from __future__ import annotations

import itertools

import pytest
import torch

from scratchlab.data.contract import Spec
from scratchlab.decoding.beam import Beam
from scratchlab.decoding.contract import pad_rows
from scratchlab.decoding.greedy import Greedy
from scratchlab.models.rnn_seq2seq import RNNSeq2Seq

PAD, SOS, EOS = 1, 2, 3
SPEC = Spec(
    task="seq2seq",
    vocab_size=40,
    source_vocab_size=40,
    shared_vocabulary=True,
    unk_id=0,
    pad_id=PAD,
    sos_id=SOS,
    eos_id=EOS,
)
CELLS = ("rnn", "lstm", "gru")
KINDS = {
    "none": {"attention": "none"},
    "additive": {"attention": "additive"},
    "general": {"attention": "multiplicative"},
    "dot": {"attention": "multiplicative", "score": "dot"},
    "feeding": {"attention": "multiplicative", "input_feeding": True},
}
EVERY = list(itertools.product(CELLS, KINDS))


def build(cell: str = "lstm", kind: str = "additive", **options: object) -> RNNSeq2Seq:
    torch.manual_seed(0)
    small = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "cell": cell, **KINDS[kind]}
    model = RNNSeq2Seq(RNNSeq2Seq.Config(**{**small, **options}), SPEC).eval()
    with torch.no_grad():  # larger than the usual start, so that what differs is seen to differ
        for parameter in model.parameters():
            parameter.mul_(1.5)
    return model


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    source, target = torch.randint(4, 40, (3, 8)), torch.randint(4, 40, (3, 6))
    source[0, 5:], source[2, 2:], target[:, 0] = PAD, PAD, SOS
    return source, target


@pytest.mark.parametrize(("cell", "kind"), EVERY)
def test_step_by_step_decoding_gives_the_logits_of_training(cell: str, kind: str) -> None:
    model = build(cell, kind)
    source, target = batch()
    with torch.no_grad():
        expected = model(source, target)
        padding = model.padding(source)
        cache = model.start_cache(model.encode(source, padding), padding, 6)
        steps = [model.next_logits(target[:, t : t + 1], cache) for t in range(6)]
    torch.testing.assert_close(torch.cat(steps, 1), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_beams_that_change_parents_and_sentences_that_leave_keep_their_own_past(kind: str) -> None:
    model = build(kind=kind)
    source, _ = batch()
    torch.manual_seed(2)
    beams = 3
    history = torch.full((3, beams, 1), SOS)
    with torch.no_grad():
        padding = model.padding(source)
        cache = model.start_cache(model.encode(source, padding), padding, 5, beams)
        for step in range(5):
            logits = model.next_logits(history[..., -1], cache)
            expected = model(source.repeat_interleave(beams, 0), history.flatten(0, 1))[:, -1]
            torch.testing.assert_close(logits.flatten(0, 1), expected, rtol=0, atol=1e-5)
            parents = torch.randint(beams, (len(source), beams))
            cache.reorder(parents)
            history = history.gather(1, parents[..., None].expand_as(history))
            history = torch.cat([history, torch.randint(4, 40, (len(source), beams, 1))], -1)
            if step == 2:
                kept = torch.tensor([0, 2])
                cache.select(kept)
                source, history = source[kept], history[kept]


@pytest.mark.parametrize(("cell", "kind"), EVERY)
@pytest.mark.parametrize("bidirectional", [True, False])
def test_padding_changes_nothing(cell: str, kind: str, bidirectional: bool) -> None:
    model = build(cell, kind, bidirectional=bidirectional)
    source, target = batch()
    expected = model(source, target)
    wide = torch.cat([source, torch.full((3, 4), PAD)], 1)
    long = torch.cat([target, torch.full((3, 2), PAD)], 1)
    torch.testing.assert_close(model(wide, long)[:, :6], expected, rtol=0, atol=1e-5)
    for row, length in enumerate((5, 8, 2)):
        alone = model(source[row : row + 1, :length], target[row : row + 1])
        torch.testing.assert_close(alone[0], expected[row], rtol=0, atol=1e-5)


def test_the_decoder_starts_from_the_last_real_token_and_backwards_from_the_first() -> None:
    source, _ = batch()
    for bidirectional in (True, False):
        model = build(bidirectional=bidirectional)
        padding = model.padding(source)
        memory = model.encode(source, padding)
        starts = []
        for place in (1, 2):  # row 2 has two real tokens: place 2 is padding
            moved = memory.clone()
            moved[2, place] += 1.0
            starts.append(model.start_cache(moved, padding, 6).states[0][1][2])
        still = model.start_cache(memory, padding, 6).states[0][1][2]
        assert not torch.allclose(starts[0], still, atol=1e-3)
        assert torch.equal(starts[1], still)


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_does_not_see_the_tokens_after_it(kind: str) -> None:
    model = build(kind=kind)
    source, target = batch()
    changed = target.clone()
    changed[:, 4:] = 7
    before, after = model(source, target), model(source, changed)
    assert torch.allclose(before[:, :4], after[:, :4], atol=1e-6)
    assert not torch.allclose(before[:, 4:], after[:, 4:], atol=1e-2)


@pytest.mark.parametrize(("cell", "kind"), EVERY)
def test_weights_move_between_the_two_implementations(cell: str, kind: str) -> None:
    fused, scratch = build(cell, kind), build(cell, kind, cell_impl="scratch")
    scratch.load_state_dict(fused.state_dict())
    source, target = batch()
    torch.testing.assert_close(scratch(source, target), fused(source, target), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("beams", [1, 4])
def test_batch_size_and_neighbours_change_no_translation(kind: str, beams: int) -> None:
    model = build(kind=kind, tie_embeddings=False)
    with torch.no_grad():
        model.output.weight[EOS] += 0.05
    generator = torch.Generator().manual_seed(7)
    lengths = torch.randint(1, 10, (30,), generator=generator).tolist()
    texts = [[*torch.randint(4, 40, (n,), generator=generator).tolist(), EOS] for n in lengths]
    decoder = Beam(Beam.Config(beam_size=beams))
    alone = decoder.generate_all(model, texts, SPEC, batch_size=1)
    together = decoder.generate_all(model, texts, SPEC, batch_size=64)
    mixed = decoder.generate(model, pad_rows(texts[::-1], PAD), SPEC)[::-1]
    for other in (together, mixed):
        assert [h.ids for h in other] == [h.ids for h in alone]
    assert len({len(h.ids) for h in alone}) > 2
    if beams == 1:
        greedy = Greedy(Greedy.Config()).generate_all(model, texts, SPEC)
        assert [h.ids for h in greedy] == [h.ids for h in alone]


def test_attention_maps_are_distributions_over_the_real_tokens() -> None:
    source, target = batch()
    for kind in KINDS:
        maps = build(kind=kind).attention_maps(source, target)
        if kind == "none":
            assert maps == {}
            continue
        assert maps["cross"].shape == (1, 3, 1, 6, 8)
        torch.testing.assert_close(maps["cross"].sum(-1), torch.ones(1, 3, 1, 6))
        assert maps["cross"][:, 2, :, :, 2:].max() == 0 < maps["cross"][:, 2, :, :, :2].min()


def test_tying_shares_one_matrix_and_separate_vocabularies_the_target_side_only() -> None:
    tied = build()
    assert tied.source_embedding.weight is tied.target_embedding.weight
    assert tied.output_weight is tied.target_embedding.weight
    untied = build(tie_embeddings=False)
    assert untied.source_embedding.weight is not untied.target_embedding.weight
    extra = sum(p.numel() for p in untied.parameters()) - sum(p.numel() for p in tied.parameters())
    assert extra == 2 * 40 * 16
    spec = Spec(task="seq2seq", vocab_size=40, source_vocab_size=30, pad_id=PAD)
    apart = RNNSeq2Seq(RNNSeq2Seq.Config(d_model=16), spec)
    assert apart.output_weight is apart.target_embedding.weight
    assert apart.source_embedding.weight.shape == (30, 16)


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_has_a_gradient(kind: str) -> None:
    model = build(kind=kind, dropout=0.1).train()
    source, target = batch()
    model(source, target).square().sum().backward()
    assert not [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
