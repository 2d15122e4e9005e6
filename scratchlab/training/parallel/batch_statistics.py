"""Batch normalisation over the rows of all processes (Ioffe & Szegedy 2015).

:class:`torch.nn.SyncBatchNorm` does the same on GPUs alone. Mean and variance are sums over rows,
so the processes add them up, and so are their gradients.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from scratchlab.methods.replace import replace_module
from scratchlab.run.processes import Processes


class _Added(torch.autograd.Function):
    """The sum of what all processes have; what depends on it depends on each of them."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, processes: Processes) -> Tensor:
        ctx.processes = processes
        return processes.added(own)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.processes.added(gradients[0].contiguous()), None


class SharedBatchNorm(_BatchNorm):
    """A batch normalisation, its weights and all, whose batch is spread over processes."""

    def __init__(self, part: _BatchNorm, processes: Processes) -> None:
        options = (part.eps, part.momentum, part.affine, part.track_running_stats)
        super().__init__(part.num_features, *options, device="meta")
        for name, tensor in (*part.named_parameters(), *part.named_buffers()):
            setattr(self, name, tensor)
        self.processes = processes
        vars(self)["part"] = part  # no part of this module: its tensors are here already
        self.train(part.training)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any: what it stands in for has looked at it in one process."""

    def forward(self, input: Tensor) -> Tensor:
        """x [B, C, …] → the same, each channel normalised over the rows of all processes."""
        if not self.training:
            return super().forward(input)
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        rows = [d for d in range(x.ndim) if d != 1]
        shape = [1, -1] + [1] * (x.ndim - 2)
        counts = float(self.processes.has_rows)  # a process without a row computes one of another
        own = x.new_tensor([x.numel() / x.shape[1]], dtype=torch.float64)
        sums = torch.cat([x.sum(rows, dtype=torch.float64), own]) * counts
        sums = _Added.apply(sums, self.processes)
        count = sums[-1].detach()
        if count <= 1:
            raise ValueError("batch normalisation needs more than one value of each channel")
        mean = sums[:-1] / count
        centred = x - mean.to(x.dtype).view(shape)
        squares = centred.square().sum(rows, dtype=torch.float64) * counts
        variance = _Added.apply(squares, self.processes) / count
        self._remember(mean.detach(), variance.detach() * count / (count - 1))
        y = centred * (variance + self.eps).rsqrt().to(x.dtype).view(shape)
        if self.weight is not None:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics towards those of this batch."""
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        seen = int(self.num_batches_tracked)
        share = 1 / seen if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_(variance.to(self.running_var), share)


def share_batch_statistics(module: nn.Module, processes: Processes) -> None:
    """Let every batch normalisation inside see the rows of all processes."""
    for name, part in list(module.named_modules()):
        if isinstance(part, _BatchNorm):
            replace_module(module, name, SharedBatchNorm(part, processes))


def part_batch_statistics(module: nn.Module) -> None:
    """Put back what :func:`share_batch_statistics` has replaced, with what it has learnt."""
    for name, shared in list(module.named_modules()):
        if isinstance(shared, SharedBatchNorm):
            part: Any = vars(shared)["part"]
            replace_module(module, name, part.train(shared.training))
