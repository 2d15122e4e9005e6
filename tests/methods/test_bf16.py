"""Weights in bfloat16: how exact they are, and that packed copies change rounding only."""

from __future__ import annotations

import pytest
import torch

from scratchlab.data.contract import Spec
from scratchlab.decoding.beam import Beam
from scratchlab.decoding.greedy import Greedy
from scratchlab.methods import bf16
from scratchlab.methods.adapted import Adapted
from scratchlab.methods.bf16 import Bf16, Bf16Linear, Bf16Weight
from scratchlab.methods.contract import MethodContext
from scratchlab.methods.quantized import DEQUANTIZED
from scratchlab.models.gpt import GPT
from scratchlab.models.layers.linear import packed
from scratchlab.models.layers.lowered import has_bfloat16
from scratchlab.models.text_cnn import TextCNN
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


TEXT = Spec(task="language_modeling", vocab_size=40, max_length=16)
# Every way in which a layer may meet what another one gave: in its own type, or another.
INGREDIENTS = {
    "learned": {"positions": "learned"},
    "sinusoidal": {"positions": "sinusoidal"},
    "rotary": {"positions": "rotary"},
    "untied": {"positions": "none", "tie_embeddings": False, "bias": False},
    "adaptive": {"output": "adaptive", "cutoffs": [10, 20]},
    "speedrun": {
        "positions": "rotary",
        "qk_norm": True,
        "activation": "relu2",
        "value_embeddings": True,
        "residual_scalars": True,
        "logit_softcap": 15.0,
    },
}


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


@pytest.mark.parametrize("kind", INGREDIENTS)
def test_every_kind_of_gpt_says_nearly_the_same_with_a_cache_too(kind: str) -> None:
    torch.manual_seed(0)
    options = {"d_model": 32, "n_heads": 2, "n_layers": 2, "block_size": 16}
    model = GPT(GPT.Config(**options, **INGREDIENTS[kind]), TEXT).eval()
    for parameter in model.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.1)
    tokens = torch.randint(40, (3, 9))
    with torch.no_grad():
        expected = model(tokens)
        Bf16(Bf16.Config()).apply(model, MethodContext(TEXT))
        found = model(tokens)
        cache = model.start_cache(3, 12)
        first = model.project(model.hidden(tokens[:, :8], cache=cache))
        last = model.project(model.hidden(tokens[:, 8:], cache=cache))
    whole = has_bfloat16() and kind != "adaptive"  # which has matrices of its own, in fp32
    assert found.dtype == (torch.bfloat16 if whole else torch.float32)
    for y in (found, torch.cat([first, last], 1)):
        assert (y - expected).norm() < 0.03 * expected.norm()
    model.requires_grad_(True)(tokens).sum().backward()  # in fp32, for what is trained on top


def test_a_layer_that_is_no_linear_one_is_given_what_it_can_take() -> None:
    spec = Spec(task="classification", vocab_size=40, pad_id=0, n_classes=3, max_length=16)
    torch.manual_seed(0)
    model = TextCNN(TextCNN.Config(), spec).eval()
    tokens = torch.randint(1, 40, (3, 9))
    with torch.no_grad():
        expected = model(tokens)
        Bf16(Bf16.Config(targets=[])).apply(model, MethodContext(spec))
        found = model(tokens)
    assert found.dtype == torch.float32
    assert (found - expected).norm() < 0.02 * expected.norm()


def test_merged_it_is_a_plain_model_of_the_rounded_weights() -> None:
    plain, model = build(), build()
    method = Bf16(Bf16.Config())
    adapted = Adapted(method.apply(model, MethodContext(SPEC)), [method])
    for parameter in plain.parameters():
        if parameter.dim() == 2:
            parameter.data = parameter.data.bfloat16().float()
    assert method.mergeable
    merged = adapted.merged()
    assert isinstance(merged, TransformerMT)
    assert merged.output.weight is merged.target_embedding.weight  # still one matrix
    assert {n: tuple(t.shape) for n, t in merged.state_dict().items()} == {
        n: tuple(t.shape) for n, t in plain.state_dict().items()
    }
    source, target = torch.randint(4, 40, (2, 5)), torch.randint(4, 40, (2, 6))
    with torch.no_grad():
        assert torch.equal(merged(source, target), plain(source, target))


def test_a_processor_without_such_products_dequantizes_and_is_told_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bf16, "has_bfloat16", lambda: False)
    model = build()
    method = Bf16(Bf16.Config())
    method.apply(model, MethodContext(SPEC))
    (note,) = method.notes
    assert "multiplies no bfloat16" in note
    assert method.settings() == {"bf16_products": DEQUANTIZED}
    source, target = torch.randint(4, 40, (2, 5)), torch.randint(4, 40, (2, 6))
    with torch.no_grad():
        with packed(model, 64, 100) as found:
            assert found == []
            y = model(source, target)
        assert y.dtype == torch.float32
        method.merge(model)
        assert torch.equal(y, model(source, target))
