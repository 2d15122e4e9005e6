"""Tensors that processes share out among each other by rows (FSDP2): the part that is here, and
the whole. A tensor that is not shared out is both."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor, in the same memory; it may have no rows."""
    with torch.no_grad():
        shared: Any = tensor
        found: Tensor = shared.to_local() if hasattr(tensor, "to_local") else tensor
        return found.detach()


def whole(tensor: Tensor) -> Tensor:
    """All rows of a tensor. All processes must ask at once."""
    with torch.no_grad():
        shared: Any = tensor
        found: Tensor = shared.full_tensor() if hasattr(tensor, "full_tensor") else tensor
        return found


def together(part: Tensor, like: Tensor) -> Tensor:
    """The whole tensor of which each process has the ``part`` that it has of ``like``."""
    if not hasattr(like, "to_local"):
        return part
    from torch.distributed.tensor import DTensor

    shared: Any = like
    mesh, placements = shared.device_mesh, shared.placements
    shape, stride = shared.shape, shared.stride()
    return whole(DTensor.from_local(part, mesh, placements, shape=shape, stride=stride))


def share_of(tensor: Tensor, like: Tensor) -> Tensor:
    """Of a whole tensor what the processes hold, as they hold ``like``."""
    if not hasattr(like, "to_local"):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    shared: Any = like
    tensor = tensor.to(shared.device)
    return distribute_tensor(tensor, shared.device_mesh, shared.placements, src_data_rank=None)
