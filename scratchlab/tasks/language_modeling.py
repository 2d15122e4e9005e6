"""Language modelling: every token is predicted from those before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from scratchlab.data.contract import IGNORE, Spec, TokenBatch
from scratchlab.errors import UserError
from scratchlab.models.contract import LanguageModel, Writer
from scratchlab.registry import option, register
from scratchlab.tasks.contract import Loss, Predicted, Task
from scratchlab.tasks.cross_entropy import linear_cross_entropy, plain_cross_entropy

# Logits computed at once where the output layer is no plain matrix: rows times vocabulary.
AT_ONCE = 1 << 23


def segment_mask(segments: Tensor) -> Tensor:
    """segments [B, T] → [B, 1, T, T] to be added to scores: each token sees those of its own
    segment that do not come after it."""
    same = segments[:, :, None] == segments[:, None, :]
    same &= torch.ones(same.shape[1:], dtype=torch.bool, device=same.device).tril()
    return torch.zeros(same.shape, device=same.device).masked_fill_(~same, float("-inf"))[:, None]


def projected_cross_entropy(
    model: Writer, hidden: Tensor, target: Tensor, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The two sums of an output layer that a method changed, asked through ``model.project``.

    A chunk of rows at a time; where there are several, their logits are computed again for the
    gradient instead of being kept.
    """
    vocabulary = int(model.output.out_features)
    rows = max(16, AT_ONCE // vocabulary)

    def chunk(h: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        log_p = F.log_softmax(model.project(h).float(), -1)
        nll = -log_p.gather(1, y[:, None]).sum()
        total = nll
        if smoothing:
            total = (1 - smoothing) * nll - smoothing * log_p.mean(-1).sum()
        return total, nll.detach()

    totals, nlls = [hidden.new_zeros(())], [hidden.new_zeros(())]
    again = torch.is_grad_enabled() and hidden.device.type != "meta" and len(hidden) > rows
    for h, y in zip(hidden.split(rows), target.split(rows), strict=True):
        if again:
            total, nll = checkpoint(chunk, h, y, use_reentrant=False)
        else:
            total, nll = chunk(h, y)
        totals.append(total)
        nlls.append(nll)
    return torch.stack(totals).sum(), torch.stack(nlls).sum()


@register("task", "language_modeling")
class LanguageModeling(Task):
    """Cross-entropy of each target given the tokens before it; ``IGNORE`` marks what has none."""

    @dataclass(frozen=True)
    class Config:
        label_smoothing: float = option(
            0.0, "share of the target spread evenly over the vocabulary in training", min=0, below=1
        )
        fused_loss: bool = option(
            True, "compute output layer and loss in chunks instead of keeping all logits"
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)

    def loss(self, model: LanguageModel, batch: TokenBatch) -> Loss:
        """Sums over all positions that have a target; no label smoothing in eval mode.

        The output layer sees only those positions.
        """
        hidden, target, _ = self.predicted(model, batch)
        smoothing = self.config.label_smoothing if model.training else 0.0
        if model.adaptive is not None:
            total, nll = self.adaptive_loss(model.adaptive, hidden, target)
        elif (weight := model.output_weight) is None:
            total, nll = projected_cross_entropy(model, hidden, target, smoothing)
        else:
            total, nll = self.cross_entropy(hidden, weight, target, smoothing, model.softcap)
        return Loss(total=total, count=len(target), nll=nll.detach())

    def predicted(self, model: LanguageModel, batch: TokenBatch) -> Predicted:
        """The model's last layer at all positions that have a target [N, D]."""
        target = batch.targets.flatten()
        hidden = self.hidden(model, batch).flatten(0, 1)  # [B * T, D]
        if target.device.type != "meta":  # where contents are unknown, every row counts
            rows = (target != IGNORE).nonzero()[:, 0]
            if len(rows) < len(target):
                hidden, target = hidden[rows], target[rows]
        return Predicted(hidden, target, model.project)

    def hidden(self, model: LanguageModel, batch: TokenBatch) -> Tensor:
        """The model's last layer, [B, T, D]. Recurrent models are told where texts begin."""
        if batch.segments is not None:
            return model.hidden(batch.tokens, batch.positions, segment_mask(batch.segments))
        cache = None if batch.starts is None else model.carried(batch.starts)
        return model.hidden(batch.tokens, cache=cache)

    def wanted(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """The ids that are to be predicted [B, T], and which of these places count."""
        return batch.targets, batch.targets != IGNORE

    def cross_entropy(
        self,
        hidden: Tensor,
        weight: Tensor,
        target: Tensor,
        smoothing: float = 0.0,
        softcap: float | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Sum with label smoothing and plain sum, over hidden [N, D] against weight [V, D]."""
        if self.config.fused_loss:
            return linear_cross_entropy(hidden, weight, target, smoothing, softcap=softcap)
        return plain_cross_entropy(hidden, weight, target, smoothing, softcap=softcap)

    def adaptive_loss(self, adaptive: Any, hidden: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The same of an adaptive softmax: the losses of its pieces, added."""
        if self.config.label_smoothing:
            raise UserError(
                "label smoothing is not defined for an adaptive softmax",
                "Set task.label_smoothing=0 or model.output=full.",
            )
        pieces = [
            self.cross_entropy(piece.hidden, piece.weight, piece.target)
            for piece in adaptive.pieces(hidden, target)
        ]
        return torch.stack([t for t, _ in pieces]).sum(), torch.stack([n for _, n in pieces]).sum()

    def example_batch(self, batch_size: int, length: int, device: str = "cpu") -> TokenBatch:
        vocabulary = self.spec.vocab_size
        assert vocabulary is not None
        # arbitrary ids; remainders need no random state and exist on the device meta
        count = torch.arange(batch_size * (length + 1), device=device) % vocabulary
        text = count.view(batch_size, length + 1)
        return TokenBatch(
            tokens=text[:, :-1],
            targets=text[:, 1:],
            indices=torch.arange(batch_size, device=device),
            starts=torch.ones(batch_size, dtype=torch.bool, device=device),
        )
