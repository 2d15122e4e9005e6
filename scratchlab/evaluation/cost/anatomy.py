"""What a model consists of and what a training step costs, found on device ``meta``.

On ``meta`` tensors have shapes and no content: a model of any size is built and run in no memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from scratchlab.methods.contract import parameter_counts, quantized_shape
from scratchlab.models.contract import Model
from scratchlab.tasks.contract import Task


@dataclass(frozen=True)
class Layer:
    """A module that holds parameters of its own."""

    name: str
    kind: str
    shapes: tuple[str, ...]
    output: str
    parameters: int
    trainable: int


@dataclass
class Anatomy:
    """Sizes in bytes; operations are for the whole batch."""

    title: str
    layers: list[Layer] = field(default_factory=list)
    parameters: int = 0
    trainable: int = 0
    batch_size: int = 0
    length: int = 0
    targets: int = 0
    forward_flops: int = 0
    backward_flops: int = 0
    weight_bytes: int = 0
    gradient_bytes: int = 0
    optimizer_bytes: int = 0
    activation_bytes: int = 0
    arithmetic: list[Any] = field(default_factory=list)
    whole: Anatomy | None = None  # the same model with all weights trained, where methods change it

    @property
    def training_flops(self) -> int:
        return self.forward_flops + self.backward_flops

    @property
    def training_bytes(self) -> int:
        """All that a training step keeps, as if it were kept all at once."""
        return (
            self.weight_bytes + self.gradient_bytes + self.optimizer_bytes + self.activation_bytes
        )

    @property
    def least_training_bytes(self) -> int:
        """What it keeps if every activation went before its gradient came.

        The peak is between the two, and above that by what single products need for a moment.
        """
        shared = max(self.gradient_bytes, self.activation_bytes)
        return self.weight_bytes + self.optimizer_bytes + shared


def dissect(
    title: str, model: Model, task: Task, optimizer: Any, batch_size: int, length: int
) -> Anatomy:
    """Look at ``model`` (on ``meta``) through one batch of ``task``.

    Operations are counted by torch's own counter (two for a multiplication and an addition) over
    the forward pass and over the backward pass as autograd goes it: twice as many where everything
    trains; a frozen weight has no product for its own gradient, and below the first weight that
    trains nothing is computed. Activations are what autograd keeps for the backward pass, counted
    once however often it is kept. Weights that are stored in fewer bits count with those.
    """
    found = Anatomy(title, batch_size=batch_size, length=length)
    outputs: dict[str, str] = {}
    hooks = [
        module.register_forward_hook(_note_output(name, outputs))
        for name, module in model.named_modules()
    ]
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[id(tensor.untyped_storage())] = tensor
        return tensor

    model.train()
    batch = task.example_batch(batch_size, length, "meta")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        loss = task.loss(model, batch)
    for hook in hooks:
        hook.remove()
    found.activation_bytes = _activation_bytes(model, kept)
    if loss.total.requires_grad:
        with FlopCounterMode(display=False) as backward:
            loss.total.backward()
        found.backward_flops = backward.get_total_flops()
        found.optimizer_bytes = optimizer_bytes(model, optimizer)
        model.zero_grad(set_to_none=True)
    model.eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        task.loss(model, batch)
    found.forward_flops = counter.get_total_flops()
    found.targets = int(loss.count)
    found.parameters, found.trainable = parameter_counts(model)
    stored = [*model.parameters(), *model.buffers()]
    found.weight_bytes = sum(t.numel() * t.element_size() for t in stored)
    trained = [p for p in model.parameters() if p.requires_grad]
    found.gradient_bytes = sum(p.numel() * p.element_size() for p in trained)
    found.layers = _layers(model, outputs)
    return found


def _activation_bytes(model: nn.Module, kept: dict[int, Tensor]) -> int:
    """What is kept for the backward pass beside the model's own weights."""
    own = {id(t.untyped_storage()) for t in (*model.parameters(), *model.buffers())}
    return sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in own)


def optimizer_bytes(model: Model, optimizer: Any) -> int:
    """What the optimizer keeps for the weights that have a gradient, after one update of them; its
    counters of updates are left out."""
    built = optimizer.build(model.named_parameters(), model.tables())
    built.step()
    kept = [t for entry in built.state.values() for t in entry.values() if isinstance(t, Tensor)]
    return sum(t.numel() * t.element_size() for t in kept if t.dim())


def _note_output(name: str, outputs: dict[str, str]) -> Any:
    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            outputs[name] = shape(output.shape)

    return note


def shape(sizes: Sequence[int]) -> str:
    """``16×32×128``."""
    return "×".join(map(str, sizes))


def _layers(model: nn.Module, outputs: dict[str, str]) -> list[Layer]:
    layers, seen = [], set()
    for name, module in model.named_modules():
        own = [(n, p) for n, p in module.named_parameters(recurse=False)]
        fresh = [(n, p) for n, p in own if id(p) not in seen]
        seen |= {id(p) for _, p in own}
        stored = quantized_shape(module)
        if not own and not stored:
            continue
        shapes = [tuple(p.shape) for _, p in own]
        layers.append(
            Layer(
                name=name or "(model)",
                kind=type(module).__name__,
                shapes=tuple(map(shape, [stored, *shapes] if stored else shapes)),
                output=outputs.get(name, ""),
                parameters=sum(p.numel() for _, p in fresh) + (math.prod(stored) if stored else 0),
                trainable=sum(p.numel() for _, p in fresh if p.requires_grad),
            )
        )
    return layers
