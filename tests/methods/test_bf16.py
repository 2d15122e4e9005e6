"""Weights in bfloat16: how exact they are, and that packed copies change rounding only."""

from __future__ import annotations

import pytest
import torch

from scratchlab.data.contract import Spec
from scratchlab.decoding.beam import Beam
from scratchlab.decoding.greedy import Greedy
from scratchlab.methods.bf16 import Bf16, Bf16Linear, Bf16Weight
from scratchlab.methods.contract import MethodContext
from scratchlab.models.layers.linear import has_bfloat16, packed
from scratchlab.models.transformer_mt import TransformerMT

SPEC = Spec(
    task="seq2seq",
    vocab_size=40,
    source_vocab_size=40,
    shared_vocabulary=True,
    unk_id=0,
    pad_id=1,
    sos_id=2,
    eos_id=3,
)


def build() -> TransformerMT:
    torch.manual_seed(0)
    config = TransformerMT.Config(
        d_model=32, n_heads=2, d_ff=64, encoder_layers=1, decoder_layers=1
    )
    return TransformerMT(config, SPEC).eval()


def test_every_weight_is_within_half_a_step_and_takes_two_bytes() -> None:
    plain, model = build(), build()
    method = Bf16(Bf16.Config())
    method.apply(model, MethodContext(SPEC))
    layer = model.decoder[0].feed_forward.inner
    weight = plain.decoder[0].feed_forward.inner.weight
    assert isinstance(layer, Bf16Linear) and layer.stored.values.dtype == torch.bfloat16
    assert ((layer.dequantize() - weight).abs() <= weight.abs() / 256).all()
    assert model.output.stored is model.target_embedding.stored  # tied, kept once
    sizes = {name: kept / weights for name, weights, kept in method.sizes}
    assert set(sizes.values()) == {2.0}


@pytest.mark.skipif(not has_bfloat16(), reason="this processor multiplies no bfloat16")
@pytest.mark.parametrize("rows", [1, 5, 200])
def test_a_packed_copy_gives_the_same_product_but_for_rounding(rows: int) -> None:
    torch.manual_seed(0)
    layer = Bf16Linear(Bf16Weight(torch.randn(40, 64)), torch.randn(40))
    x = torch.randn(rows, 64)
    exact = x @ layer.dequantize().t() + layer.bias
    with torch.inference_mode():
        plain = layer(x)
        with packed(layer, rows, 100) as found:
            assert found == [layer.stored]
            together = layer(x)
    assert layer.stored.blocked is None and together.dtype == torch.float32
    for y in (plain, together):
        assert (y - exact).norm() < 0.01 * exact.norm()


def test_translations_of_a_batch_are_those_of_each_sentence() -> None:
    model = build()
    with torch.no_grad():
        model.target_embedding.weight.mul_(8)  # sure of its words: rounding turns no choice round
    Bf16(Bf16.Config()).apply(model, MethodContext(SPEC))
    sources = [[5, 6, 7, 3], [8, 9, 3], [4, 10, 11, 12, 3], [20, 21, 3]]
    for decoder in (Greedy(Greedy.Config()), Beam(Beam.Config(beam_size=3))):
        together = decoder.generate_all(model, sources, SPEC, 2)  # two batches: packed copies
        alone = [decoder.generate_all(model, [source], SPEC)[0] for source in sources]
        assert [h.ids for h in together] == [h.ids for h in alone]
        for a, b in zip(together, alone, strict=True):
            assert a.log_probability == pytest.approx(b.log_probability, rel=0.02, abs=0.02)
