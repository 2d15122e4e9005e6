"""Exercise: softmax cross-entropy and its gradient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from scratchlab.exercises.contract import (
    Case,
    Exercise,
    Functions,
    Mistake,
    Replacement,
    Timed,
)
from scratchlab.exercises.looking import case
from scratchlab.registry import register

START = '''\
"""Exercise cross_entropy: softmax cross-entropy and its gradient, by hand.

With p = softmax(z), the loss of a row of logits z with the target y is -log p_y, and its gradient

    by z_i    p_i - (1 if i is y else 0)

(Bishop 2006, section 4.3.4). The loss of N rows is the mean over those that have a target; a row
whose target is `ignore` is padding: it counts for nothing and has no gradient.
"""

import torch


def cross_entropy(logits, targets, ignore=-100):
    """logits [N, V], targets [N] whole numbers → (loss [], its gradient by the logits [N, V]).

    At least one row has a target. The gradient is computed here, not by autograd. The arguments
    stay as they are.
    """
    raise NotImplementedError
'''

NAMES = ("logits", "targets", "ignore")
Pair = tuple[Tensor, Tensor]


def plain(wrong: frozenset[str], logits: Tensor, targets: Tensor, ignore: int = -100) -> Pair:
    """The formula, with mistakes in it."""
    real = targets != ignore
    y = targets.where(real, torch.zeros_like(targets))[:, None]
    axis = 0 if "softmax over the rows" in wrong else 1
    if "no maximum subtracted" in wrong:
        p = logits.exp() / logits.exp().sum(axis, keepdim=True)
        log_p = p.log()
    else:
        log_p = logits.log_softmax(axis)
        p = log_p.exp()
    losses = -log_p.gather(1, y)[:, 0]
    count: Any = real.sum()
    if "padding counted in the mean" in wrong:
        count = len(targets)
    loss = losses[real].sum() / (1 if "sum in place of the mean" in wrong else count)
    gradient = p.clone()
    if "target not subtracted" not in wrong:
        gradient.scatter_add_(1, y, -torch.ones_like(logits[:, :1]))
    if "padding has a gradient" not in wrong:
        gradient = gradient * real[:, None]
    if not wrong & {"gradient of the sum", "sum in place of the mean"}:
        gradient = gradient / count
    return loss, gradient


def torchs(logits: Tensor, targets: Tensor, ignore: int = -100) -> Pair:
    """torch's loss and what autograd makes of it."""
    with torch.enable_grad():
        z = logits.detach().clone().requires_grad_()
        loss = F.cross_entropy(z, targets, ignore_index=ignore)
        (gradient,) = torch.autograd.grad(loss, z)
    return loss.detach(), gradient


