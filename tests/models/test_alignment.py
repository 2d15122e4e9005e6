"""Attention of a recurrent decoder against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from scratchlab.models.layers.alignment import Additive, Alignment, Multiplicative, Source
from scratchlab.models.layers.attention import recording

MEMORY = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]]])  # the last one is padding
MASK = torch.tensor([[[0.0, 0.0, float("-inf")]]])


def contexts(attention: Alignment, queries: list[list[float]]) -> tuple[torch.Tensor, torch.Tensor]:
    source = Source(MEMORY, attention.keys(MEMORY), MASK)
    with torch.no_grad():
        context, weights = attention(torch.tensor([queries]), source)
    return context[0], weights[0]


def test_additive_attention_gives_the_figures_worked_out_by_hand() -> None:
    attention = Additive(2)
    with torch.no_grad():
        attention.query.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
        attention.key.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        attention.score.weight.copy_(torch.tensor([[1.0, -1.0]]))
    # q = (0, 0): scores tanh 1 - tanh 0 and tanh 0 - tanh 1, 0.761594 and its negative
    # q = (1, ½): Wq = (1, 1): tanh 2 - tanh 1 = 0.202434 and tanh 1 - tanh 2
    context, weights = contexts(attention, [[0.0, 0.0], [1.0, 0.5]])
    wanted = torch.tensor([[0.821007, 0.178993, 0.0], [0.599856, 0.400144, 0.0]])
    torch.testing.assert_close(weights, wanted, rtol=0, atol=1e-5)
    torch.testing.assert_close(context, wanted[:, :2], rtol=0, atol=1e-5)


def test_multiplicative_attention_gives_the_figures_worked_out_by_hand() -> None:
    dot, general = Multiplicative(2, "dot"), Multiplicative(2, "general")
    assert general.key is not None and dot.key is None
    with torch.no_grad():
        general.key.weight.copy_(torch.tensor([[0.0, 3.0], [1.0, 0.0]]))  # keys (0, 1) and (3, 0)
    # q = (2, 1): 2 and 1 by the plain product; 1 and 6 by the learned one
    for attention, first in ((dot, 0.731059), (general, 0.006693)):
        context, weights = contexts(attention, [[2.0, 1.0]])
        wanted = torch.tensor([[first, 1 - first, 0.0]])
        torch.testing.assert_close(weights, wanted, rtol=0, atol=1e-5)
        torch.testing.assert_close(context, wanted[:, :2], rtol=0, atol=1e-5)


@pytest.mark.parametrize("attention", [Additive(4), Multiplicative(4), Multiplicative(4, "dot")])
def test_several_queries_at_once_get_what_each_gets_alone(attention: Alignment) -> None:
    torch.manual_seed(0)
    memory, queries = torch.randn(2, 5, 4), torch.randn(2, 3, 4)
    source = Source(memory, attention.keys(memory), None)
    together = attention(queries, source)
    alone = [attention(queries[:, i : i + 1], source) for i in range(3)]
    for number, found in enumerate(together):
        wanted = torch.cat([one[number] for one in alone], 1)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    assert source.select(torch.tensor([1])).keys.shape == (1, 5, 4)


def test_weights_are_kept_while_somebody_looks_and_only_then() -> None:
    attention = Multiplicative(2, "dot")
    weights = torch.full((1, 2, 3), 1 / 3)
    attention.record(weights)
    with recording(torch.nn.ModuleDict({"any": attention})) as maps:
        attention.record(weights)
    attention.record(weights)
    assert list(maps) == ["cross"] and len(maps["cross"]) == 1
    assert maps["cross"][0].shape == (1, 1, 2, 3)
