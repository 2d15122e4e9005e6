"""Output layer and softmax cross-entropy in one pass, without ever holding all logits.

The logits of N targets over V classes are the largest tensor of a small language model. They are
computed here once, a chunk of rows at a time, turned into their own gradient in place while they
are still in the cache, and multiplied at once into the gradients of ``hidden`` and ``weight``.

With p = softmax(z), the loss of a target y with label smoothing ε is
``(1 - ε) (lse - z_y) + ε (lse - mean(z))``, its gradient ``p - (1 - ε) onehot(y) - ε / V``
(Szegedy et al. 2016, section 7). The mean logit is ``hidden · mean(weight)``, and the constant part
of the gradient is the same for all classes, so smoothing needs no pass over the logits of its own.
Logits that are capped, ``c tanh(z / c)``, have no such mean; their gradient is times ``1 - tanh²``.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from scratchlab.models.layers.softcap import softcapped

# On a CPU a chunk of logits should stay in the last cache but leave the matrix product tall rows.
CPU_CHUNK_BYTES = 16 << 20
GPU_CHUNK_BYTES = 512 << 20
# Tensor cores read rows of whole blocks: at GPT-2's 50,257 classes, products take half as long
# again as at 50,304.
GPU_BLOCK = 64
BF16_ROWS = 64  # see compiles_shapes

AUTOCAST = [d for d in ("cpu", "cuda", "mps", "xpu") if torch.amp.is_autocast_available(d)]


def chunk_rows(n_classes: int, device: torch.device, itemsize: int = 4) -> int:
    """How many rows of logits are handled at a time."""
    budget = CPU_CHUNK_BYTES if device.type in ("cpu", "meta") else GPU_CHUNK_BYTES
    return max(64, budget // (n_classes * itemsize) // 16 * 16)


def compiles_shapes(x: Tensor) -> bool:
    """Whether products of ``x`` are compiled by oneDNN for each shape that they have, which takes
    longer than the product: chunks are of few sizes then, and the last one is filled with zeros."""
    in_bf16 = x.dtype == torch.bfloat16 and x.device.type == "cpu"
    return in_bf16 and not torch.compiler.is_compiling()


def even_rows(count: int, rows: int) -> int:
    """The size of equal chunks of at most about ``rows`` rows, one of few sizes."""
    chunks = max(1, -(-count // rows))
    return max(1, -(-count // (chunks * BF16_ROWS))) * BF16_ROWS


def missing_rows(n_classes: int, device: torch.device) -> int:
    """How many rows of zeros a weight is given, so that a GPU multiplies it quickly."""
    return 0 if device.type in ("cpu", "meta") else -n_classes % GPU_BLOCK


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        target: Tensor,
        smoothing: float,
        chunk: int,
        softcap: float | None,
    ) -> tuple[Tensor, Tensor]:
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        n_classes, given = weight.shape[0], weight.dtype
        own = weight = weight.to(hidden.dtype)
        count = len(hidden)
        if compiles_shapes(hidden) and count % chunk:
            filling = -count % chunk
            hidden, target = F.pad(hidden, (0, 0, 0, filling)), F.pad(target, (0, filling))
        padding = missing_rows(n_classes, hidden.device)
        if padding:
            weight = F.pad(weight, (0, 0, 0, padding))
        grad_hidden = torch.empty_like(hidden) if wants_hidden else None
        # On a CPU softmax computes in fp32 whatever it reads and writes: in training its result is
        # rounded to the type of the products anyway, so it is spared the way there and back. What
        # a target's probability lacks of 1 is not: that would be nothing from 0.998 on.
        stays = hidden.device.type == "cpu" and softcap is None and (wants_hidden or wants_weight)
        logits_dtype = torch.promote_types(hidden.dtype, torch.float32)
        grad_weight = torch.zeros_like(weight, dtype=logits_dtype) if wants_weight else None
        weight_sum = slope = None
        if smoothing and softcap is None:
            weight_sum = weight.sum(0, dtype=logits_dtype).to(hidden.dtype)
        # One place for all chunks, which stays in the cache.
        logits = hidden.new_empty(min(chunk, hidden.shape[0]), len(weight))
        nll = hidden.new_zeros((), dtype=torch.float64)
        uniform = hidden.new_zeros((), dtype=torch.float64)
        for start in range(0, hidden.shape[0], chunk):
            h = hidden[start : start + chunk]  # [C, D]
            y = target[start : start + chunk, None]  # [C, 1]
            real = min(len(h), count - start)  # what follows is filling
            z = torch.mm(h, weight.t(), out=logits[: len(h)])  # [C, V and padding]
            if not stays:
                z = z.to(logits_dtype)
            if softcap is not None:
                slope = z.div_(softcap).tanh_().square().neg_().add_(1)
                z.mul_(softcap)
                if smoothing:
                    mean = z[:, :n_classes].mean(-1)
            if padding:
                z[:, n_classes:] = float("-inf")
            z_y = z.gather(1, y)[:, 0].to(logits_dtype)
            p, log_p, others = _softmax(z, y, z_y, h, own, softcap)
            nll -= log_p[:real].sum(dtype=torch.float64)
            if weight_sum is not None:
                mean = (h @ weight_sum).to(logits_dtype) / n_classes
            if smoothing:  # lse - mean(z), with lse = z_y - log p_y
                uniform += (z_y - log_p - mean)[:real].sum(dtype=torch.float64)
            if not (wants_hidden or wants_weight):
                continue
            # no scatter: on a CPU it takes all of a bf16 matrix to fp32 and back
            p_y = (p.gather(1, y)[:, 0].to(logits_dtype) - 1) if others is None else -others
            p_y = p_y + smoothing
            p[torch.arange(len(p), device=p.device), y[:, 0]] = p_y.to(p.dtype)
            if slope is not None:
                p.sub_(smoothing / n_classes).mul_(slope)
            d = p.to(hidden.dtype)
            if real < len(d):
                d[real:] = 0
            if grad_hidden is not None:
                g = torch.mm(d, weight, out=grad_hidden[start : start + chunk])
                if weight_sum is not None:
                    g.sub_(weight_sum, alpha=smoothing / n_classes)
            if grad_weight is None:
                continue
            if grad_weight.dtype == d.dtype:
                grad_weight.addmm_(d.t(), h)
            else:
                grad_weight.add_(d.t() @ h)
        if grad_weight is not None and weight_sum is not None:
            grad_weight.sub_(hidden.sum(0), alpha=smoothing / n_classes)
        if grad_weight is not None:
            grad_weight = grad_weight[:n_classes].to(given)
        if grad_hidden is not None:
            grad_hidden = grad_hidden[:count]
        ctx.save_for_backward(grad_hidden, grad_weight)
        nll = nll.to(logits_dtype)
        total = (1 - smoothing) * nll + smoothing * uniform.to(logits_dtype)
        ctx.mark_non_differentiable(nll)
        return total, nll

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden, grad_weight = ctx.saved_tensors
        scale = grads[0]
        return (
            None if grad_hidden is None else grad_hidden * scale.to(grad_hidden.dtype),
            None if grad_weight is None else grad_weight * scale.to(grad_weight.dtype),
            None,
            None,
            None,
            None,
        )


def _softmax(
    z: Tensor, y: Tensor, z_y: Tensor, h: Tensor, weight: Tensor, softcap: float | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Turns logits z [C, V] into probabilities in place; also log p of the targets y [C, 1], [C],
    and what all others have together, [C]. In bf16 on a CPU that is added up, and the targets' own
    are 0 in the first; None: it is 1 - p.

    On a CPU the softmax kernel reads z only once, and the logarithm of its result is exact enough
    unless a probability nearly vanishes: such rows are computed anew. Elsewhere looking for them
    would cost a wait for the device.
    """
    if z.device.type != "cpu":
        lse = z.logsumexp(-1)
        return z.sub_(lse[:, None]).exp_(), z_y - lse, None
    p = torch.softmax(z, -1, out=z)
    p_y = p.gather(1, y)[:, 0]
    log_p = p_y.to(z_y.dtype).log()
    faint = (p_y < 1e-30).nonzero()[:, 0]
    if len(faint):
        again = softcapped((h[faint] @ weight.t()).to(z_y.dtype), softcap)
        log_p[faint] = z_y[faint] - again.logsumexp(-1)
    if p.dtype != torch.bfloat16:
        return p, log_p, None
    p[torch.arange(len(p)), y[:, 0]] = 0
    others = p.sum(-1).to(z_y.dtype)
    return p, torch.where(others < 0.5, torch.log1p(-others), log_p), others


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    target: Tensor,
    label_smoothing: float = 0.0,
    chunk: int | None = None,
    softcap: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Summed cross-entropy of ``hidden @ weight.T``, capped if asked, against ``target``.

    hidden [N, D], weight [V, D], target [N] int64 (only rows that have a target). Returns the sum
    with label smoothing (with gradient) and the plain negative log-likelihood (without), in nats.
    The gradient is computed together with the loss; a second derivative does not exist.
    """
    device = hidden.device.type
    has_autocast = device in AUTOCAST  # asked once: the compiler cannot trace the question
    if has_autocast and torch.is_autocast_enabled(device):
        hidden = hidden.to(torch.get_autocast_dtype(device))
    elif weight.dtype != hidden.dtype:
        hidden = hidden.to(weight.dtype)
    itemsize = hidden.element_size() if device == "cpu" else 4
    rows = chunk or chunk_rows(weight.shape[0], hidden.device, itemsize)
    if chunk is None and compiles_shapes(hidden):
        rows = even_rows(len(hidden), rows)
    with torch.autocast(device, enabled=False) if has_autocast else nullcontext():
        total, nll = _LinearCrossEntropy.apply(
            hidden, weight, target, label_smoothing, rows, softcap
        )
    return total, nll


def plain_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    target: Tensor,
    label_smoothing: float = 0.0,
    softcap: float | None = None,
) -> tuple[Tensor, Tensor]:
    """The same two sums in the ordinary way, through [N, V] logits."""
    logits = softcapped(hidden @ weight.t(), softcap)
    log_p = F.log_softmax(logits, -1, dtype=torch.promote_types(logits.dtype, torch.float32))
    nll = -log_p.gather(1, target[:, None]).sum()
    total = nll
    if label_smoothing:
        total = (1 - label_smoothing) * nll - label_smoothing * log_p.mean(-1).sum()
    return total, nll.detach()
