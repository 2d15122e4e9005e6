"""Our encoder-decoder Transformer beside torch.nn.Transformer with the same weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scratchlab.data.contract import Spec
from scratchlab.models.layers.positions import sinusoidal_table
from scratchlab.models.transformer_mt import TransformerMT

PAD, SOS, EOS = 1, 2, 3
SPEC = Spec(
    task="seq2seq",
    vocab_size=23,
    source_vocab_size=19,
    shared_vocabulary=False,
    unk_id=0,
    pad_id=PAD,
    sos_id=SOS,
    eos_id=EOS,
)
TOLERANCE = 1e-5


class Reference(nn.Module):
    """The same model put together from torch's own layers."""

    def __init__(self, config: TransformerMT.Config) -> None:
        super().__init__()
        shared: dict[str, Any] = {
            "d_model": config.d_model,
            "nhead": config.n_heads,
            "dim_feedforward": config.d_ff,
            "dropout": 0.0,
            "activation": config.activation,
            "batch_first": True,
            "norm_first": config.norm == "pre",
        }

        def final() -> nn.LayerNorm | None:
            return nn.LayerNorm(config.d_model) if config.norm == "pre" else None

        encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(**shared),
            config.encoder_layers,
            final(),
            enable_nested_tensor=False,
        )
        decoder = nn.TransformerDecoder(
            nn.TransformerDecoderLayer(**shared), config.decoder_layers, final()
        )
        self.transformer = nn.Transformer(**shared, custom_encoder=encoder, custom_decoder=decoder)
        self.source = nn.Embedding(19, config.d_model)
        self.target = nn.Embedding(23, config.d_model)
        self.output = nn.Linear(config.d_model, 23, bias=False)
        if config.tie_embeddings:
            self.output.weight = self.target.weight
        self.d_model = config.d_model

    def embed(self, ids: Tensor, embedding: nn.Embedding) -> Tensor:
        position = torch.arange(ids.shape[1], dtype=torch.float64)[:, None]
        rate = 10000 ** (torch.arange(0, self.d_model, 2, dtype=torch.float64) / self.d_model)
        table = torch.zeros(ids.shape[1], self.d_model, dtype=torch.float64)
        table[:, 0::2] = torch.sin(position / rate)
        table[:, 1::2] = torch.cos(position / rate)
        return embedding(ids) * math.sqrt(self.d_model) + table.to(embedding.weight.dtype)

    def encode(self, source: Tensor) -> Tensor:
        return self.transformer.encoder(
            self.embed(source, self.source), src_key_padding_mask=source == PAD
        )

    def decode(self, target: Tensor, memory: Tensor, source: Tensor) -> Tensor:
        causal = torch.ones(target.shape[1], target.shape[1], dtype=torch.bool).triu(1)
        return self.transformer.decoder(
            self.embed(target, self.target),
            memory,
            tgt_mask=causal,
            memory_key_padding_mask=source == PAD,
        )

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return self.output(self.decode(target, self.encode(source), source))


def pairs(ours: TransformerMT, theirs: Reference) -> Iterator[tuple[list[Any], Any]]:
    """Our parameters (to be stacked) and the one of torch's model that holds the same numbers."""

    def same(a: Any, b: Any) -> Iterator[tuple[list[Any], Any]]:
        yield [a.weight], b.weight
        if getattr(a, "bias", None) is not None:
            yield [a.bias], b.bias

    yield from same(ours.source_embedding, theirs.source)
    yield from same(ours.target_embedding, theirs.target)
    yield from same(ours.output, theirs.output)
    if ours.config.norm == "pre":
        yield from same(ours.encoder_norm, theirs.transformer.encoder.norm)
        yield from same(ours.decoder_norm, theirs.transformer.decoder.norm)
    stacks = (
        (ours.encoder, theirs.transformer.encoder.layers),
        (ours.decoder, theirs.transformer.decoder.layers),
    )
    for mine, other in ((a, b) for left, right in stacks for a, b in zip(left, right, strict=True)):
        yield [mine.attention.qkv.weight], other.self_attn.in_proj_weight
        yield [mine.attention.qkv.bias], other.self_attn.in_proj_bias
        yield from same(mine.attention.out, other.self_attn.out_proj)
        yield from same(mine.attention_norm, other.norm1)
        yield from same(mine.feed_forward.inner, other.linear1)
        yield from same(mine.feed_forward.out, other.linear2)
        if hasattr(mine, "cross"):
            cross = other.multihead_attn
            yield [mine.cross.q.weight, mine.cross.kv.weight], cross.in_proj_weight
            yield [mine.cross.q.bias, mine.cross.kv.bias], cross.in_proj_bias
            yield from same(mine.cross.out, cross.out_proj)
            yield from same(mine.cross_norm, other.norm2)
            yield from same(mine.feed_forward_norm, other.norm3)
        else:
            yield from same(mine.feed_forward_norm, other.norm2)


