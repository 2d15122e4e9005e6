"""The from-scratch GPT: causality, positions, cache, start, options."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from scratchlab.data.contract import Spec
from scratchlab.errors import UserError
from scratchlab.models.gpt import GPT
from scratchlab.models.layers.gelu import gelu

SPEC = Spec(task="language_modeling", vocab_size=23, max_length=12)
POSITIONS = ("learned", "sinusoidal", "rotary", "none")


def build(seed: int = 0, spec: Spec = SPEC, **options: object) -> GPT:
    """A tiny model whose weights are large enough for its outputs to differ clearly."""
    torch.manual_seed(seed)
    model = GPT(GPT.Config(**{"d_model": 16, "n_heads": 2, "n_layers": 2, **options}), spec)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(5) if parameter.ndim > 1 else parameter.add_(0.1)
    return model.eval()


@pytest.mark.parametrize("positions", POSITIONS)
def test_no_output_depends_on_a_later_token(positions: str) -> None:
    model = build(positions=positions)
    tokens = torch.randint(0, 23, (2, 12))
    changed = tokens.clone()
    changed[:, 7:] = (changed[:, 7:] + 1) % 23
    before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :7], after[:, :7])
    assert (before[:, 7:] - after[:, 7:]).abs().max() > 1e-2


@pytest.mark.parametrize("positions", POSITIONS)
def test_step_by_step_logits_equal_those_of_the_whole_text(positions: str) -> None:
    model = build(positions=positions)
    tokens = torch.randint(0, 23, (3, 12))
    whole = model(tokens)
    cache = model.start_cache(3, 12)
    logits = [model.next_logits(tokens[:, :4], cache)]
    logits += [model.next_logits(tokens[:, t : t + 1], cache) for t in range(4, 12)]
    torch.testing.assert_close(torch.stack(logits, 1), whole[:, 3:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("positions", POSITIONS)
def test_unequal_texts_in_one_cache_do_not_see_each_other_or_the_filling(positions: str) -> None:
    model = build(positions=positions)
    lengths = torch.tensor([2, 7, 5])
    tokens = torch.randint(0, 23, (3, 7))
    more = torch.randint(0, 23, (3, 4))
    cache = model.start_cache(3, 12)
    steps = [model.next_logits(tokens, cache, lengths)]
    steps += [model.next_logits(more[:, t : t + 1], cache) for t in range(2)]
    cache.select(torch.tensor([0, 2]))
    kept = [model.next_logits(more[[0, 2], t : t + 1], cache) for t in range(2, 4)]
    for row, length in enumerate(lengths.tolist()):
        text = torch.cat([tokens[row, :length], more[row]])[None]
        alone = model(text)[0, length - 1 :]
        mine = [step[row] for step in steps]
        if row != 1:
            mine += [step[0 if row == 0 else 1] for step in kept]
        torch.testing.assert_close(torch.stack(mine), alone[: len(mine)], rtol=1e-4, atol=1e-5)


def test_rotary_models_see_distances_and_models_without_positions_see_none() -> None:
    tokens = torch.randint(0, 23, (1, 6))
    shifted = torch.arange(6)[None] + 5
    for positions, same in (("rotary", True), ("learned", False), ("sinusoidal", False)):
        model = build(positions=positions)
        gap = (model.hidden(tokens) - model.hidden(tokens, positions=shifted)).abs().max().item()
        assert (gap < 1e-4) is same, positions
    model = build(positions="none")
    last = model(tokens)[0, -1]
    swapped = model(tokens[:, [1, 0, 2, 4, 3, 5]])[0, -1]
    # the second layer sees what earlier tokens saw, so only one layer is blind to order
    assert not torch.allclose(last, swapped, atol=1e-4)
    one = build(positions="none", n_layers=1)
    torch.testing.assert_close(
        one(tokens)[0, -1], one(tokens[:, [1, 0, 2, 4, 3, 5]])[0, -1], rtol=1e-4, atol=1e-5
    )


def test_a_mask_takes_the_place_of_causality() -> None:
    model = build(positions="learned")
    tokens = torch.randint(0, 23, (1, 8))
    # two texts packed in one row: each sees itself only, at positions from 0 on
    inside = torch.zeros(8, 8, dtype=torch.bool)
    inside[:5, :5] = inside[5:, 5:] = True
    mask = torch.zeros(8, 8).masked_fill(~inside.tril(), -math.inf)[None, None]
    positions = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2]])
    packed = model.hidden(tokens, positions, mask)
    torch.testing.assert_close(packed[:, :5], model.hidden(tokens[:, :5]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(packed[:, 5:], model.hidden(tokens[:, 5:]), rtol=1e-4, atol=1e-5)


def test_attention_maps_are_distributions_over_the_past() -> None:
    model = build(positions="rotary", n_layers=3)
    maps = model.attention_maps(torch.randint(0, 23, (2, 9)))
    assert maps.shape == (3, 2, 2, 9, 9)
    torch.testing.assert_close(maps.sum(-1), torch.ones(3, 2, 2, 9))
    assert maps.triu(1).abs().max() == 0
    assert maps[..., 1:, 0].std() > 0.01


def test_gpt2_start_scales_what_is_added_to_the_residual_stream() -> None:
    torch.manual_seed(0)
    model = GPT(GPT.Config(d_model=128, n_layers=8), Spec("language_modeling", vocab_size=500,
                                                          max_length=64))  # fmt: skip
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert parameter.abs().max() == 0, name
        elif "norm" in name:
            assert torch.equal(parameter, torch.ones(128)), name
        else:
            wanted = 0.02 / 4 if name.endswith("out.weight") else 0.02
            assert abs(parameter.std().item() / wanted - 1) < 0.05, name
    tokens = torch.randint(0, 500, (4, 64))
    loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
    assert abs(loss.item() - math.log(500)) < 0.1


def test_tied_output_shares_the_embedding_and_untied_does_not() -> None:
    tied, untied = build(), build(tie_embeddings=False)
    assert tied.output_weight is tied.embedding.weight
    count = [sum(p.numel() for p in m.parameters()) for m in (tied, untied)]
    assert count[1] - count[0] == 23 * 16
    hidden = torch.randn(2, 16)
    torch.testing.assert_close(tied.project(hidden), hidden @ tied.embedding.weight.t())


def test_a_model_without_biases_has_none() -> None:
    names = [name for name, _ in build(bias=False).named_parameters()]
    assert not [name for name in names if name.endswith("bias")]


def test_dropout_acts_in_training_only_and_follows_the_seed() -> None:
    model = build(dropout=0.3, attention_dropout=0.3)
    tokens = torch.randint(0, 23, (2, 8))
    assert torch.equal(model(tokens), model(tokens))
    model.train()
    torch.manual_seed(5)
    first, second = model(tokens), model(tokens)
    assert not torch.allclose(first, second)
    torch.manual_seed(5)
    assert torch.equal(model(tokens), first)


def test_an_adaptive_output_gives_normalised_log_probabilities() -> None:
    model = build(output="adaptive", cutoffs=[8, 15])
    logits = model(torch.randint(0, 23, (2, 6)))
    torch.testing.assert_close(logits.exp().sum(-1), torch.ones(2, 6))


def test_gelu_equals_the_tanh_form_of_torch_with_its_gradient() -> None:
    x = torch.linspace(-12, 12, 4001, dtype=torch.float64).float().requires_grad_()
    weight = torch.randn(4001)
    mine, theirs = gelu(x), F.gelu(x, approximate="tanh")
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)
    grads = [torch.autograd.grad((y * weight).sum(), x)[0] for y in (mine, theirs)]
    torch.testing.assert_close(*grads, rtol=1e-5, atol=5e-6)
    far = torch.tensor([-1e4, 1e4], requires_grad=True)
    gelu(far).sum().backward()
    assert torch.equal(far.grad, torch.tensor([0.0, 1.0]))


def test_contexts_beyond_the_block_and_unfitting_data_are_refused() -> None:
    model = build()
    with pytest.raises(UserError, match="13 tokens is longer than the model's block of 12"):
        model(torch.zeros(1, 13, dtype=torch.int64))
    cache = model.start_cache(1, 100)
    model.next_logits(torch.zeros(1, 12, dtype=torch.int64), cache)
    with pytest.raises(UserError, match="longer than the model's block"):
        model.next_logits(torch.zeros(1, 1, dtype=torch.int64), cache)
    with pytest.raises(UserError, match=r"longer than model\.block_size=8"):
        build(block_size=8)
    with pytest.raises(UserError, match=r"model\.block_size is needed"):
        build(spec=Spec("language_modeling", vocab_size=5))
    assert build(block_size=20).block_size == 20
