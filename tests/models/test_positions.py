from __future__ import annotations

import math

import pytest
import torch

from scratchlab.errors import UserError
from scratchlab.models.layers.positions import Positions, Rotary, rotate, sinusoidal_table


def test_sinusoidal_positions_follow_the_formula_of_the_paper() -> None:
    table = sinusoidal_table(50, 16)
    for t, i in [(0, 0), (7, 3), (49, 7)]:
        angle = t / 10000 ** (2 * i / 16)
        assert table[t, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-12)
        assert table[t, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-12)


def test_a_sinusoidal_table_of_odd_width_ends_in_a_sine() -> None:
    assert sinusoidal_table(4, 5).shape == (4, 5)
    last = (torch.arange(4, dtype=torch.float64) * 10000**-0.8).sin()
    assert torch.allclose(sinusoidal_table(4, 5)[:, 4], last, atol=1e-12)


def test_sinusoidal_positions_grow_with_a_longer_text() -> None:
    positions = Positions("sinusoidal", 8, max_length=4)
    long = positions(torch.zeros(1, 11, 8), slice(0, 11))
    assert torch.allclose(long[0], sinusoidal_table(11, 8).float())


def test_learned_positions_end_where_they_were_told_to() -> None:
    positions = Positions("learned", 8, max_length=4)
    assert torch.equal(positions(torch.zeros(2, 3, 8), slice(1, 4))[1], positions.weight[1:4])
    with pytest.raises(UserError, match="5 tokens exceeds the 4 learned positions"):
        positions(torch.zeros(1, 2, 8), slice(3, 5))


def test_positions_start_where_decoding_stands() -> None:
    for kind in ("sinusoidal", "learned"):
        positions = Positions(kind, 8, max_length=10)
        whole = positions(torch.zeros(1, 6, 8), slice(0, 6))
        assert torch.equal(positions(torch.zeros(1, 1, 8), slice(4, 5))[0, 0], whole[0, 4])


@pytest.mark.parametrize("kind", ["rotary", "none"])
def test_kinds_without_absolute_positions_leave_embeddings_alone(kind: str) -> None:
    x = torch.randn(2, 3, 8)
    assert torch.equal(Positions(kind, 8, 4)(x.clone(), slice(0, 3)), x)


def test_a_rotary_product_depends_on_the_distance_only() -> None:
    torch.manual_seed(0)
    rotary = Rotary(16, max_length=8).double()
    q, k = torch.randn(2, 1, 1, 3, 16, dtype=torch.float64)

    def product(at_q: int, at_k: int) -> torch.Tensor:
        turned = [rotate(x[None], rotary(slice(at, at + 1))) for x, at in ((q, at_q), (k, at_k))]
        return (turned[0] * turned[1]).sum(-1)

    for distance in (0, 1, 5):
        near = product(distance, 0)
        for shift in (1, 17, 200):  # far past max_length: the table grows
            assert torch.allclose(product(shift + distance, shift), near, atol=1e-4)
    assert not torch.allclose(product(5, 0), product(4, 0), atol=1e-2)


def test_rotary_positions_keep_lengths_and_turn_by_the_stated_angles() -> None:
    rotary = Rotary(4, max_length=8)
    x = torch.randn(2, 6, 4)
    turned = rotate(x[:, :, None], rotary(slice(0, 6)))[:, :, 0]
    assert torch.allclose(turned.norm(dim=-1), x.norm(dim=-1), atol=1e-5)
    assert torch.equal(turned[:, 0], x[:, 0])
    for plane, frequency in ((0, 1.0), (1, 0.01)):
        angle = 3 * frequency
        first, second = x[0, 3, plane], x[0, 3, plane + 2]
        expected = first * math.cos(angle) - second * math.sin(angle)
        assert turned[0, 3, plane].item() == pytest.approx(expected.item(), abs=1e-5)


def test_rotary_positions_refuse_an_odd_head_size() -> None:
    with pytest.raises(UserError, match="even head size, not 5"):
        Rotary(5, 8)
