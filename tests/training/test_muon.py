"""Muon against torch's own, its orthogonalisation against the singular value decomposition."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scratchlab.training.updates.muon import Muon, orthogonalise
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
def test_matrices_move_as_with_the_muon_of_torch(shape: tuple[int, int]) -> None:
    start = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    mine, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizer = Muon(Muon.Config(lr=0.02, weight_decay=0.1)).build([("layer.weight", mine)])
    peer = torch.optim.Muon(
        [theirs], lr=0.02, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    for gradient in gradients(start, 5):
        mine.grad, theirs.grad = gradient.clone(), gradient.clone()
        optimizer.step()
        peer.step()
    moved = (mine - start).norm()
    assert (mine - theirs).norm() < 0.02 * moved  # torch orthogonalises in bfloat16


def test_embeddings_and_vectors_are_trained_by_adamw_at_their_share_of_the_rate() -> None:
    start = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    mine, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    bias, their_bias = nn.Parameter(start[0].clone()), nn.Parameter(start[0].clone())
    config = Muon.Config(lr=0.02, adam_rate=0.25, weight_decay=0.1)
    optimizer = Muon(config).build([("wte.weight", mine), ("layer.bias", bias)], [mine])
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
