"""Exercise: one step of an LSTM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from scratchlab.exercises.contract import (
    Case,
    Exercise,
    Functions,
    Mistake,
    Replacement,
    Timed,
    unlike,
)
from scratchlab.exercises.looking import case
from scratchlab.registry import register

START = '''\
"""Exercise lstm: one step of a long short-term memory.

Hochreiter and Schmidhuber 1997; with forget gates, Gers et al. 2000:

    i = σ(W_i x + U_i h + b_i)        input gate
    f = σ(W_f x + U_f h + b_f)        forget gate
    g = tanh(W_g x + U_g h + b_g)     candidate
    o = σ(W_o x + U_o h + b_o)        output gate
    c' = f c + i g                    h' = o tanh(c')

B texts, I inputs, H hidden units.
"""

import torch


def lstm_step(x, h, c, w_ih, w_hh, b_ih, b_hh):
    """x [B, I], h and c [B, H] → (h', c'), each [B, H].

    w_ih [4 H, I] holds W_i, W_f, W_g, W_o below one another, w_hh [4 H, H] the four U; the biases
    b_ih and b_hh [4 H] are added. The arguments stay as they are.
    """
    raise NotImplementedError
'''

NAMES = ("x", "h", "c", "w_ih", "w_hh", "b_ih", "b_hh")
State = tuple[Tensor, Tensor]


def plain(
    wrong: frozenset[str],
    x: Tensor,
    h: Tensor,
    c: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor,
    b_hh: Tensor,
) -> State:
    """The step, with mistakes in it."""
    total = x @ w_ih.t() + h @ w_hh.t() + b_ih
    total = total if "one bias left out" in wrong else total + b_hh
    i, f, g, o = total.chunk(4, -1)
    if "gates in another order" in wrong:
        g, o = o, g
    if "input and forget gate swapped" in wrong:
        i, f = f, i
    i, f, o = i.sigmoid(), f.sigmoid(), o.sigmoid()
    g = g.sigmoid() if "sigmoid of the candidate" in wrong else g.tanh()
    new = f * c + i * g
    told = c if "output from the old memory" in wrong else new
    return o * (told if "no tanh of the memory" in wrong else told.tanh()), new


def torchs(
    x: Tensor, h: Tensor, c: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
) -> State:
    return torch.lstm_cell(x, (h, c), w_ih, w_hh, b_ih, b_hh)


@register(
    "exercise",
    "lstm",
    paper="Gers et al. 2000",
    with_torch=True,
    use="model=rnn_lm model.cell_impl=scratch",
)
class LSTMStep(Exercise):
    """One step of an LSTM."""

    START = START
    HINTS = (
        "All four gates come from one sum of two products, [B, 4 H]; cut it into four with "
        "chunk(4, -1), in the order i, f, g, o.",
        "Three of them go through a sigmoid, the candidate g through tanh.",
        "The new memory is f * c + i * g; the output reads the new memory, not the old one.",
    )
    MISTAKES = (
        Mistake(
            "gates in another order",
            "lstm_step",
            "the third and the fourth part are swapped: the order is i, f, g, o (torch's), so the "
            "candidate comes before the output gate.",
        ),
        Mistake(
            "input and forget gate swapped",
            "lstm_step",
            "the forget gate multiplies the candidate and the input gate the old memory: "
            "c' = f c + i g.",
        ),
        Mistake(
            "sigmoid of the candidate",
            "lstm_step",
            "the candidate goes through a sigmoid, so the memory can only grow. It is tanh.",
        ),
        Mistake(
            "no tanh of the memory",
            "lstm_step",
            "h' is o c'. The memory goes through tanh first: h' = o tanh(c').",
        ),
        Mistake(
            "output from the old memory",
            "lstm_step",
            "h' is computed from the old memory c. It reads the new one.",
        ),
        Mistake("one bias left out", "lstm_step", "only one of the two biases is added."),
    )
    LIBRARY = ("lstm_cell", "LSTMCell", "LSTM", "lstm")
    BESIDE = "torch's"

    def reference(self) -> Functions:
        return {"lstm_step": torchs}

    def plain(self, wrong: frozenset[str]) -> Functions:
        return {"lstm_step": lambda *a: plain(wrong, *a)}

    def cases(self) -> list[Case]:
        generator = torch.Generator().manual_seed(6)

        def draw(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        def inputs(batch: int, width: int, hidden: int, size: float = 1.0) -> list[Tensor]:
            state = [size * draw(batch, width), draw(batch, hidden), draw(batch, hidden)]
            weights = [draw(4 * hidden, width), draw(4 * hidden, hidden)]
            return [*state, *weights, draw(4 * hidden), draw(4 * hidden)]

        def made(name: str, given: list[Tensor], **more: Any) -> Case:
            more = {"gradients": NAMES, **more}
            return case("lstm_step", name, NAMES, given, results=("h'", "c'"), **more)

        first = inputs(2, 3, 4)
        first[1], first[2] = torch.zeros_like(first[1]), torch.zeros_like(first[2])
        turned = inputs(4, 5, 3)
        turned[0] = turned[0].t().contiguous().t()
        return [
            made("three texts", inputs(3, 4, 5)),
            made("the first step: h and c are 0", first),
            made("one text, one input, one unit", inputs(1, 1, 1)),
            made("large inputs: the gates are open or shut", inputs(2, 3, 4, size=50.0)),
            made("not contiguous", turned),
            made("float32", [a.float() for a in inputs(2, 6, 7)], gradients=(), tolerance=1e-5),
        ]

    def timed(self) -> Timed:
        hidden = 128
        given = [torch.randn(32, hidden) for _ in range(3)]
        given += [torch.randn(4 * hidden, hidden) for _ in range(2)]
        given += [torch.randn(4 * hidden) for _ in range(2)]
        return Timed("[32, 128], 128 units", lambda f: f["lstm_step"](*given))

    def refusal(self, config: Mapping[str, Any]) -> str | None:
        model = config["model"]
        return (
            unlike("model", ("rnn_lm",), model["name"])
            or unlike("model.cell", ("lstm",), model["cell"])
            or unlike("model.cell_impl", ("scratch",), model["cell_impl"])
        )

    def replacements(self, functions: Functions) -> Iterator[Replacement]:
        """The forward pass of the recurrent layer that is written out, a step at a time."""
        from scratchlab.models.layers.recurrent_cells import RecurrentLayer

        def forward(
            self: RecurrentLayer, x: Tensor, state: State, lengths: Tensor | None = None
        ) -> tuple[Tensor, State]:
            weights = (self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.bias_hh_l0)
            outputs = []
            for t, now in enumerate(x.unbind(1)):
                new: State = functions["lstm_step"](now, *state, *weights)
                if lengths is not None:
                    running = (t < lengths)[:, None]
                    h, c = (torch.where(running, n, o) for n, o in zip(new, state, strict=True))
                    new = h, c
                state = new
                outputs.append(state[0])
            return torch.stack(outputs, 1), state

        yield Replacement(RecurrentLayer, "forward", forward)
