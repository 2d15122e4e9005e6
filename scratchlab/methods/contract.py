"""What a method promises: it changes a model, and what it added is what its checkpoint holds.

Methods are applied one after the other in the order of the configuration, after the model has its
weights and before it is trained or measured: ``method=[nf4,lora]`` is QLoRA. Which parameters train
is told by ``requires_grad``; a method that adds parameters freezes those that were there.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from scratchlab.data.contract import Spec
from scratchlab.models.contract import Model


@dataclass(frozen=True)
class MethodContext:
    """What a method may know beside the model.

    ``encode`` turns text into ids (None where the data set is no text); ``origin`` names the
    pretrained checkpoint the weights come from ("" if they come from nowhere). ``cache``: where
    choices that were made by measuring are kept (None: nowhere).
    """

    spec: Spec
    seed: int = 0
    encode: Callable[[str], list[int]] | None = None
    origin: str = ""
    cache: Path | None = None


class Arithmetic(NamedTuple):
    """A table for ``inspect``: what the method does to the numbers of this model."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]


class Method(ABC):
    """Registered as ``@register("method", NAME)``; built as ``cls(config)``.

    ``quantizes``: the method stores weights that were there in fewer bits. What it makes follows
    from them, so it is not written into the checkpoints of a run that trains something else.
    ``exports``: :meth:`export` writes something.
    ``notes``: what a person should know of what :meth:`apply` did, one line each.
    """

    registered_name: ClassVar[str] = ""
    quantizes: ClassVar[bool] = False
    exports: ClassVar[bool] = False
    notes: list[str]

    def __init__(self, config: Any) -> None:
        self.config = config
        self.notes = []

    @abstractmethod
    def apply(self, model: Model, context: MethodContext) -> Model:
        """Change ``model`` in place and return it, or return a module around it.

        Works on device ``meta`` as well. UserError where nothing in the model fits.
        """

    def penalty(self) -> Tensor | None:
        """A term that is added to the mean training loss of every batch, or None."""
        return None

    def export(self, folder: Path) -> None:  # noqa: B027 (most have nothing to write)
        """Write what other programs can load (the adapter's own format) into a checkpoint."""

    @property
    def mergeable(self) -> bool:
        """Whether :meth:`merge` gives the model's outputs without anything added to it."""
        return False

    def merge(self, model: nn.Module) -> None:  # noqa: B027 (most added nothing)
        """Put what was added into the weights that were there, for good."""

    def settings(self) -> dict[str, Any]:
        """What changes the meaning of figures measured with it: the arithmetic that ran."""
        return {}

    def unexportable(self) -> str | None:
        """Why :meth:`export` cannot write what is trained now, in the adapter's own format."""
        return None

    def arithmetic(self) -> list[Arithmetic]:
        """What was done, in numbers; after :meth:`apply`."""
        return []


class Adapter(nn.Module):
    """Base of modules that a method adds.

    Their own parameters and buffers belong to the method; a module named ``base`` inside, which
    they stand in for, does not.
    """


def freeze(model: nn.Module) -> None:
    """Stop the training of all parameters that no adapter added."""
    added = set(adapter_names(model))
    for name, parameter in model.named_parameters():
        if name not in added:
            parameter.requires_grad_(False)


def adapter_names(model: nn.Module) -> list[str]:
    """Names in ``state_dict`` of what adapters added."""
    kept = model.state_dict(keep_vars=True)
    found = []
    for prefix, module in model.named_modules():
        if not isinstance(module, Adapter):
            continue
        start = f"{prefix}." if prefix else ""
        found += [n for n in kept if n.startswith(start) and not n.startswith(f"{start}base.")]
    return list(dict.fromkeys(found))


class StoredMatrix(nn.Module, ABC):
    """Base of modules that keep a matrix in fewer bits, as buffers.

    ``quantized_shape``: [out, in] of the matrix, () where another module inside keeps it.
    """

    @property
    @abstractmethod
    def quantized_shape(self) -> tuple[int, ...]: ...

    @abstractmethod
    def dequantize(self) -> Tensor:
        """The matrix as float32 [out, in]."""


def quantized_shape(module: nn.Module) -> tuple[int, ...]:
    """[out, in] of the matrix that a module keeps in fewer bits; () if it does not."""
    return module.quantized_shape if isinstance(module, StoredMatrix) else ()


def parameter_counts(model: nn.Module) -> tuple[int, int]:
    """All parameters and those that train; quantized weights count, tied ones once."""
    parameters = list(model.parameters())
    stored = [math.prod(shape) for m in model.modules() if (shape := quantized_shape(m))]
    total = sum(p.numel() for p in parameters) + sum(stored)
    return total, sum(p.numel() for p in parameters if p.requires_grad)


def own_state(model: nn.Module, *, with_base: bool) -> list[str]:
    """Names in ``state_dict`` of what a checkpoint has to hold.

    With the base that is everything, each tensor once (tied weights have one name). Without it,
    that is what trains and what adapters added; all again if nothing trains.
    """
    state = model.state_dict(keep_vars=True)
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    if with_base or not trained:
        seen: set[tuple[int, int, tuple[int, ...]]] = set()
        names = []
        for name, tensor in state.items():
            key = (id(tensor), tensor.storage_offset(), tuple(tensor.shape))
            if key in seen:
                continue
            seen.add(key)
            names.append(name)
        return names
    added = set(adapter_names(model))
    return [n for n in state if n in trained or n in added]