@register(
    "exercise",
    "cross_entropy",
    paper="Bishop 2006",
    with_torch=True,
    use="model=gpt",
)
class CrossEntropy(Exercise):
    """Softmax cross-entropy and its gradient by hand."""

    START = START
    HINTS = (
        "Compute log p, not p: log p_i = z_i - log Σ exp(z_j), and subtract the largest logit of "
        "each row from z before the exp, so that it cannot overflow.",
        "The rows with a target are real = targets != ignore. Their number is what the sum of the "
        "losses is divided by, and the gradient as well.",
        "A target of padding is no index. Put 0 in its place (targets.where(real, 0)) and "
        "multiply the gradient by real[:, None] at the end.",
    )
    MISTAKES = (
        Mistake(
            "padding counted in the mean",
            "cross_entropy",
            "the sum is divided by the number of all rows. Divide by the rows that have a target.",
        ),
        Mistake(
            "sum in place of the mean",
            "cross_entropy",
            "the losses are added and not divided by their number.",
        ),
        Mistake(
            "gradient of the sum",
            "cross_entropy",
            "the loss is a mean, but the gradient that of the sum: divide it by the number of "
            "targets as well.",
        ),
        Mistake(
            "target not subtracted",
            "cross_entropy",
            "the gradient is p. At the target 1 is subtracted, or nothing pulls it up.",
        ),
        Mistake(
            "padding has a gradient",
            "cross_entropy",
            "rows without a target have a gradient. Theirs is 0.",
        ),
        Mistake(
            "softmax over the rows",
            "cross_entropy",
            "the softmax runs over the rows (dimension 0), not over the classes.",
        ),
        Mistake(
            "no maximum subtracted",
            "cross_entropy",
            "exp of a large logit overflows, and a probability of 0 has no logarithm. Subtract the "
            "largest logit of each row first and compute log p without p.",
        ),
    )
    LIBRARY = ("cross_entropy", "nll_loss", "CrossEntropyLoss", "backward", "grad")
    BESIDE = "torch's with autograd"

    def reference(self) -> Functions:
        return {"cross_entropy": torchs}

    def plain(self, wrong: frozenset[str]) -> Functions:
        return {"cross_entropy": lambda *a: plain(wrong, *a)}

    def cases(self) -> list[Case]:
        generator = torch.Generator().manual_seed(10)

        def made(name: str, logits: Tensor, targets: list[int], *ignore: int, **more: Any) -> Case:
            given = (logits, torch.tensor(targets), *ignore)
            results = ("the loss", "the gradient")
            return case("cross_entropy", name, NAMES[: len(given)], given, results=results, **more)

        def draw(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        large = torch.tensor([[1000.0, 0.0, -1000.0], [-800.0, 900.0, 3.0]], dtype=torch.float64)
        return [
            made("four rows, five classes", draw(4, 5), [0, 4, 2, 2]),
            made("two of five rows are padding", draw(5, 4), [1, -100, 3, -100, 0]),
            made("padding everywhere but one row", draw(4, 3), [-100, -100, 2, -100]),
            made("another number for padding", draw(4, 6), [5, 0, 1, 0], 0),
            made("one row", draw(1, 7), [3]),
            made("one class", draw(3, 1), [0, 0, 0]),
            made("large logits", large, [0, 1]),
            made("large logits, the target is the least", large, [2, 0]),
            made("not contiguous", draw(5, 4).t(), [1, 2, 3, 4]),
            made("float32", draw(6, 9).float(), [1, 2, -100, 4, 8, 0], tolerance=1e-5),
        ]

    def timed(self) -> Timed:
        logits, targets = torch.randn(512, 1000), torch.arange(512)
        return Timed("[512, 1000]", lambda f: f["cross_entropy"](logits, targets, -100))

    def refusal(self, config: Mapping[str, Any]) -> str | None:
        task = (config.get("task") or {}).get("name")
        if task not in ("language_modeling", "seq2seq"):
            return f"it is the loss of models of texts (gpt, rnn_lm …), not of task={task}"
        return None

    def replacements(self, functions: Functions) -> Iterator[Replacement]:
        """The loss of both tasks that write texts; label smoothing is added by the program."""
        from scratchlab.models.layers.softcap import softcapped
        from scratchlab.tasks import language_modeling, seq2seq

        class Theirs(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, logits: Tensor, target: Tensor) -> Tensor:
                loss, gradient = functions["cross_entropy"](logits, target)
                ctx.save_for_backward(gradient)
                return loss * len(target)

            @staticmethod
            def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
                (gradient,) = ctx.saved_tensors
                return gradient * (grads[0] * len(gradient)), None

        def loss(
            hidden: Tensor,
            weight: Tensor,
            target: Tensor,
            label_smoothing: float = 0.0,
            softcap: float | None = None,
        ) -> tuple[Tensor, Tensor]:
            logits = softcapped((hidden @ weight.t()).float(), softcap)
            nll: Tensor = Theirs.apply(logits, target)
            if not label_smoothing:
                return nll, nll.detach()
            uniform = (logits.logsumexp(-1) - logits.mean(-1)).sum()
            total = (1 - label_smoothing) * nll + label_smoothing * uniform
            return total, nll.detach()

        for task in (language_modeling, seq2seq):
            yield Replacement(task, "linear_cross_entropy", loss)
            yield Replacement(task, "plain_cross_entropy", loss)
