"""Training in bf16 on a CPU: what is computed in it, and how near that comes to fp32."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from scratchlab.data.contract import Spec
from scratchlab.models.gpt import GPT
from scratchlab.models.layers import lowered
from scratchlab.models.layers.feed_forward import FeedForward
from scratchlab.models.layers.linear import Linear
from scratchlab.models.layers.lowered import is_lowered
from scratchlab.models.text_encoder import TextEncoder
from scratchlab.models.transformer_mt import TransformerMT
from scratchlab.tasks.seq2seq import Seq2Seq

pytestmark = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this CPU has no kernels for bf16"
)


def lower() -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.bfloat16)


def near(found: Tensor, right: Tensor) -> bool:
    found, right = found.detach().float(), right.detach()
    return float((found - right).norm()) < 0.01 * float(right.norm())


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_a_linear_layer_and_its_gradients_are_those_of_fp32(relu: bool, bias: bool) -> None:
    torch.manual_seed(0)
    layer = Linear(24, 40, bias)
    for p in layer.parameters():  # exact in bf16: a ReLU decides alike in both
        p.data = p.data.bfloat16().float()
    x = torch.randn(3, 5, 24).bfloat16().float().requires_grad_()
    slope = torch.randn(3, 5, 40).bfloat16()
    right = F.linear(x, layer.weight, layer.bias)
    right = right.relu() if relu else right
    wanted = torch.autograd.grad(right, (x, *layer.parameters()), slope.float())
    with lower():
        assert is_lowered(x)
        found = layer(x, relu=relu)
    assert found.dtype == torch.bfloat16 and near(found, right)
    for mine, other in zip(
        torch.autograd.grad(found, (x, *layer.parameters()), slope), wanted, strict=True
    ):
        assert mine.dtype == torch.float32 and near(mine, other)


@pytest.mark.parametrize("relu", [False, True])
def test_rows_are_filled_up_to_few_shapes_and_change_nothing(
    relu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    layer, rows = Linear(24, 40), lowered.ROWS
    x = torch.randn(2 * rows + 5, 24).bfloat16().requires_grad_()
    slope = torch.randn(len(x), 40).bfloat16()
    found = []
    for block in (rows, len(x)):  # the second time there is nothing to fill up
        monkeypatch.setattr(lowered, "ROWS", block)
        with lower():
            y = layer(x, relu=relu)
        found.append((y, *torch.autograd.grad(y, (x, *layer.parameters()), slope)))
        assert y.shape == (len(x), 40) and y.is_contiguous()
    assert lowered.in_blocks(x).shape == x.shape
    for mine, right in zip(*found, strict=True):
        assert mine.shape == right.shape and near(mine.float(), right.float())
    monkeypatch.setattr(lowered, "ROWS", rows)
    assert lowered.in_blocks(x).shape == (3 * rows, 24)
    assert not lowered.in_blocks(x)[len(x) :].any()
    assert lowered.in_blocks(x[:5]).shape == (5, 24)  # one text at a time


def test_a_frozen_layer_passes_gradients_on_and_gets_none() -> None:
    layer = Linear(8, 8).requires_grad_(False)
    x = torch.randn(2, 8, requires_grad=True)
    with lower():
        layer(x).float().sum().backward()
    assert x.grad is not None and layer.weight.grad is None


@pytest.mark.parametrize("activation", ["relu", "relu2", "gelu", "gelu_tanh"])
def test_rows_change_no_bit_of_the_feed_forward_block(activation: str) -> None:
    torch.manual_seed(0)
    block = FeedForward(16, 32, activation)
    x = torch.randn(2, 6, 16, requires_grad=True)
    act = {"relu": F.relu, "relu2": lambda h: F.relu(h).square(), "gelu": F.gelu}
    right = block.out(act[activation](block.inner(x))) if activation in act else None
    found = block(x)
    assert found.shape == x.shape
    if right is not None:
        assert torch.equal(found, right)
        values = (x, *block.parameters())
        slopes = (torch.autograd.grad(y.square().sum(), values) for y in (found, right))
        assert all(torch.equal(a, b) for a, b in zip(*slopes, strict=True))


def spec(task: str) -> Spec:
    return Spec(task=task, vocab_size=30, source_vocab_size=30, shared_vocabulary=True,
                unk_id=0, pad_id=1, sos_id=2, eos_id=3, max_length=12)  # fmt: skip


def streams(model: torch.nn.Module, run) -> list[torch.dtype]:  # type: ignore[no-untyped-def]
    """The dtypes of what the blocks of a model are given."""
    seen: list[torch.dtype] = []
    for module in model.modules():
        if type(module).__name__ == "Block":
            module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    with lower():
        run()
    return seen


def test_the_residual_streams_are_bf16_and_the_loss_is_near() -> None:
    torch.manual_seed(0)
    sizes = {"d_model": 32, "n_heads": 2, "dropout": 0.0}
    tokens = torch.randint(4, 30, (3, 9))
    model = TransformerMT(
        TransformerMT.Config(encoder_layers=2, decoder_layers=2, d_ff=64, **sizes), spec("seq2seq")
    )
    task = Seq2Seq(Seq2Seq.Config(), spec("seq2seq"))
    batch = task.example_batch(3, 9)
    assert set(streams(model, lambda: model(tokens, tokens))) == {torch.bfloat16}
    losses = []
    for low in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
            loss = task.loss(model, batch).total
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        losses.append((loss.item(), torch.cat([g.flatten() for g in gradients])))
        assert {g.dtype for g in gradients} == {torch.float32}
    (right, slope), (found, mine) = losses
    assert found == pytest.approx(right, rel=0.01)
    assert float((mine - slope).norm()) < 0.05 * float(slope.norm())

    gpt = GPT(GPT.Config(n_layers=2, **sizes), spec("language_modeling"))
    assert set(streams(gpt, lambda: gpt.hidden(tokens))) == {torch.bfloat16}
    encoder = TextEncoder(TextEncoder.Config(n_layers=2, **sizes), spec("masked_lm"))
    assert set(streams(encoder, lambda: encoder.hidden(tokens))) == {torch.bfloat16}
    with lower():
        assert encoder.hidden(tokens).dtype == torch.float32  # what is told from it, as before
    assert not is_lowered(gpt.embedding.weight)  # without autocast


def test_training_steps_in_both_precisions_stay_together() -> None:
    torch.manual_seed(0)
    task = Seq2Seq(Seq2Seq.Config(label_smoothing=0.1), spec("seq2seq"))
    batch = task.example_batch(8, 9)
    ends = []
    for low in (False, True):
        torch.manual_seed(1)
        config = TransformerMT.Config(d_model=32, n_heads=2, encoder_layers=1, decoder_layers=1,
                                      d_ff=64, dropout=0.0)  # fmt: skip
        model = TransformerMT(config, spec("seq2seq"))
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        course = []
        for _ in range(30):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
                loss = task.loss(model, batch)
            (loss.total / loss.count).backward()
            optimizer.step()
            optimizer.zero_grad()
            course.append(float(loss.nll) / loss.count)
        assert all(b < a + 0.05 for a, b in pairwise(course))
        ends.append(course[-1])
    assert ends[1] == pytest.approx(ends[0], rel=0.05)


def test_no_rows_at_all_come_through() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert Linear(8, 4)(torch.zeros(0, 8)).shape == (0, 4)
        assert Linear(8, 4)(torch.zeros(2, 0, 8)).shape == (2, 0, 4)
        assert FeedForward(8, 16, "relu")(torch.zeros(2, 0, 8)).shape == (2, 0, 8)
