"""Muon against torch's own, its orthogonalisation against the singular value decomposition."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scratchlab.errors import UserError
from scratchlab.training.updates.muon import Muon, MuonAdamW, orthogonalise
from scratchlab.training.updates.optimizers import optimizer_tensors, restore_optimizer


def gradients(like: torch.Tensor, count: int) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    return [torch.randn(like.shape, generator=random) for _ in range(count)]


@pytest.mark.parametrize("shape", [(24, 24), (48, 16), (16, 48)])
def test_orthogonalised_matrices_keep_their_directions_with_nearly_equal_strengths(
    shape: tuple[int, int],
) -> None:
    random = torch.Generator().manual_seed(0)
    u, s, vt = torch.linalg.svd(torch.randn(3, *shape, generator=random), full_matrices=False)
    matrices = u * torch.linspace(1, 0.1, s.shape[1]) @ vt  # the weakest a tenth of the strongest
    found = orthogonalise(matrices)
    for matrix, one in zip(matrices, found, strict=True):
        u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
        strengths = u.T @ one @ vt.T  # diagonal, if the directions are those of the matrix
        assert (strengths - strengths.diagonal().diag()).abs().max() < 1e-3
        assert strengths.diagonal().min() > 0.6
        assert strengths.diagonal().max() < 1.25


@pytest.mark.parametrize("shape", [(32, 32), (64, 16), (16, 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_matrices_move_as_with_the_muon_of_torch(
    dtype: torch.dtype, shape: tuple[int, int]
) -> None:
    start = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    mine, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizer = Muon(Muon.Config(lr=0.02, weight_decay=0.1)).build([("layer.weight", mine)])
    peer = torch.optim.Muon(
        [theirs], lr=0.02, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    for gradient in gradients(start, 5):
        mine.grad, theirs.grad = gradient.clone(), gradient.clone()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            optimizer.step()
        peer.step()
    assert mine.dtype == torch.float32
    moved, apart = (mine - start).norm(), (mine - theirs).norm()
    assert apart < 0.02 * moved  # torch orthogonalises in bfloat16 …
    assert (apart < 0.003 * moved) == (dtype == torch.bfloat16)  # … as this does under autocast


def test_embeddings_and_vectors_are_trained_by_adamw_at_their_share_of_the_rate() -> None:
    start = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    mine, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    bias, their_bias = nn.Parameter(start[0].clone()), nn.Parameter(start[0].clone())
    config = Muon.Config(lr=0.02, adam_rate=0.25, weight_decay=0.1)
    optimizer = Muon(config).build(
        [("wte.weight", mine), ("layer.bias", bias)], {mine: "embedding"}
    )
    peer = torch.optim.AdamW(
        [
            {"params": [theirs], "weight_decay": 0.1},
            {"params": [their_bias], "weight_decay": 0.0},
        ],
        lr=0.005,
        betas=(0.9, 0.98),
        eps=1e-9,
    )
    for gradient in gradients(start, 5):
        mine.grad, theirs.grad = gradient.clone(), gradient.clone()
        bias.grad, their_bias.grad = gradient[0].clone(), gradient[0].clone()
        optimizer.step()
        peer.step()
    torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(bias, their_bias)


def test_counts_of_updates_are_where_the_parameters_are_also_after_a_resume() -> None:
    """On a GPU the fused kernel refused counts on the CPU: no demo could be trained there."""
    here = nn.Parameter(torch.ones(4))
    optimizer = Muon(Muon.Config()).build([("norm.weight", here)])
    here.grad = torch.ones(4)
    optimizer.step()
    elsewhere = nn.Parameter(torch.ones(4, device="meta"))
    again = Muon(Muon.Config()).build([("norm.weight", elsewhere)])
    assert again._step(elsewhere).device == elsewhere.device  # type: ignore[attr-defined]
    restore_optimizer(again, optimizer_tensors(optimizer))
    assert {t.device.type for t in again.state[elsewhere].values()} == {"meta"}


def test_what_optimizers_of_others_keep_is_put_back_whatever_its_shape() -> None:
    weight = nn.Parameter(torch.randn(6, 4))
    optimizer = torch.optim.Adafactor([weight], lr=0.1)
    weight.grad = torch.randn(6, 4)
    optimizer.step()
    again = torch.optim.Adafactor([weight], lr=0.1)
    restore_optimizer(again, optimizer_tensors(optimizer))
    for name, value in optimizer.state[weight].items():
        assert torch.equal(again.state[weight][name], value), name


def plain_step(
    weight: torch.Tensor,
    momentum: torch.Tensor,
    neurons: torch.Tensor,
    gradient: torch.Tensor,
    lr: float,
    decay: float,
    beta: float | None,
    cautious: bool,
) -> torch.Tensor:
    """NorMuon's algorithm 1 and cautious decay, an element at a time; moments change in place."""
    momentum.copy_(0.95 * momentum + 0.05 * gradient)
    direction = orthogonalise((0.05 * gradient + 0.95 * momentum)[None])[0]
    rows, columns = weight.shape
    size = 0.2 * max(rows, columns) ** 0.5
    if beta is not None:
        norm = 0.0
        scaled = torch.zeros_like(direction)
        for i in range(rows):
            mean = sum(float(direction[i, j]) ** 2 for j in range(columns)) / columns
            neurons[i] = beta * neurons[i] + (1 - beta) * mean
            for j in range(columns):
                scaled[i, j] = direction[i, j] / (float(neurons[i]) ** 0.5 + 1e-8)
                norm += float(scaled[i, j]) ** 2
        direction, size = scaled, 0.2 * (rows * columns) ** 0.5 / norm**0.5
    new = weight.clone()
    for i in range(rows):
        for j in range(columns):
            w, u = float(weight[i, j]), float(direction[i, j])
            if not cautious or w * u >= 0:
                new[i, j] -= lr * decay * w
            new[i, j] -= lr * size * u
    return new


