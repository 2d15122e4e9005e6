"""Recurrent layers: simple RNN (Elman 1990), LSTM (Hochreiter & Schmidhuber 1997; Gers et al. 2000)
and GRU (Cho et al. 2014), written out, and the same interface around torch's fused ones.

Parameters have the names, shapes and gate order of ``torch.nn``, so weights move between both.
Shapes: B texts, T tokens, I inputs, H hidden units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

State = tuple[Tensor, ...]
"""(h,) of an RNN or GRU, (h, c) of an LSTM; each [B, H]."""

GATES = {"rnn": 1, "lstm": 4, "gru": 3}
FUSED: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def rnn_step(from_input: Tensor, state: State, weight: Tensor, bias: Tensor) -> State:
    """h' = tanh(W x + U h + b). from_input [B, H] is W x + b."""
    (h,) = state
    return (torch.tanh(from_input + torch.addmm(bias, h, weight.t())),)


def lstm_step(from_input: Tensor, state: State, weight: Tensor, bias: Tensor) -> State:
    """Gates i, f, o and candidate g: c' = f c + i g, h' = o tanh(c'). from_input [B, 4 H]."""
    h, c = state
    i, f, g, o = (from_input + torch.addmm(bias, h, weight.t())).chunk(4, dim=-1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def gru_step(from_input: Tensor, state: State, weight: Tensor, bias: Tensor) -> State:
    """Reset r, update z, candidate n = tanh(W x + r (U h + b)): h' = (1 - z) n + z h.

    from_input [B, 3 H]. The reset gate acts after the product, as in torch and cuDNN.
    """
    (h,) = state
    r_x, z_x, n_x = from_input.chunk(3, dim=-1)
    r_h, z_h, n_h = torch.addmm(bias, h, weight.t()).chunk(3, dim=-1)
    r, z = (r_x + r_h).sigmoid(), (z_x + z_h).sigmoid()
    n = torch.tanh(n_x + r * n_h)
    return (n + z * (h - n),)


STEPS: dict[str, Callable[[Tensor, State, Tensor, Tensor], State]] = {
    "rnn": rnn_step,
    "lstm": lstm_step,
    "gru": gru_step,
}


class RecurrentLayer(nn.Module):
    """One layer of one direction; its parameters are those of ``torch.nn.LSTM`` and the like."""

    def __init__(self, cell: str, inputs: int, hidden: int) -> None:
        super().__init__()
        self.cell, self.hidden_size = cell, hidden
        rows = GATES[cell] * hidden
        self.weight_ih_l0 = nn.Parameter(torch.empty(rows, inputs))
        self.weight_hh_l0 = nn.Parameter(torch.empty(rows, hidden))
        self.bias_ih_l0 = nn.Parameter(torch.empty(rows))
        self.bias_hh_l0 = nn.Parameter(torch.empty(rows))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(hidden**-0.5), hidden**-0.5)

    def forward(
        self, x: Tensor, state: State, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """x [B, T, I], state each [B, H] → outputs [B, T, H] and the state after the last token.

        With ``lengths`` [B] the state is that after the first ``lengths`` tokens of each row.
        """
        step = STEPS[self.cell]
        # the inputs do not depend on the state: one product for all times
        from_input = nn.functional.linear(x, self.weight_ih_l0, self.bias_ih_l0)
        outputs = []
        for t, now in enumerate(from_input.unbind(1)):
            new = step(now, state, self.weight_hh_l0, self.bias_hh_l0)
            if lengths is not None:
                running = (t < lengths)[:, None]
                new = tuple(torch.where(running, n, o) for n, o in zip(new, state, strict=True))
            state = new
            outputs.append(state[0])
        return torch.stack(outputs, 1), state


def run_fused(
    layer: nn.RNNBase, x: Tensor, state: State, lengths: Tensor | None = None
) -> tuple[Tensor, State]:
    """torch's own layer (``batch_first``) called as :class:`RecurrentLayer` is.

    With ``lengths``, outputs after the end of a short row are zeros.
    """
    stacked = tuple(s[None].contiguous() for s in state)
    is_lstm = isinstance(layer, nn.LSTM)
    start = stacked if is_lstm else stacked[0]
    if lengths is None:
        outputs, end = layer(x, start)
    else:
        packed = pack_padded_sequence(x, lengths.cpu(), True, enforce_sorted=False)
        packed_outputs, end = layer(packed, start)
        outputs, _ = pad_packed_sequence(packed_outputs, True, total_length=x.shape[1])
    return outputs, tuple(part[0] for part in (end if is_lstm else (end,)))


def run_layer(
    layer: nn.Module, x: Tensor, state: State, lengths: Tensor | None = None
) -> tuple[Tensor, State]:
    """Either kind of layer: x [B, T, I] → outputs [B, T, H] and the state at the end."""
    if isinstance(layer, nn.RNNBase):
        return run_fused(layer, x, state, lengths)
    outputs, end = layer(x, state, lengths)
    return outputs, end


def start_state(layer: nn.Module, batch: int) -> State:
    """The state of either kind of layer before the first token, for ``batch`` texts: zeros."""
    is_lstm = isinstance(layer, nn.LSTM) or getattr(layer, "cell", "") == "lstm"
    width: Any = layer.hidden_size
    like = next(layer.parameters())
    return tuple(like.new_zeros(batch, width) for _ in range(2 if is_lstm else 1))


def make_layer(impl: str, cell: str, inputs: int, hidden: int) -> RecurrentLayer | nn.RNNBase:
    """A layer by implementation (``scratch`` or ``torch``) and cell (``rnn``, ``lstm``, ``gru``).

    LSTM forget gates start at a bias of 1, so that memory lasts from the first step on
    (Jozefowicz et al. 2015).
    """
    layer: RecurrentLayer | nn.RNNBase
    if impl == "scratch":
        layer = RecurrentLayer(cell, inputs, hidden)
    else:
        layer = FUSED[cell](inputs, hidden, batch_first=True)
    if cell == "lstm":
        biases = dict(layer.named_parameters())
        with torch.no_grad():
            biases["bias_ih_l0"][hidden : 2 * hidden] = 1.0
            biases["bias_hh_l0"][hidden : 2 * hidden] = 0.0
    return layer


class Bidirectional(nn.Module):
    """Two layers, one that reads a text forwards and one that reads it backwards, side by side
    (Schuster & Paliwal 1997).

    The one begins at the last real token: rows are turned round in front of their padding, so what
    is read there comes after everything that counts.
    """

    def __init__(self, impl: str, cell: str, inputs: int, hidden: int) -> None:
        """``hidden`` units, half of them in each direction."""
        super().__init__()
        self.forwards = make_layer(impl, cell, inputs, hidden // 2)
        self.backwards = make_layer(impl, cell, inputs, hidden // 2)

    def forward(self, x: Tensor, order: Tensor | None = None) -> Tensor:
        """x [B, T, I] → [B, T, H]; ``order`` [B, T] as :func:`turned_order` gives it."""
        ahead, _ = run_layer(self.forwards, x, start_state(self.forwards, len(x)))
        back, _ = run_layer(self.backwards, turned(x, order), start_state(self.backwards, len(x)))
        return torch.cat([ahead, turned(back, order)], -1)


def turned_order(padding: Tensor) -> Tensor:
    """padding [B, T], True at the right end → [B, T]: the place of the token that comes to stand at
    each place when the real tokens of a row are turned round."""
    places = torch.arange(padding.shape[1], device=padding.device)
    mirrored = (~padding).sum(1, keepdim=True) - 1 - places
    return torch.where(mirrored >= 0, mirrored, places)


def turned(x: Tensor, order: Tensor | None) -> Tensor:
    """x [B, T, D] in another order of its tokens, [B, T]; None: the last one first."""
    return x.flip(1) if order is None else x.gather(1, order[..., None].expand_as(x))


class FedLayer:
    """Either kind of layer, token by token, with an input beside each token that is made on the
    way: what was attended to, say. The layer's inputs are the token's and then those."""

    def __init__(self, cell: str, layer: nn.Module, x: Tensor) -> None:
        """x [B, T, I]: what depends on the tokens alone is one product for all of them."""
        weights: Any = layer
        inputs = x.shape[-1]
        from_tokens = nn.functional.linear(x, weights.weight_ih_l0[:, :inputs], weights.bias_ih_l0)
        self.from_tokens = from_tokens.unbind(1)  # T times [B, gates · H]
        self.from_feed = weights.weight_ih_l0[:, inputs:].t()
        self.step = STEPS[cell]
        self.recurrent = weights.weight_hh_l0, weights.bias_hh_l0

    def __call__(self, now: Tensor, feed: Tensor, state: State) -> State:
        """One of ``from_tokens``, feed [B, F] and the state before → the state after."""
        return self.step(torch.addmm(now, feed, self.from_feed), state, *self.recurrent)
