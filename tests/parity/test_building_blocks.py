"""The switches of the from-scratch models beside formulas that are written out plainly."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from scratchlab.data.contract import Spec
from scratchlab.models.gpt import GPT
from scratchlab.models.layers.attention import CrossAttention, SelfAttention
from scratchlab.models.layers.positions import Rotary

SPEC = Spec(task="language_modeling", vocab_size=19, max_length=9)
SWITCHES: dict[str, dict[str, Any]] = {
    "qk_norm": {"qk_norm": True},
    "relu2": {"activation": "relu2"},
    "softcap": {"logit_softcap": 2.0},
    "value_embeddings": {"value_embeddings": True},
    "residual_scalars": {"residual_scalars": True},
}
EVERYTHING = {key: value for chosen in SWITCHES.values() for key, value in chosen.items()}


def build(**options: Any) -> GPT:
    """A tiny model in double precision, none of whose weights is what it begins with."""
    torch.manual_seed(0)
    config = GPT.Config(**{"d_model": 8, "n_heads": 2, "n_layers": 3, **options})
    model = GPT(config, SPEC).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.4 * torch.randn(parameter.shape, dtype=torch.float64))
    return model


def layer_norm(x: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    centred = x - x.mean()
    scaled = centred / (centred.square().mean() + 1e-5).sqrt()
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def linear(x: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    return weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]


def root_mean_square(x: Tensor, gain: Tensor) -> Tensor:
    return x / (x.square().sum() / len(x) + 1e-6) ** 0.5 * gain


def plain_logits(model: GPT, text: list[int]) -> Tensor:
    """Logits [T, V] of one text, a token and a head at a time: the formulas of the papers."""
    w, c = dict(model.named_parameters()), model.config
    width = c.d_model // c.n_heads
    first = [w["embedding.weight"][t] + w["positions.weight"][i] for i, t in enumerate(text)]
    xs = list(first)
    for n in range(c.n_layers):
        block = f"blocks.{n}"
        if c.residual_scalars:
            a, b = w["stream"][2 * n], w["stream"][2 * n + 1]
            xs = [a * x + b * x0 for x, x0 in zip(xs, first, strict=True)]
        queries, keys, values = [], [], []
        for x, t in zip(xs, text, strict=True):
            made = linear(layer_norm(x, w, f"{block}.attention_norm"), w, f"{block}.attention.qkv")
            q, k, v = made.split(c.d_model)
            if c.value_embeddings and n % 2 == (c.n_layers - 1) % 2:
                v = v + w[f"values.{n}.weight"][t]
            heads = [part.split(width) for part in (q, k, v)]
            if c.qk_norm:
                gains = [w[f"{block}.attention.qk_norm.{g}_gain"] for g in "qk"]
                for part, gain in enumerate(gains):
                    heads[part] = tuple(root_mean_square(h, gain) for h in heads[part])
            queries.append(heads[0])
            keys.append(heads[1])
            values.append(heads[2])
        for i in range(len(xs)):
            seen = []
            for h in range(c.n_heads):
                scores = [queries[i][h] @ keys[j][h] / math.sqrt(width) for j in range(i + 1)]
                shares = torch.stack(scores).softmax(0)
                seen.append(sum(s * values[j][h] for j, s in enumerate(shares)))
            xs[i] = xs[i] + linear(torch.cat(seen), w, f"{block}.attention.out")  # type: ignore[arg-type]
        for i, x in enumerate(xs):
            inner = layer_norm(x, w, f"{block}.feed_forward_norm")
            inner = linear(inner, w, f"{block}.feed_forward.inner")
            if c.activation == "relu2":
                inner = torch.where(inner > 0, inner * inner, torch.zeros_like(inner))
            else:
                cubic = math.sqrt(2 / math.pi) * (inner + 0.044715 * inner**3)
                inner = 0.5 * inner * (1 + cubic.tanh())
            xs[i] = x + linear(inner, w, f"{block}.feed_forward.out")
    logits = torch.stack([w["embedding.weight"] @ layer_norm(x, w, "norm") for x in xs])
    cap = c.logit_softcap
    return logits if cap is None else cap * (logits / cap).tanh()


@pytest.mark.parametrize("name", [*SWITCHES, "plain", "everything"])
def test_logits_and_gradients_are_those_of_the_formulas(name: str) -> None:
    options = {"plain": {}, "everything": EVERYTHING, **SWITCHES}[name]
    model = build(positions="learned", **options)
    text = [3, 3, 18, 0, 7]
    mine, wanted = model(torch.tensor([text]))[0], plain_logits(model, text)
    torch.testing.assert_close(mine, wanted, rtol=1e-9, atol=1e-9)
    coefficients = torch.randn(mine.shape, dtype=torch.float64)
    weights = [p for _, p in model.named_parameters()]
    found = torch.autograd.grad((mine * coefficients).sum(), weights)
    expected = torch.autograd.grad((wanted * coefficients).sum(), weights)
    for (key, _), a, b in zip(model.named_parameters(), found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8, msg=lambda m, k=key: f"{k}: {m}")
        assert b.abs().max() > 1e-6, key  # each weight has a say
    if options:
        plain = build(positions="learned")
        theirs = plain.state_dict()
        plain.load_state_dict({k: v for k, v in model.state_dict().items() if k in theirs})
        assert (plain(torch.tensor([text]))[0] - mine).abs().max() > 1e-3


def test_normed_queries_and_keys_attend_as_in_qwen3() -> None:
    qwen = pytest.importorskip("transformers.models.qwen3.modeling_qwen3")
    from transformers import Qwen3Config

    torch.manual_seed(0)
    config = Qwen3Config(
        hidden_size=32, num_attention_heads=4, num_key_value_heads=4, head_dim=8,
        attention_bias=False, attention_dropout=0.0, max_position_embeddings=64,
    )  # fmt: skip
    config._attn_implementation = "eager"
    theirs = qwen.Qwen3Attention(config, layer_idx=0).eval()
    mine = SelfAttention(32, 4, causal=True, bias=False, qk_norm=True)
    assert mine.qk_norm is not None
    with torch.no_grad():
        theirs.q_norm.weight.copy_(torch.rand(8) + 0.5)
        theirs.k_norm.weight.copy_(torch.rand(8) + 0.5)
        projections = (theirs.q_proj, theirs.k_proj, theirs.v_proj)
        mine.qkv.weight.copy_(torch.cat([p.weight for p in projections]))
        mine.out.weight.copy_(theirs.o_proj.weight)
        mine.qk_norm.q_gain.copy_(theirs.q_norm.weight)
        mine.qk_norm.k_gain.copy_(theirs.k_norm.weight)
    x = torch.randn(2, 7, 32)
    turned = qwen.Qwen3RotaryEmbedding(config)(x, torch.arange(7)[None])
    mask = torch.full((7, 7), -math.inf).triu(1)[None, None]
    wanted = theirs(x, turned, mask)[0]
    found = mine(x, Rotary(8, 64)(slice(0, 7)))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_attention_to_a_source_norms_its_queries_and_keys_too() -> None:
    torch.manual_seed(0)
    layer = CrossAttention(8, 2, qk_norm=True).double()
    assert layer.qk_norm is not None
    with torch.no_grad():
        layer.qk_norm.q_gain.uniform_(0.5, 2)
        layer.qk_norm.k_gain.uniform_(0.5, 2)
    x, memory = torch.randn(3, 8).double(), torch.randn(5, 8).double()
    found = layer(x[None], *layer.keys_and_values(memory[None]), None)[0]
    w = dict(layer.named_parameters())
    for i in range(3):
        seen = []
        for h in (slice(0, 4), slice(4, 8)):
            q = root_mean_square(linear(x[i], w, "q")[h], layer.qk_norm.q_gain)
            made = [linear(m, w, "kv") for m in memory]
            keys = [root_mean_square(kv[:8][h], layer.qk_norm.k_gain) for kv in made]
            shares = torch.stack([q @ k / 2 for k in keys]).softmax(0)
            seen.append(sum(s * kv[8:][h] for s, kv in zip(shares, made, strict=True)))
        wanted = linear(torch.cat(seen), w, "out")  # type: ignore[arg-type]
        torch.testing.assert_close(found[i], wanted, rtol=1e-9, atol=1e-9)