@pytest.mark.parametrize("shape", [(6, 4), (4, 6)])
@pytest.mark.parametrize(("beta", "cautious"), [(None, True), (0.9, False), (0.9, True)])
def test_even_neurons_and_cautious_decay_follow_the_algorithms_of_their_papers(
    shape: tuple[int, int], beta: float | None, cautious: bool
) -> None:
    start = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    mine, wanted = nn.Parameter(start.clone()), start.clone()
    config = Muon.Config(lr=0.05, weight_decay=0.5, neuron_beta=beta, cautious=cautious)
    optimizer = Muon(config).build([("layer.weight", mine)])
    momentum, neurons = torch.zeros(shape), torch.zeros(shape[0])
    for gradient in gradients(start, 4):
        mine.grad = gradient.clone()
        optimizer.step()
        before = wanted
        wanted = plain_step(wanted, momentum, neurons, gradient, 0.05, 0.5, beta, cautious)
        torch.testing.assert_close(mine.detach(), wanted, rtol=1e-4, atol=1e-6)
        if beta is not None and not cautious:  # without decay: the size of an AdamW update
            moved = wanted - before * (1 - 0.05 * 0.5)
            assert float(moved.square().mean().sqrt()) == pytest.approx(0.2 * 0.05, rel=1e-4)


def test_a_matrix_without_gradient_stays_and_learns_once_it_has_one() -> None:
    """Below outputs that begin at zero the first gradient is nought; the update was no number."""
    weight = nn.Parameter(torch.ones(6, 4))
    optimizer = Muon(Muon.Config(neuron_beta=0.9, weight_decay=0)).build([("layer.weight", weight)])
    weight.grad = torch.zeros(6, 4)
    optimizer.step()
    assert torch.equal(weight, torch.ones(6, 4))
    weight.grad = gradients(weight, 1)[0]
    optimizer.step()
    assert float((weight.detach() - 1).square().mean().sqrt()) == pytest.approx(
        0.2 * 4e-3, rel=1e-3
    )


def test_embeddings_decay_cautiously_by_the_sign_of_adams_update() -> None:
    start = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    mine, wanted = nn.Parameter(start.clone()), start.clone()
    config = Muon.Config(lr=0.02, weight_decay=0.5, cautious=True)
    optimizer = Muon(config).build([("wte.weight", mine)], {mine: "embedding"})
    mean, square = torch.zeros_like(start), torch.zeros_like(start)
    for t, gradient in enumerate(gradients(start, 5), 1):
        mine.grad = gradient.clone()
        optimizer.step()
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.98 * square + 0.02 * gradient**2
        update = mean / (1 - 0.9**t) / ((square / (1 - 0.98**t)).sqrt() + 1e-9)
        decayed = torch.where(update * wanted >= 0, wanted * (1 - 0.02 * 0.5), wanted)
        wanted = decayed - 0.02 * update
        torch.testing.assert_close(mine.detach(), wanted, rtol=1e-4, atol=1e-6)


def test_what_normuon_keeps_of_its_rows_is_put_back_and_another_shape_is_refused() -> None:
    def trained(weight: nn.Parameter, count: int) -> torch.optim.Optimizer:
        optimizer = Muon(Muon.Config(neuron_beta=0.9)).build([("layer.weight", weight)])
        for gradient in gradients(weight, count):
            weight.grad = gradient
            optimizer.step()
        return optimizer

    weight = nn.Parameter(torch.randn(6, 4))
    whole = nn.Parameter(weight.detach().clone())
    trained(whole, 3)
    kept = optimizer_tensors(trained(weight, 2))
    assert kept["optimizer.0.neurons"].shape == (6, 1)
    again = Muon(Muon.Config(neuron_beta=0.9)).build([("layer.weight", weight)])
    restore_optimizer(again, kept)
    weight.grad = gradients(weight, 3)[2]
    again.step()
    assert torch.equal(weight, whole)
    with pytest.raises(UserError, match=r"optimizer\.0\.neurons is \(1, 6\)"):
        restore_optimizer(again, {**kept, "optimizer.0.neurons": torch.zeros(1, 6)})


def test_small_gradients_have_a_direction_in_float16_too() -> None:
    gradient = 1e-8 * torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    moved = []
    for lower in (torch.float16, torch.float32):
        weight = torch.nn.Parameter(torch.zeros(6, 4))
        weight.grad = gradient.clone()
        group = {"params": [weight], "muon": True, "momentum": 0.95, "steps": 5, "lr": 0.1}
        optimizer = MuonAdamW([{**group, "neuron_beta": None}])
        with torch.autocast("cpu", lower, enabled=lower != torch.float32):
            optimizer.step()
        moved.append(weight.detach())
    assert moved[0].abs().min() > 1e-4
    torch.testing.assert_close(*moved, rtol=0.02, atol=1e-4)  # the products round
