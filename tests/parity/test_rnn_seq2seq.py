"""The recurrent encoder-decoder beside one put together from torch's own layers and cells."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scratchlab.data.contract import Spec
from scratchlab.models.rnn_seq2seq import RNNSeq2Seq

PAD, D = 1, 12
SPEC = Spec(task="seq2seq", vocab_size=23, source_vocab_size=19, pad_id=PAD, sos_id=2, eos_id=3)
LAYERS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
CELLS = {"rnn": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}


class Reference(nn.Module):
    """One sentence at a time, one token at a time, with torch's bidirectional layer and cells; the
    attention as the papers write it, a source token at a time."""

    def __init__(self, model: RNNSeq2Seq) -> None:
        super().__init__()
        self.model, self.kind = model, model.config
        encoder: Any = model.encoder[0]
        self.encoder = LAYERS[self.kind.cell](D, D // 2, bidirectional=True)
        forwards = {n: p.detach() for n, p in encoder.forwards.named_parameters()}
        backwards = {f"{n}_reverse": p.detach() for n, p in encoder.backwards.named_parameters()}
        self.encoder.load_state_dict({**forwards, **backwards})
        decoder: Any = model.decoder[0]
        self.cell = CELLS[self.kind.cell](decoder.weight_ih_l0.shape[1], D)
        own = decoder.named_parameters()
        self.cell.load_state_dict({n.removesuffix("_l0"): p.detach() for n, p in own})

    def score(self, query: Tensor, state: Tensor) -> Tensor:
        attention: Any = self.model.attention
        if self.kind.attention == "additive":
            both = attention.query.weight @ query + attention.key.weight @ state
            return attention.score.weight[0] @ both.tanh()
        return query @ (attention.key.weight @ state)

    def look(self, query: Tensor, memory: Tensor) -> Tensor:
        weights = torch.stack([self.score(query, state) for state in memory]).softmax(0)
        return sum((w * state for w, state in zip(weights, memory, strict=True)), torch.zeros(D))

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """source [S] without padding, target [T] → logits [T, V]."""
        model = self.model
        memory, end = self.encoder(model.source_embedding(source) * D**0.5)
        last = end[0] if self.kind.cell == "lstm" else end
        start = model.bridge.weight @ last.flatten() + model.bridge.bias
        state: Any = start[None, :D].tanh()
        if self.kind.cell == "lstm":
            state = (state, start[None, D:])
        feed, logits = torch.zeros(D), []
        for token in target:
            before = (state[0] if self.kind.cell == "lstm" else state)[0]
            x = model.target_embedding(token) * D**0.5
            if self.kind.attention == "additive":
                context = self.look(before, memory)
                x = torch.cat([x, context])
            elif self.kind.input_feeding:
                x = torch.cat([x, feed])
            state = self.cell(x[None], state)
            h = (state[0] if self.kind.cell == "lstm" else state)[0]
            if self.kind.attention == "multiplicative":
                context = self.look(h, memory)
            if self.kind.attention != "none":
                joined = torch.cat([h, context])
                h = feed = (model.readout.weight @ joined + model.readout.bias).tanh()
            logits.append(model.output.weight @ h)
        return torch.stack(logits)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("kind", ["none", "additive", "multiplicative", "feeding"])
def test_logits_and_gradients_equal_those_of_torchs_layers(cell: str, kind: str) -> None:
    torch.manual_seed(0)
    how = "multiplicative" if kind == "feeding" else kind
    config = RNNSeq2Seq.Config(
        d_model=D, cell=cell, attention=how, input_feeding=kind == "feeding", dropout=0.0
    )
    model = RNNSeq2Seq(config, SPEC)
    reference = Reference(model)
    source, target = torch.randint(4, 19, (3, 7)), torch.randint(4, 23, (3, 5))
    source[0, 4:], source[2, 1:] = PAD, PAD
    lengths = (4, 7, 1)
    weights = torch.randn(3, 5, 23)
    found = model(source, target)
    (found * weights).sum().backward()
    mine = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    pairs = zip(source, target, lengths, strict=True)
    wanted = torch.stack([reference(s[:n], t) for s, t, n in pairs])
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    (wanted * weights).sum().backward()
    theirs = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    for way, suffix in (("forwards", ""), ("backwards", "_reverse")):
        theirs |= {
            f"encoder.0.{way}.{n}": getattr(reference.encoder, f"{n}{suffix}").grad
            for n in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        }
    theirs |= {f"decoder.0.{n}_l0": p.grad for n, p in reference.cell.named_parameters()}
    assert set(mine) == set(theirs) == {n for n, _ in model.named_parameters()}
    for name, gradient in mine.items():
        torch.testing.assert_close(gradient, theirs[name], rtol=1e-4, atol=1e-5, msg=name)
