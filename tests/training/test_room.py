"""A small model is built at once, a large one never before it is counted."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scratchlab.training.room import built_within


class Model(nn.Module):
    def __init__(self, rows: int) -> None:
        super().__init__()
        self.linear = nn.Linear(4, rows, bias=False)
        self.register_buffer("places", torch.arange(0, rows, 1))
        self.register_buffer("mask", torch.ones((rows, 2)))
        self.register_buffer("zeros", torch.zeros(rows))
        self.register_buffer("sevens", torch.full(size=(rows,), fill_value=7))


def test_all_that_is_made_counts_with_eight_bytes_a_number() -> None:
    needed = 8 * 100 * (4 + 1 + 2 + 1 + 1)
    assert built_within(lambda: Model(100), needed - 1) is None
    torch.manual_seed(3)
    built = built_within(lambda: Model(100), needed)
    assert built is not None
    torch.manual_seed(3)
    plain = Model(100)
    assert torch.equal(built.linear.weight, plain.linear.weight)
    assert torch.equal(built.sevens, plain.sevens)


def test_what_would_take_too_much_is_never_asked_for() -> None:
    assert built_within(lambda: Model(10**15), 1 << 30) is None
    assert built_within(lambda: torch.eye(10**8), 1 << 30) is None


def test_other_faults_of_a_model_are_its_own() -> None:
    def faulty() -> None:
        raise ValueError("no model")

    with pytest.raises(ValueError, match="no model"):
        built_within(faulty, 1)
