from __future__ import annotations

import pytest
import torch

from scratchlab.models.layers.attention import attend
from scratchlab.models.layers.dropout import Dropout, keep_mask


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5])
def test_the_dropped_share_is_the_one_asked_for(p: float) -> None:
    torch.manual_seed(0)
    dropped = torch.stack([(~keep_mask(torch.Size([5000]), p)).float().mean() for _ in range(400)])
    assert dropped.mean().item() == pytest.approx(p, abs=1e-3)  # finer than a byte's 1/256


NEARLY_ONE = 1 - 2**-53


@pytest.mark.parametrize("p", [0.0, 0.001, 1 / 256, 255 / 256, 0.997, 0.999, 0.9999, NEARLY_ONE])
def test_shares_that_no_byte_can_hold_are_dropped_exactly(p: float) -> None:
    torch.manual_seed(0)
    n, calls = 10_000, 60
    dropped = torch.stack([(~keep_mask(torch.Size([n]), p)).sum() for _ in range(calls)]).double()
    deviation = (n * p * (1 - p)) ** 0.5  # of the number that one call drops
    assert abs(dropped.mean() - n * p) <= 5 * deviation / calls**0.5 + 1e-9
    if 0 < p < 1 / 256 or 255 / 256 < p < 1 - 1e-6:  # drawn one by one: no call drops all or none
        assert dropped.std() == pytest.approx(deviation, rel=0.35)


@pytest.mark.parametrize("p", [0.997, 0.999])
def test_nearly_everything_dropped_keeps_the_mean_of_what_passes(p: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(500_000)
    out = Dropout(p)(x)
    kept = out[out != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - p)))
    assert out.mean().item() == pytest.approx(1, abs=5 * (p / (1 - p) / len(x)) ** 0.5)
    attention = attend(
        torch.zeros(1, 1, 600, 4), torch.zeros(1, 1, 600, 4), torch.ones(1, 1, 600, 4), dropout=p
    )
    share = (p / (1 - p) / 600) ** 0.5 / 600**0.5  # of the mean over all queries
    assert attention.mean().item() == pytest.approx(1, abs=5 * share)


def test_neighbours_are_dropped_independently() -> None:
    torch.manual_seed(0)
    dropped = (~keep_mask(torch.Size([400_000]), 0.25)).float()
    for lag in (1, 4, 8):
        together = (dropped[:-lag] * dropped[lag:]).mean().item()
        assert together == pytest.approx(0.25**2, abs=3e-3)


def test_what_is_kept_is_scaled_and_the_residual_added() -> None:
    torch.manual_seed(0)
    dropout = Dropout(0.2)
    x, residual = torch.randn(300, 7), torch.randn(300, 7)
    kept = (dropout(x, residual) - residual) / x
    scaled = torch.isclose(kept, torch.tensor(1.25), atol=1e-2)
    assert torch.all(scaled | torch.isclose(kept, torch.tensor(0.0), atol=1e-2))
    assert 0.7 < scaled.float().mean() < 0.9


def test_gradients_flow_through_what_was_kept_and_wholly_through_the_residual() -> None:
    torch.manual_seed(0)
    x = torch.ones(50, 9, requires_grad=True)
    residual = torch.zeros(50, 9, requires_grad=True)
    out = Dropout(0.5)(x, residual)
    weights = torch.randn(50, 9)
    (out * weights).sum().backward()
    assert residual.grad is not None and torch.equal(residual.grad, weights)
    assert x.grad is not None and torch.allclose(x.grad, out.detach() * weights)


def test_a_saved_random_state_reproduces_the_mask() -> None:
    dropout, x = Dropout(0.1), torch.randn(40, 40)
    state = torch.get_rng_state()
    first, second = dropout(x), dropout(x)
    torch.set_rng_state(state)
    assert torch.equal(dropout(x), first)
    assert not torch.equal(first, second)


def test_nothing_is_dropped_in_evaluation() -> None:
    x = torch.randn(4, 4)
    assert torch.equal(Dropout(0.9).eval()(x), x)
    assert torch.equal(Dropout(0.9).eval()(x, x), x + x)
