"""Recurrent classifiers: torch's own bidirectional layers, pooling by hand, padding, attention."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import nn

from scratchlab.data.contract import Spec
from scratchlab.errors import UserError
from scratchlab.models.layers.attention import recording
from scratchlab.models.rnn_classifier import AttentionPooling, RNNClassifier

SPEC = Spec(task="classification", vocab_size=31, pad_id=1, n_classes=3, class_names=tuple("abc"))
TEXTS = [[5, 9, 14, 7, 3, 8], [4], [20, 30, 6, 6], [2, 3]]
CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
POOLINGS = ("last", "mean", "attention")


def build(seed: int = 0, **options: object) -> RNNClassifier:
    torch.manual_seed(seed)
    widths = {"d_embedding": 6, "d_hidden": 8, "d_attention": 5}
    given: Any = {**widths, "dropout": 0.0, "input_dropout": 0.0, **options}
    return RNNClassifier(RNNClassifier.Config(**given), SPEC)


def padded(texts: list[list[int]], more: int = 0) -> torch.Tensor:
    longest = max(map(len, texts)) + more
    return torch.tensor([text + [1] * (longest - len(text)) for text in texts])


def of_torch(model: RNNClassifier, cell: str, layers: int) -> nn.RNNBase:
    """torch's stacked bidirectional layers with the weights of a model."""
    theirs = CELLS[cell](6, 4, layers, batch_first=True, bidirectional=True)
    weights = {}
    for number, layer in enumerate(model.layers):
        for name, one in (("", layer.forwards), ("_reverse", layer.backwards)):
            for key, value in one.state_dict().items():
                weights[key.replace("_l0", f"_l{number}{name}")] = value
    theirs.load_state_dict(weights)
    return theirs


@pytest.mark.parametrize(("cell", "impl"), itertools.product(CELLS, ("torch", "scratch")))
def test_both_directions_equal_torchs_packed_bidirectional_layers(cell: str, impl: str) -> None:
    model = build(cell=cell, cell_impl=impl, n_layers=2)
    theirs, tokens = of_torch(model, cell, 2), padded(TEXTS)
    lengths = torch.tensor([len(text) for text in TEXTS])
    states = model.states(tokens, tokens == 1)
    packed = nn.utils.rnn.pack_padded_sequence(
        model.embed(tokens), lengths, batch_first=True, enforce_sorted=False
    )
    outputs, end = theirs(packed)
    wanted, _ = nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True)
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(states[row, :length], wanted[row, :length], rtol=1e-5, atol=1e-6)
    # What is read last in each direction is torch's state at the end of the last layer.
    hidden = end[0] if cell == "lstm" else end
    model.config = RNNClassifier.Config(pooling="last", bidirectional=True)
    last = model.pooled(states, tokens == 1)
    torch.testing.assert_close(last, torch.cat([hidden[-2], hidden[-1]], 1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("pooling", "bidirectional", "cell"),
    [*itertools.product(POOLINGS, (True, False), ("lstm",)), ("last", False, "gru")],
)
def test_padding_changes_no_logit_and_no_gradient(
    pooling: str, bidirectional: bool, cell: str
) -> None:
    model = build(pooling=pooling, bidirectional=bidirectional, cell=cell, n_layers=2)
    alone = torch.cat([model(torch.tensor([text])) for text in TEXTS])
    gradients = []
    for more in (0, 7):
        together = model(padded(TEXTS, more))
        torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
        loss = together.square().sum()
        gradients.append(torch.autograd.grad(loss, list(model.parameters())))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_attention_pooling_gives_the_numbers_worked_out_by_hand() -> None:
    pooling = AttentionPooling(2, 1)
    with torch.no_grad():
        pooling.inner.weight.copy_(torch.tensor([[1.0, 0.0]]))
        pooling.inner.bias.fill_(0.5)
        pooling.score.weight.fill_(2.0)
    states = torch.tensor([[[0.5, 1.0], [-0.5, 3.0], [9.0, 9.0]]])
    # scores 2 tanh(0.5 + 0.5) = 1.52318831 and 2 tanh(0) = 0; the third is no word
    share = math.exp(1.52318831) / (math.exp(1.52318831) + 1)
    found = pooling(states, torch.tensor([[False, False, True]]))
    wanted = torch.tensor([[share * 0.5 - (1 - share) * 0.5, share * 1 + (1 - share) * 3]])
    torch.testing.assert_close(found, wanted)


def test_gradients_of_attention_pooling_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    pooling = AttentionPooling(3, 4).double()
    states = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    padding = torch.tensor([[False] * 5, [False, False, True, True, True]])
    assert torch.autograd.gradcheck(lambda x: pooling(x, padding), (states,))
    weights = [p.detach().clone().requires_grad_() for p in pooling.parameters()]
    names = [name for name, _ in pooling.named_parameters()]

    def of_weights(*values: torch.Tensor) -> torch.Tensor:
        given = dict(zip(names, values, strict=True))
        return torch.func.functional_call(pooling, given, (states.detach(), padding))

    assert torch.autograd.gradcheck(of_weights, weights)


def test_attention_is_recorded_with_weights_that_sum_to_one_over_the_words() -> None:
    model, tokens = build(), padded(TEXTS)
    with torch.no_grad(), recording(model) as maps:
        model(tokens)
    (weights,) = maps["pooling"]
    assert weights.shape == (4, 1, 1, 6)
    torch.testing.assert_close(weights.sum(-1), torch.ones(4, 1, 1))
    assert weights[tokens[:, None, None] == 1].abs().max() == 0
    with torch.no_grad(), recording(build(pooling="mean")) as maps:
        pass
    assert maps == {}


def test_mean_is_over_the_words_and_last_is_the_last_word() -> None:
    states = torch.arange(24.0).view(2, 3, 4)
    padding = torch.tensor([[False, False, True], [False, False, False]])
    mean = build(pooling="mean", d_hidden=4).pooled(states, padding)
    torch.testing.assert_close(mean[0], (states[0, 0] + states[0, 1]) / 2)
    ahead = build(pooling="last", d_hidden=4, bidirectional=False).pooled(states, padding)
    assert ahead.tolist() == [[4, 5, 6, 7], [20, 21, 22, 23]]
    both = build(pooling="last", d_hidden=4).pooled(states, padding)
    assert both.tolist() == [[4, 5, 2, 3], [20, 21, 14, 15]]


def test_weights_move_between_the_two_implementations() -> None:
    fused, scratch = build(), build(seed=1, cell_impl="scratch")
    scratch.load_state_dict(fused.state_dict())
    torch.testing.assert_close(scratch(padded(TEXTS)), fused(padded(TEXTS)), rtol=1e-5, atol=1e-6)


def test_what_it_cannot_be_built_for_is_refused() -> None:
    with pytest.raises(UserError, match="rnn_classifier needs texts with classes"):
        RNNClassifier(RNNClassifier.Config(), Spec(task="classification", n_classes=2))
