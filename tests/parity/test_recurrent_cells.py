"""The recurrent cells that are written out against torch.nn's: outputs, states and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scratchlab.models.layers.recurrent_cells import RecurrentLayer, make_layer, run_layer

CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def pair(cell: str, inputs: int = 5, hidden: int = 7):
    """The same layer twice: written out, and torch's own with its weights."""
    torch.manual_seed(0)
    scratch = RecurrentLayer(cell, inputs, hidden)
    fused = CELLS[cell](inputs, hidden, batch_first=True)
    fused.load_state_dict(scratch.state_dict())  # same names and shapes
    return scratch, fused


def state_of(cell: str, batch: int = 4, hidden: int = 7):
    parts = 2 if cell == "lstm" else 1
    return tuple(torch.randn(batch, hidden, requires_grad=True) for _ in range(parts))


@pytest.mark.parametrize("cell", CELLS)
def test_outputs_states_and_gradients_equal_those_of_torch(cell: str) -> None:
    scratch, fused = pair(cell)
    x = torch.randn(4, 9, 5, requires_grad=True)
    state = state_of(cell)
    results = []
    for layer in (scratch, fused):
        outputs, end = run_layer(layer, x, state)
        loss = (outputs * torch.arange(7)).sum() + sum(e.square().sum() for e in end)
        grads = torch.autograd.grad(loss, [x, *state, *layer.parameters()])
        results.append([outputs, *end, *grads])
    assert len(results[0]) == len(results[1]) >= 7
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("impl", ["scratch", "torch"])
def test_the_state_of_a_short_row_is_the_one_after_its_own_last_token(cell: str, impl: str) -> None:
    torch.manual_seed(1)
    layer = make_layer(impl, cell, 5, 7)
    x, state = torch.randn(4, 9, 5), state_of(cell)
    lengths = torch.tensor([9, 3, 1, 6])
    outputs, end = run_layer(layer, x, state, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = tuple(s[row : row + 1] for s in state)
        its_outputs, its_end = run_layer(layer, x[row : row + 1, :length], alone)
        torch.testing.assert_close(outputs[row, :length], its_outputs[0], rtol=1e-5, atol=1e-6)
        for mine, wanted in zip(end, its_end, strict=True):
            torch.testing.assert_close(mine[row], wanted[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("impl", ["scratch", "torch"])
def test_lstm_forget_gates_start_open(impl: str) -> None:
    parameters = dict(make_layer(impl, "lstm", 5, 7).named_parameters())
    both = parameters["bias_ih_l0"] + parameters["bias_hh_l0"]
    assert torch.equal(both[7:14], torch.ones(7))
    assert both[:7].abs().max() < 1
