"""The convolutional network for sentences, beside Kim's formulas written out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from scratchlab.data.contract import ArrayBatch, Spec
from scratchlab.errors import UserError
from scratchlab.methods.finetune import Finetune
from scratchlab.models.text_cnn import TextCNN
from scratchlab.tasks.classification import Classification
from tests.support.models import CONTEXT

SPEC = Spec(task="classification", vocab_size=31, pad_id=1, n_classes=3, class_names=tuple("abc"))
TEXTS = [[5, 9, 14, 7, 3, 8], [4], [20, 30, 6, 6], [2, 3]]


def build(seed: int = 0, **options: object) -> TextCNN:
    torch.manual_seed(seed)
    given: Any = {"d_embedding": 6, "maps": 4, "dropout": 0.0, **options}
    model = TextCNN(TextCNN.Config(**given), SPEC)
    for bias in (one.convolution.bias for one in model.filters):  # of filling alone they would win
        nn.init.normal_(bias, mean=0.5)
    return model


def padded(texts: list[list[int]], more: int = 0) -> torch.Tensor:
    longest = max(map(len, texts)) + more
    return torch.tensor([text + [1] * (longest - len(text)) for text in texts])


def by_hand(model: TextCNN, text: list[int]) -> torch.Tensor:
    """c_i = relu(w · x_{i:i+h-1} + b) at every place of a text, with h - 1 zeros around it, and the
    largest of each filter (Kim 2014, equations 2 to 4), one number after the other."""
    found = []
    for one in model.filters:
        weight, bias = one.convolution.weight, one.convolution.bias
        zeros = [weight.new_zeros(weight.shape[1])] * (one.width - 1)
        words = [*zeros, *(model.embed.weight[i] for i in text), *zeros]
        for number in range(len(weight)):
            places = [
                torch.relu(
                    sum(weight[number, :, k] @ words[i + k] for k in range(one.width))
                    + bias[number]
                )
                for i in range(len(words) - one.width + 1)
            ]
            found.append(max(places))
    return model.output.weight @ torch.stack(found) + model.output.bias


@pytest.mark.parametrize("widths", [[3, 4, 5], [1], [2, 7]])
def test_logits_and_gradients_equal_the_formulas_of_the_paper(widths: list[int]) -> None:
    model = build(widths=widths, max_norm=None).double()
    given = list(model.parameters())
    mine = model(padded(TEXTS))
    wanted = torch.stack([by_hand(model, text) for text in TEXTS])
    torch.testing.assert_close(mine, wanted)
    weights = torch.randn_like(mine)
    mine_grads = torch.autograd.grad((mine * weights).sum(), given)
    their_grads = torch.autograd.grad((wanted * weights).sum(), given)
    for a, b in zip(mine_grads, their_grads, strict=True):
        torch.testing.assert_close(a, b)


def test_padding_changes_no_logit_and_no_gradient() -> None:
    model = build()
    nn.init.normal_(model.embed.weight[1:2])  # whatever stands in the row of padding
    alone = torch.cat([model(torch.tensor([text])) for text in TEXTS])
    for more in (0, 1, 9):
        together = model(padded(TEXTS, more))
        torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    gradients = [
        torch.autograd.grad(model(padded(TEXTS, more)).square().sum(), list(model.parameters()))
        for more in (0, 9)
    ]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    assert gradients[1][0][1].abs().max() == 0  # nothing is learned of padding


def test_a_word_at_the_end_of_a_long_text_counts() -> None:
    model = build()
    first, other = [5] * 60 + [9], [5] * 60 + [14]
    assert (model(torch.tensor([first])) - model(torch.tensor([other]))).abs().max() > 1e-4


def test_gradients_are_those_of_finite_differences() -> None:
    model = build(widths=[2, 3], max_norm=None).double()
    tokens, weight = padded(TEXTS), model.filters[0].convolution.weight

    def loss(values: torch.Tensor) -> torch.Tensor:
        weights = {"filters.0.convolution.weight": values}
        return torch.func.functional_call(model, weights, (tokens,)).logsumexp(1).sum()

    assert torch.autograd.gradcheck(loss, (weight.detach().clone().requires_grad_(),))


def test_rows_of_the_output_layer_become_no_longer_than_max_norm() -> None:
    model, tokens = build(max_norm=0.7), padded(TEXTS)
    with torch.no_grad():
        model.output.weight[:2] *= 50
    measured, stored = model.eval()(tokens), model.output.weight.clone()
    assert model.output.weight[:2].norm(dim=1).min() > 5  # measuring changes nothing
    directions = nn.functional.normalize(model.output.weight.detach(), dim=1)
    short = model.output.weight[2].clone()
    torch.testing.assert_close(model.train()(tokens), measured)
    assert not torch.equal(stored, model.output.weight)
    lengths = model.output.weight.norm(dim=1)
    torch.testing.assert_close(lengths[:2], torch.full((2,), 0.7))
    assert torch.equal(model.output.weight[2], short)  # shorter ones stay as they are
    torch.testing.assert_close(nn.functional.normalize(model.output.weight, dim=1), directions)
    free = build(max_norm=None)
    nn.init.constant_(free.output.weight, 9.0)
    free(tokens)
    assert (free.output.weight == 9).all()


def test_frozen_embeddings_get_no_gradient_and_all_else_does() -> None:
    model = build(embedding="frozen")
    batch = ArrayBatch(padded(TEXTS), torch.tensor([0, 1, 2, 0]), torch.arange(4))
    Classification(Classification.Config(), SPEC).loss(model, batch).total.backward()
    without = [n for n, p in model.named_parameters() if p.grad is None]
    assert without == ["embed.weight"]


def test_finetuning_all_leaves_frozen_embeddings_frozen_unless_they_are_named() -> None:
    def trained(**options: Any) -> set[str]:
        model = build(embedding="frozen")
        Finetune(Finetune.Config(**options)).apply(model, CONTEXT)
        return {n for n, p in model.named_parameters() if p.requires_grad}

    every = {n for n, _ in build().named_parameters()}
    assert trained(train="all") == every - {"embed.weight"}
    assert trained(train="names", patterns=["embed"]) == {"embed.weight"}
    Finetune(Finetune.Config()).apply(model := build(), CONTEXT)
    assert all(p.requires_grad for p in model.parameters())


def test_what_it_cannot_be_built_for_is_refused() -> None:
    with pytest.raises(UserError, match="widths: the list is empty"):
        build(widths=[])
    with pytest.raises(UserError, match="text_cnn needs texts with classes"):
        TextCNN(TextCNN.Config(), Spec(task="classification", n_classes=2, n_features=4))
