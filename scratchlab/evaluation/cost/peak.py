"""The most memory that an update of training needs at a time, found on device ``meta``.

Forward and backward pass are run on shapes without content, and each tensor counts from when it is
made until nothing keeps it: so the peak has what products need for a moment, and an activation that
goes before the next gradient comes does not count twice.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from scratchlab.models.contract import Model
from scratchlab.models.layers.gelu import CpuGelu
from scratchlab.tasks.contract import Task

LOWERED = (
    *(F.linear, F.conv1d, F.conv2d, F.bilinear, torch.matmul, torch.mm, torch.bmm, torch.addmm),
    *(torch.baddbmm, torch.einsum, F.scaled_dot_product_attention),
    *(Tensor.matmul, Tensor.__matmul__, Tensor.mm, Tensor.bmm),
)
KEPT_WHOLE = (
    *(F.layer_norm, F.rms_norm, F.group_norm, F.softmax, F.log_softmax, F.cross_entropy),
    *(F.nll_loss, torch.softmax, torch.log_softmax, Tensor.softmax, Tensor.log_softmax),
    *(Tensor.logsumexp, torch.logsumexp, F.embedding),
)


class Live(TorchDispatchMode):
    """Counts the bytes of the tensors that are made inside and still there; ``peak``: the most."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.now = self.peak = 0
        stored = (*model.parameters(), *model.buffers())
        self.known = {t.untyped_storage()._cdata for t in stored}

    def __torch_dispatch__(self, function, types, arguments=(), named=None):  # type: ignore[no-untyped-def]
        out = function(*arguments, **(named or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return out

    def _count(self, storage: Any) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self.known:
            return
        self.known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


class AsThere(TorchFunctionMode):
    """What is run on ``meta`` keeps what it keeps on a CPU, or on a GPU: attention is fused and
    keeps no scores (on a CPU unless it drops some), and GELU is what a CPU is given."""

    def __init__(self, on_cpu: bool) -> None:
        super().__init__()
        self.on_cpu = on_cpu

    def __torch_function__(self, function, types, arguments=(), named=None):  # type: ignore[no-untyped-def]
        named = named or {}
        if function is F.scaled_dot_product_attention:
            dropped = named.get("dropout_p", arguments[4] if len(arguments) > 4 else 0.0)
            if not (self.on_cpu and dropped):
                return _fused(*arguments, **named)
        if function is F.gelu and self.on_cpu and named.get("approximate") == "tanh":
            return CpuGelu.apply(*arguments)
        return function(*arguments, **named)


def _fused(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    if enable_gqa and q.shape[-3] != k.shape[-3]:
        times = q.shape[-3] // k.shape[-3]
        k, v = k.repeat_interleave(times, -3), v.repeat_interleave(times, -3)
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    out: Tensor = fused(q, k, v, 0.0, is_causal, attn_mask=attn_mask, scale=scale)[0]
    return out


class Lowered(TorchFunctionMode):
    """On ``meta``, which has no autocast: products in ``dtype``, norms and losses in fp32."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.cast: dict[int, Tensor] = {}

    def __torch_function__(self, function, types, arguments=(), named=None):  # type: ignore[no-untyped-def]
        named = named or {}
        if function in LOWERED:
            arguments, named = tree_map(self._lower, (arguments, named))
        elif function in KEPT_WHOLE:
            arguments, named = tree_map(_whole, (arguments, named))
        return function(*arguments, **named)

    def _lower(self, value: Any) -> Any:
        if not isinstance(value, Tensor) or value.dtype != torch.float32:
            return value
        if not isinstance(value, nn.Parameter):
            return value.to(self.dtype)
        if id(value) not in self.cast:  # a weight is cast once in a forward pass
            self.cast[id(value)] = value.to(self.dtype)
        return self.cast[id(value)]


def _whole(value: Any) -> Any:
    lower = isinstance(value, Tensor) and value.dtype in (torch.bfloat16, torch.float16)
    return value.float() if lower else value


@contextlib.contextmanager
def arithmetic_of(dtype: torch.dtype, on_cpu: bool) -> Iterator[None]:
    """Inside, what is run on ``meta`` keeps what training in ``dtype`` keeps."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(AsThere(on_cpu))
        if dtype != torch.float32:
            stack.enter_context(Lowered(dtype))
        yield


def peak_bytes(
    model: Model,
    task: Task,
    batch_size: int,
    length: int,
    dtype: torch.dtype = torch.float32,
    accumulate: int = 1,
    on_cpu: bool = True,
) -> int:
    """What forward and backward pass of an update make beside the weights of ``model`` (which is on
    ``meta``), at most at a time; the gradients are among it."""
    model.train()
    model.zero_grad(set_to_none=True)
    batch = task.example_batch(batch_size, length, "meta")
    with Live(model) as live:
        for _ in range(min(accumulate, 2)):  # from the second on the gradients are there
            with arithmetic_of(dtype, on_cpu):
                loss = task.loss(model, batch)
            if loss.total.requires_grad:
                (loss.total / loss.count).backward()
            del loss
    model.zero_grad(set_to_none=True)
    model.eval()
    return live.peak
