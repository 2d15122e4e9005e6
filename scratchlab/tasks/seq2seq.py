"""Translation and other tasks from one sequence to another, by teacher forcing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scratchlab.data.contract import Seq2SeqBatch, Spec
from scratchlab.models.contract import Seq2SeqModel
from scratchlab.registry import option, register
from scratchlab.tasks.contract import Loss, Predicted, Task
from scratchlab.tasks.cross_entropy import linear_cross_entropy, plain_cross_entropy
from scratchlab.tasks.language_modeling import projected_cross_entropy


@register("task", "seq2seq")
class Seq2Seq(Task):
    """Cross-entropy of each target token given the source and the target tokens before it."""

    @dataclass(frozen=True)
    class Config:
        label_smoothing: float = option(
            0.1, "share of the target spread evenly over the vocabulary in training", min=0, below=1
        )
        fused_loss: bool = option(
            True, "compute output layer and loss in chunks instead of keeping all logits"
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        assert spec.pad_id is not None
        self.pad_id = spec.pad_id

    def loss(self, model: Seq2SeqModel, batch: Seq2SeqBatch) -> Loss:
        """Sums over all target tokens that are no padding; no label smoothing in eval mode."""
        hidden, target, _ = self.predicted(model, batch)
        smoothing = self.config.label_smoothing if model.training else 0.0
        weight = model.output_weight
        if weight is None:
            total, nll = projected_cross_entropy(model, hidden, target, smoothing)
        elif self.config.fused_loss:
            total, nll = linear_cross_entropy(
                hidden, weight, target, smoothing, softcap=model.softcap
            )
        else:
            total, nll = plain_cross_entropy(
                hidden, weight, target, smoothing, softcap=model.softcap
            )
        return Loss(total=total, count=len(target), nll=nll.detach())

    def predicted(self, model: Seq2SeqModel, batch: Seq2SeqBatch) -> Predicted:
        """The decoder's last layer at all target tokens that are no padding [N, D]."""
        target = batch.target_out.flatten()
        hidden = self.hidden(model, batch).flatten(0, 1)  # [B * T, D]
        if target.device.type != "meta":  # where contents are unknown, every row counts
            rows = (target != self.pad_id).nonzero()[:, 0]
            if len(rows) < len(target):
                hidden, target = hidden[rows], target[rows]
        return Predicted(hidden, target, model.project)

    def hidden(self, model: Seq2SeqModel, batch: Seq2SeqBatch) -> Tensor:
        """The decoder's last layer, [B, T, D]."""
        padding = model.padding(batch.source)
        memory = model.encode(batch.source, padding)
        return model.decode(batch.target_in, memory, padding)

    def wanted(self, batch: Seq2SeqBatch) -> tuple[Tensor, Tensor]:
        """The ids that are to be predicted [B, T], and which of these places count."""
        return batch.target_out, batch.target_out != self.pad_id

    def example_batch(self, batch_size: int, length: int, device: str = "cpu") -> Seq2SeqBatch:
        spec = self.spec
        assert spec.vocab_size is not None and spec.source_vocab_size is not None

        def ids(vocabulary: int) -> Tensor:
            # arbitrary ids without padding; remainders need no random state and exist on meta
            count = torch.arange(batch_size * length, device=device).view(batch_size, length)
            first = self.pad_id + 1
            return first + count % max(1, vocabulary - first)

        return Seq2SeqBatch(
            source=ids(spec.source_vocab_size),
            target_in=ids(spec.vocab_size),
            target_out=ids(spec.vocab_size),
            indices=torch.arange(batch_size, device=device),
        )
