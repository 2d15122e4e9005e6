"""Recurrent language models: carried state, dropout, weights, adaptive softmax, generation."""

from __future__ import annotations

import pytest
import torch

from scratchlab.data.contract import Spec
from scratchlab.errors import UserError
from scratchlab.models.layers.adaptive_softmax import AdaptiveSoftmax
from scratchlab.models.layers.dropout import LockedDropout
from scratchlab.models.rnn_lm import RNNLM

SPEC = Spec(task="language_modeling", vocab_size=23)
CELLS = ("rnn", "lstm", "gru")


def build(seed: int = 0, **options: object) -> RNNLM:
    torch.manual_seed(seed)
    options = {"d_model": 12, "dropout": 0.0, "input_dropout": 0.0, **options}
    return RNNLM(RNNLM.Config(**options), SPEC)


def go_on(model: RNNLM, tokens: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
    """A batch of training, which goes on where the one before it stopped."""
    return model.hidden(tokens, cache=model.carried(starts))


@pytest.mark.parametrize("cell", CELLS)
def test_weights_move_between_the_two_implementations(cell: str) -> None:
    fused = build(cell=cell, d_hidden=20)
    scratch = build(seed=1, cell=cell, d_hidden=20, cell_impl="scratch")
    scratch.load_state_dict(fused.state_dict())
    tokens = torch.randint(0, 23, (3, 8))
    torch.testing.assert_close(scratch(tokens), fused(tokens), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("impl", ["torch", "scratch"])
def test_a_text_read_in_two_batches_equals_the_text_read_at_once(cell: str, impl: str) -> None:
    model = build(cell=cell, cell_impl=impl)
    tokens = torch.randint(0, 23, (2, 10))
    whole = model.hidden(tokens)
    new, on = torch.tensor([True, True]), torch.tensor([False, False])
    parts = [go_on(model, tokens[:, :6], new), go_on(model, tokens[:, 6:], on)]
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-5, atol=1e-6)
    mixed = go_on(model, tokens[:, :4], torch.tensor([True, False]))
    torch.testing.assert_close(mixed[0], whole[0, :4], rtol=1e-5, atol=1e-6)
    assert (mixed[1] - whole[1, :4]).abs().max() > 1e-3


def test_no_gradient_flows_into_the_batch_before() -> None:
    model = build()
    tokens, on = torch.randint(0, 23, (2, 5)), torch.tensor([False, False])
    go_on(model, tokens, ~on)
    torch.autograd.backward(go_on(model, tokens, on).sum())
    torch.autograd.backward(go_on(model, tokens, on).sum())  # would fail on a freed graph


def test_evaluation_leaves_the_state_of_training_alone() -> None:
    model = build()
    tokens = torch.randint(0, 23, (2, 5))
    new, on = torch.tensor([True, True]), torch.tensor([False, False])
    go_on(model, tokens, new)
    before = {k: v.clone() for k, v in model.carried_state().items()}
    model.eval()
    first = go_on(model, tokens, on)  # nothing carried in eval mode yet: a fresh start
    torch.testing.assert_close(first, model.hidden(tokens))
    go_on(model, tokens[:1], on[:1])
    model.train()
    assert set(before) == {"0.h", "0.c", "1.h", "1.c"}
    for name, tensor in model.carried_state().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize("cell", CELLS)
def test_a_restored_state_goes_on_bit_for_bit(cell: str) -> None:
    model, again = build(cell=cell), build(cell=cell)
    tokens = torch.randint(0, 23, (2, 5))
    new, on = torch.tensor([True, True]), torch.tensor([False, False])
    go_on(model, tokens, new)
    again.restore_carried_state(model.carried_state())
    assert torch.equal(go_on(model, tokens, on), go_on(again, tokens, on))
    again.restore_carried_state({})
    assert again.carried_state() == {}
    assert not set(model.carried_state()) & set(model.state_dict())


def test_locked_dropout_drops_the_same_units_at_all_times() -> None:
    torch.manual_seed(0)
    x = torch.ones(50, 7, 40)
    dropped = LockedDropout(0.3)(x)
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert abs((dropped == 0).float().mean().item() - 0.3) < 0.03
    torch.testing.assert_close(dropped.max(), torch.tensor(1 / 0.7))
    assert torch.equal(LockedDropout(0.3).eval()(x), x)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("impl", ["torch", "scratch"])
def test_step_by_step_logits_of_unequal_texts_equal_those_of_each_alone(
    cell: str, impl: str
) -> None:
    model = build(cell=cell, cell_impl=impl, d_hidden=9).eval()
    lengths = torch.tensor([2, 7, 5])
    tokens, more = torch.randint(0, 23, (3, 7)), torch.randint(0, 23, (3, 3))
    cache = model.start_cache(3, 10)
    steps = [model.next_logits(tokens, cache, lengths), model.next_logits(more[:, :1], cache)]
    cache.select(torch.tensor([0, 2]))
    last = model.next_logits(more[[0, 2], 1:2], cache)
    for row, length in enumerate(lengths.tolist()):
        alone = model(torch.cat([tokens[row, :length], more[row]])[None])[0, length - 1 :]
        for step, logits in enumerate(steps):
            torch.testing.assert_close(logits[row], alone[step], rtol=1e-4, atol=1e-5)
        if row != 1:
            torch.testing.assert_close(last[row // 2], alone[2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tied", [False, True])
def test_adaptive_softmax_equals_that_of_torch(tied: bool) -> None:
    torch.manual_seed(0)
    embedding = torch.nn.Parameter(torch.randn(40, 16))
    mine = AdaptiveSoftmax(16, 40, [10, 25], embedding if tied else None)
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(16, 40, [10, 25], div_value=4.0)
    with torch.no_grad():
        for parameter in mine.parameters():
            parameter.normal_()
        theirs.head.weight.copy_(mine.head)
        for (narrow, wide), down, weight in zip(theirs.tail, mine.narrow, mine.rare, strict=True):
            narrow.weight.copy_(down.weight)
            wide.weight.copy_(weight)
    hidden = torch.randn(200, 16, requires_grad=True)
    targets = torch.randint(0, 40, (200,))
    nll = mine.nll(hidden, targets)
    wanted = theirs(hidden, targets).output
    torch.testing.assert_close(-nll, wanted, rtol=1e-5, atol=1e-5)
    grads = [torch.autograd.grad(loss.sum(), hidden)[0] for loss in (nll, -wanted)]
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-5)
    log_p = mine.log_probabilities(hidden)
    torch.testing.assert_close(log_p, theirs.log_prob(hidden), rtol=1e-5, atol=1e-5)
    if tied:
        assert mine.words is embedding


def test_cutoffs_that_do_not_split_the_vocabulary_are_refused() -> None:
    for cutoffs in ([], [2000], [10, 10], [23]):
        with pytest.raises(UserError, match="do not split a vocabulary of 23 words"):
            build(output="adaptive", cutoffs=cutoffs)
    assert build(output="adaptive", cutoffs=[9]).project(torch.randn(2, 12)).shape == (2, 23)
