"""Batch normalisation of a batch that is spread over processes (here: threads)."""

from __future__ import annotations

import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from scratchlab.run.processes import Place, Processes
from scratchlab.training.parallel.batch_statistics import (
    SharedBatchNorm,
    part_batch_statistics,
    share_batch_statistics,
)


class Threads(Processes):
    """What one of several threads sees of the others."""

    def __init__(self, rank: int, count: int, numbers: list[Tensor], meet: threading.Barrier):
        self.place, self.numbers, self.meet = Place(rank, count), numbers, meet

    def added(self, numbers: Tensor) -> Tensor:
        self.numbers[self.rank] = numbers
        self.meet.wait(60)
        total = torch.stack(self.numbers).sum(0)
        self.meet.wait(60)
        return total


def spread(module: nn.Module, x: Tensor, weights: Tensor, count: int) -> list[nn.Module]:
    """The modules of ``count`` threads after a backward of their rows each, x [B, …] → Σ w y²."""
    shared: tuple[list[Tensor], threading.Barrier] = ([x] * count, threading.Barrier(count))

    def one(rank: int) -> nn.Module:
        processes = Threads(rank, count, *shared)
        processes.has_rows = rank < len(x)
        own = copy.deepcopy(module)
        share_batch_statistics(own, processes)
        rows = slice(rank, None, count) if processes.has_rows else slice(1)
        loss = (weights[rows] * own(x[rows]).square()).sum()
        (loss * float(processes.has_rows)).backward()
        return own

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


@pytest.mark.parametrize("count", [2, 3, 6])  # 6: a process without a row
@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3), (5, 4, 3, 2)])
def test_statistics_and_gradients_are_those_of_the_whole_batch(
    shape: tuple[int, ...], count: int
) -> None:
    torch.manual_seed(0)
    norm = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)](4)
    module = nn.Sequential(nn.Identity(), norm).double()
    nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    module.insert(0, nn.Linear(shape[-1], shape[-1]).double())
    x, weights = torch.randn(shape).double(), torch.randn(shape).double()
    parts = spread(module, x, weights, count)
    (weights * module(x).square()).sum().backward()
    for name, parameter in module.named_parameters():
        total = torch.stack([dict(part.named_parameters())[name].grad for part in parts]).sum(0)
        torch.testing.assert_close(total, parameter.grad, rtol=1e-6, atol=1e-6, msg=name)
    for part in parts:  # all remember the same, under the names of before
        torch.testing.assert_close(dict(part.state_dict()), dict(module.state_dict()))


def test_what_was_replaced_is_put_back_with_what_it_has_learnt() -> None:
    norm = nn.BatchNorm1d(2, momentum=None)
    module = nn.Sequential(norm)
    share_batch_statistics(module, Processes())
    assert isinstance(module[0], SharedBatchNorm)
    x = torch.randn(6, 2)
    module(x), module(x + 1)
    module.eval()
    found = module(x)
    part_batch_statistics(module)
    assert module[0] is norm and not norm.training
    torch.testing.assert_close(norm.running_mean, x.mean(0) + 0.5)
    assert torch.equal(norm(x), found)


def test_one_value_has_no_variance() -> None:
    module = nn.Sequential(nn.BatchNorm1d(2))
    share_batch_statistics(module, Processes())
    with pytest.raises(ValueError, match="more than one value"):
        module(torch.ones(1, 2))
