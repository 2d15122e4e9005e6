"""How big a model is: what trains, what lies in memory, what a checkpoint of it takes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.methods.contract import parameter_counts
from scratchlab.registry import register


@register(
    "evaluator",
    "size",
    cost=True,
    measures={
        "parameters": "lower",
        "trainable_parameters": "lower",
        "memory_size": "lower",
        "checkpoint_size": "lower",
    },
)
class Size(Evaluator):
    """Count parameters and bytes; a weight that two places share (tied embeddings) counts once.

    Quantized weights count as parameters. An adapter's checkpoint holds the adapter only.
    """

    @dataclass(frozen=True)
    class Config:
        """Nothing to choose."""

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        model = context.model
        if not isinstance(model, torch.nn.Module):
            return []
        parameters = list(model.parameters())  # each once, also where it is tied
        total, trainable = parameter_counts(model)
        memory = storage_bytes([*parameters, *model.buffers()])
        state = model.state_dict() if context.adapted is None else context.adapted.state()
        saved = storage_bytes(v for v in state.values() if torch.is_tensor(v))
        figures = [
            ("parameters", total, ""),
            ("trainable_parameters", trainable, ""),
            ("memory_size", memory, "bytes"),
            ("checkpoint_size", saved, "bytes"),
        ]
        return [
            Measurement(name=name, value=float(value), unit=unit, better="lower")
            for name, value, unit in figures
        ]


def storage_bytes(tensors: Iterable[torch.Tensor]) -> int:
    """The bytes that tensors take together; what two of them share counts once."""
    return sum(
        {
            (t.untyped_storage().data_ptr(), t.device): t.untyped_storage().nbytes()
            for t in tensors
            if t.numel()
        }.values()
    )
