from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from scratchlab.tasks import cross_entropy
from scratchlab.tasks.cross_entropy import linear_cross_entropy, plain_cross_entropy


def problem(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    hidden = torch.randn(37, 12, dtype=dtype, requires_grad=True)
    weight = torch.randn(29, 12, dtype=dtype, requires_grad=True)
    return hidden, weight, torch.randint(29, (37,))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("chunk", [1, 8, 37, 1000])
def test_loss_and_gradients_equal_torchs_whatever_the_chunk(smoothing: float, chunk: int) -> None:
    hidden, weight, target = problem()
    total, nll = linear_cross_entropy(hidden, weight, target, smoothing, chunk)
    logits = hidden @ weight.t()
    expected = torch.nn.functional.cross_entropy(
        logits, target, reduction="sum", label_smoothing=smoothing
    )
    plain = torch.nn.functional.cross_entropy(logits, target, reduction="sum")
    assert total.item() == pytest.approx(expected.item(), rel=1e-12)
    assert nll.item() == pytest.approx(plain.item(), rel=1e-12)
    found = torch.autograd.grad(3 * total, (hidden, weight))
    wanted = torch.autograd.grad(3 * expected, (hidden, weight))
    for a, b in zip(found, wanted, strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("padding", [0, 3])
def test_capped_logits_have_the_loss_and_gradients_of_the_formula(
    smoothing: float, padding: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_entropy, "missing_rows", lambda *_: padding)
    hidden, weight, target = problem()
    logits = 1.5 * torch.tanh(hidden @ weight.t() / 1.5)
    expected = torch.nn.functional.cross_entropy(
        logits, target, reduction="sum", label_smoothing=smoothing
    )
    wanted = torch.autograd.grad(3 * expected, (hidden, weight))
    for loss in (linear_cross_entropy, plain_cross_entropy):
        total, nll = loss(hidden, weight, target, smoothing, softcap=1.5)
        assert total.item() == pytest.approx(expected.item(), rel=1e-12)
        plain = torch.nn.functional.cross_entropy(logits, target, reduction="sum")
        assert nll.item() == pytest.approx(plain.item(), rel=1e-12)
        found = torch.autograd.grad(3 * total, (hidden, weight))
        for a, b in zip(found, wanted, strict=True):
            assert torch.allclose(a, b, rtol=1e-10, atol=1e-12)


def test_a_target_that_capped_logits_make_all_but_impossible_has_its_loss() -> None:
    hidden, weight = torch.eye(2) * 500, torch.eye(2)
    weight[1, 0] = -1
    target = torch.tensor([1, 0])
    found = linear_cross_entropy(hidden, weight, target, softcap=90.0)[0]
    logits = 90 * torch.tanh(hidden @ weight.t() / 90)
    wanted = torch.nn.functional.cross_entropy(logits, target, reduction="sum")
    assert wanted > 150
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_rows_that_a_gpu_is_given_for_speed_change_nothing(
    smoothing: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cross_entropy.missing_rows(50_257, torch.device("cuda")) == 50_304 - 50_257
    assert cross_entropy.missing_rows(50_257, torch.device("cpu")) == 0
    hidden, weight, target = problem()
    expected = linear_cross_entropy(hidden, weight, target, smoothing, 8)
    wanted = torch.autograd.grad(expected[0], (hidden, weight))
    monkeypatch.setattr(cross_entropy, "missing_rows", lambda *_: 3)
    padded = linear_cross_entropy(hidden, weight, target, smoothing, 8)
    found = torch.autograd.grad(padded[0], (hidden, weight))
    for a, b in zip((*padded, *found), (*expected, *wanted), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_the_plain_path_equals_the_fused_one_in_single_precision() -> None:
    hidden, weight, target = problem(torch.float32)
    fused = linear_cross_entropy(hidden, weight, target, 0.1, 8)
    plain = plain_cross_entropy(hidden, weight, target, 0.1)
    assert [t.item() for t in fused] == pytest.approx([t.item() for t in plain], rel=1e-5)
    found = torch.autograd.grad(fused[0], (hidden, weight))
    wanted = torch.autograd.grad(plain[0], (hidden, weight))
    for a, b in zip(found, wanted, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_a_vanishing_probability_gives_a_finite_exact_loss() -> None:
    hidden = torch.tensor([[400.0], [1.0]], requires_grad=True)
    weight = torch.tensor([[1.0], [0.0], [0.5]], requires_grad=True)
    target = torch.tensor([1, 1])
    total, nll = linear_cross_entropy(hidden, weight, target, 0.1)
    expected = torch.nn.functional.cross_entropy(
        hidden @ weight.t(), target, reduction="sum", label_smoothing=0.1
    )
    assert total.item() == pytest.approx(expected.item(), rel=1e-6)
    assert nll.item() > 400
    (grad,) = torch.autograd.grad(total, hidden)
    assert torch.isfinite(grad).all()


def test_a_frozen_weight_gets_no_gradient() -> None:
    hidden, weight, target = problem()
    total, _ = linear_cross_entropy(hidden, weight.detach(), target)
    total.backward()
    assert hidden.grad is not None and weight.grad is None


def test_a_backward_pass_may_be_repeated() -> None:
    hidden, weight, target = problem()
    total, _ = linear_cross_entropy(hidden, weight, target)
    first = torch.autograd.grad(2 * total, hidden, retain_graph=True)[0]
    again = torch.autograd.grad(2 * total, hidden)[0]
    assert torch.equal(first, again)


def test_low_precision_loses_little() -> None:
    hidden, weight, target = problem(torch.float32)
    exact, _ = linear_cross_entropy(hidden, weight, target, 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        rough, _ = linear_cross_entropy(hidden, weight, target, 0.1)
    assert rough.dtype == torch.float32
    assert rough.item() == pytest.approx(exact.item(), rel=1e-2)
    found, wanted = (torch.autograd.grad(t, weight)[0] for t in (rough, exact))
    assert found.dtype == torch.float32
    assert (found - wanted).norm() < 0.02 * wanted.norm()


@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("count", [3, 64, 70, 200])
def test_rows_that_fill_up_a_chunk_in_bf16_change_nothing(
    count: int, softcap: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    hidden = torch.randn(count, 16).bfloat16().requires_grad_()
    weight = torch.randn(40, 16, requires_grad=True)
    target = torch.randint(40, (count,))
    monkeypatch.setattr(cross_entropy, "CPU_CHUNK_BYTES", 128 * 40 * 2)  # 128 rows, filled: 2 × 128
    found = []
    for fills in (True, False):
        monkeypatch.setattr(cross_entropy, "compiles_shapes", lambda _, fills=fills: fills)
        with torch.autocast("cpu", torch.bfloat16):
            total, nll = linear_cross_entropy(hidden, weight, target, 0.1, softcap=softcap)
        found.append((total, nll, *torch.autograd.grad(total, (hidden, weight))))
    for mine, right in zip(*found, strict=True):
        assert mine.shape == right.shape
        torch.testing.assert_close(mine.float(), right.float(), rtol=0.02, atol=0.02)


def test_chunks_in_bf16_are_of_few_sizes() -> None:
    sizes = {cross_entropy.even_rows(count, 1040) for count in range(4000, 4161)}
    assert sizes == {1024, 1088}
    assert cross_entropy.even_rows(1, 1040) == cross_entropy.BF16_ROWS


def test_what_is_nearly_certain_has_its_loss_and_gradient_in_bf16() -> None:
    """A probability of 0.999 is 1 in bf16; what it lacks of 1 is not."""
    lacking = torch.tensor([0.3, 0.1, 1e-2, 1e-3, 1e-4])
    logits = torch.zeros(len(lacking), 4)
    logits[:, 0] = torch.log(3 * (1 - lacking) / lacking)  # three others share what is lacking
    hidden = logits.bfloat16().requires_grad_()
    weight, target = torch.eye(4, requires_grad=True), torch.zeros(len(lacking), dtype=torch.long)
    with torch.autocast("cpu", torch.bfloat16):
        total, nll = linear_cross_entropy(hidden, weight, target)
    total.backward()
    exact = hidden.detach().float().requires_grad_()  # of the same logits
    wanted = F.cross_entropy(exact, target, reduction="sum")
    wanted.backward()
    assert nll.item() == pytest.approx(wanted.item(), rel=0.01)
    assert hidden.grad is not None and exact.grad is not None
    torch.testing.assert_close(hidden.grad.float(), exact.grad, rtol=0.01, atol=0)


def test_no_targets_at_all_are_no_loss_in_bf16() -> None:
    hidden, weight = torch.zeros(0, 8, requires_grad=True), torch.randn(5, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        total, nll = linear_cross_entropy(hidden, weight, torch.zeros(0, dtype=torch.long))
    total.backward()
    assert total.item() == nll.item() == 0
    assert weight.grad is not None and not weight.grad.any()