def build(
    norm: str, dtype: torch.dtype = torch.float64, activation: str = "relu"
) -> tuple[TransformerMT, Reference]:
    torch.manual_seed(0)
    config = TransformerMT.Config(
        d_model=16,
        n_heads=4,
        encoder_layers=2,
        decoder_layers=3,
        d_ff=24,
        dropout=0.0,
        norm=norm,
        activation=activation,
        max_length=32,
    )
    ours = TransformerMT(config, SPEC).to(dtype)
    if dtype == torch.float64:  # the table was rounded to float32 when it was built
        exact = sinusoidal_table(config.max_length, config.d_model)
        ours.source_positions.table = ours.target_positions.table = exact
    theirs = Reference(config).to(dtype)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)  # biases and norms too
        for mine, other in pairs(ours, theirs):
            other.copy_(torch.cat(mine))
    return ours, theirs


def sentences() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    source = torch.randint(4, 19, (5, 9))
    target = torch.randint(4, 23, (5, 7))
    for row, (s, t) in enumerate([(9, 7), (4, 7), (6, 3), (1, 5), (9, 1)]):
        source[row, s:] = PAD
        target[row, t:] = PAD
    target[:, 0] = SOS
    return source, target


def assert_same_gradients(ours: TransformerMT, theirs: Reference) -> None:
    compared = 0
    for mine, other in pairs(ours, theirs):
        if other.grad is None:
            assert all(p.grad is None for p in mine)
            continue
        assert other.grad.abs().max() > 0
        found = torch.cat([p.grad for p in mine])
        assert torch.allclose(found, other.grad, rtol=TOLERANCE, atol=TOLERANCE)
        compared += 1
    assert compared > 20


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_the_encoder_and_its_gradients_equal_torchs(norm: str) -> None:
    ours, theirs = build(norm)
    source, _ = sentences()
    real = source != PAD
    weights = torch.randn(5, 9, 16, dtype=torch.float64)[real]
    mine = ours.encode(source, ~real)[real]
    other = theirs.encode(source)[real]
    assert torch.allclose(mine, other, rtol=TOLERANCE, atol=TOLERANCE)
    (mine * weights).sum().backward()
    (other * weights).sum().backward()
    assert_same_gradients(ours, theirs)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_the_decoder_and_its_gradients_equal_torchs(norm: str) -> None:
    ours, theirs = build(norm)
    source, target = sentences()
    memory = torch.randn(5, 9, 16, dtype=torch.float64, requires_grad=True)
    other_memory = memory.detach().clone().requires_grad_()
    real = target != PAD
    weights = torch.randn(5, 7, 16, dtype=torch.float64)[real]
    mine = ours.decode(target, memory, source == PAD)[real]
    other = theirs.decode(target, other_memory, source)[real]
    assert torch.allclose(mine, other, rtol=TOLERANCE, atol=TOLERANCE)
    (mine * weights).sum().backward()
    (other * weights).sum().backward()
    assert_same_gradients(ours, theirs)
    assert memory.grad is not None and other_memory.grad is not None
    assert torch.allclose(memory.grad, other_memory.grad, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_the_whole_model_and_its_gradients_equal_torchs(norm: str, activation: str) -> None:
    ours, theirs = build(norm, activation=activation)
    source, target = sentences()
    real = target != PAD
    answer = torch.randint(4, 23, (5, 7))[real]
    mine, other = ours(source, target)[real], theirs(source, target)[real]
    assert torch.allclose(mine, other, rtol=TOLERANCE, atol=TOLERANCE)
    nn.functional.cross_entropy(mine, answer, reduction="sum").backward()
    nn.functional.cross_entropy(other, answer, reduction="sum").backward()
    assert_same_gradients(ours, theirs)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_the_whole_model_equals_torchs_in_single_precision_too(norm: str) -> None:
    ours, theirs = build(norm, torch.float32)
    source, target = sentences()
    real = target != PAD
    mine, other = ours(source, target)[real], theirs(source, target)[real]
    assert torch.allclose(mine, other, rtol=TOLERANCE, atol=TOLERANCE)


def test_training_mode_and_evaluation_mode_agree_without_dropout() -> None:
    ours, _ = build("pre", torch.float32)
    source, target = sentences()
    real = target != PAD
    training = ours(source, target)[real]
    with torch.no_grad():
        evaluation = ours.eval()(source, target)[real]
    assert torch.allclose(training, evaluation, rtol=TOLERANCE, atol=TOLERANCE)
