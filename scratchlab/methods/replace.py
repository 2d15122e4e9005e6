"""Module surgery: finding the layers that a method means, and putting others in their place.

Layers are named as the model names them (``h.3.attn.c_attn``). A target matches a layer whose name
it is, whose name ends with it at a dot, or that it matches as a pattern (``*.attn.*``). Three words
stand for many layers: ``attention`` and ``mlp`` for the linear layers inside the numbered blocks
that belong (or do not belong) to attention, ``linear`` for both. This project's attention is an
:class:`~scratchlab.models.layers.attention.Attention`; that of transformers tells by its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from scratchlab.errors import UserError, suggest
from scratchlab.methods.contract import Adapter
from scratchlab.models.layers.attention import Attention

ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
GROUPS = ("attention", "mlp", "linear")


def is_conv1d(module: nn.Module) -> bool:
    """GPT-2's linear layer in transformers, whose weight is stored as [in, out]."""
    return type(module).__name__ == "Conv1D" and hasattr(module, "nf")


def linear_shape(module: nn.Module) -> tuple[int, int] | None:
    """(in, out) of a linear layer of any kind, quantized ones too; None for everything else."""
    if is_conv1d(module):
        weight: Any = module.weight
        return int(weight.shape[0]), int(weight.shape[1])
    inside, outside = getattr(module, "in_features", None), getattr(module, "out_features", None)
    if isinstance(inside, int) and isinstance(outside, int):
        return inside, outside
    return None


def linear_weight(module: nn.Module) -> Tensor:
    """The weight of an unquantized linear layer as [out, in] (a view, also of a Conv1D's)."""
    weight: Any = module.weight
    return weight.t() if is_conv1d(module) else weight


def block_number(name: str) -> int | None:
    """The number of the block that a layer's name leads through: 3 of ``h.3.attn.c_attn``."""
    return next((int(part) for part in name.split(".") if part.isdigit()), None)


def _inside_adapter(model: nn.Module, name: str) -> str | None:
    """The name without the steps into the ``base`` of adapters; None for parts of an adapter."""
    kept: list[str] = []
    current = model
    for step in name.split(".") if name else []:
        adapter = isinstance(current, Adapter)
        current = current.get_submodule(step)
        if adapter and step != "base":
            return None
        if not adapter:
            kept.append(step)
    return ".".join(kept)


def find_layers(
    model: nn.Module,
    targets: Sequence[str],
    option: str,
    blocks: Sequence[int] | None = None,
    accept: Callable[[nn.Module], bool] = lambda module: linear_shape(module) is not None,
) -> list[str]:
    """The names of the layers that ``targets`` mean, only within ``blocks`` if given.

    Every target must match something (``option`` names the setting in the message); blocks below
    0 count from the end.

    Raises:
        UserError: a target or a block that is not there, with the names that are.
    """
    layers = {n: m for n, m in layer_names(model).items() if accept(m)}
    groups = {n: group_of(model, n) for n in layers}
    found: list[str] = []
    for target in targets:
        matched = [n for n in layers if matches(n, target, groups[n])]
        if not matched:
            raise _no_match(target, groups, option)
        found += matched
    chosen = [n for n in layers if n in set(found)]
    if blocks is None:
        return chosen
    numbers = sorted({b for n in layers if (b := block_number(n)) is not None})
    wanted = set()
    for block in blocks:
        if not numbers or not -len(numbers) <= block < len(numbers):
            raise UserError(
                f"{option}: this model has no block {block}",
                f"Its {len(numbers)} blocks have the numbers 0 to {len(numbers) - 1}.",
            )
        wanted.add(numbers[block])
    return [n for n in chosen if block_number(n) in wanted]


def group_of(model: nn.Module, name: str) -> str | None:
    """``attention`` or ``mlp`` for a layer inside the numbered blocks; None for others."""
    if block_number(name) is None:
        return None
    steps = name.split(".")
    around = (model.get_submodule(".".join(steps[:i])) for i in range(1, len(steps)))
    if any(isinstance(m, Attention) for m in around) or any(map(ATTENTION.search, steps)):
        return "attention"
    return "mlp"


def _no_match(target: str, layers: Mapping[str, str | None], option: str) -> UserError:
    """The message where a target means nothing, with what would mean something; ``layers`` by name
    with their groups."""
    why = ""
    if target in GROUPS:
        inside = " of attention" if target == "attention" else ""
        why = f": it has no such layer{inside} in numbered blocks"
    known = [g for g in GROUPS if any(matches(n, g, own) for n, own in layers.items())]
    known += short_names(layers)
    hint = suggest(target, known, "Layers") or "It has no linear layer that this method can take."
    return UserError(f"{option}: {target!r} matches no layer of this model{why}", hint)


def layer_names(model: nn.Module) -> dict[str, nn.Module]:
    """Every module by its real name, but for what adapters added."""
    return {
        name: module
        for name, module in model.named_modules()
        if name and not isinstance(module, Adapter) and _inside_adapter(model, name) is not None
    }


def matches(name: str, target: str, group: str | None) -> bool:
    """Whether a target means the layer ``name`` of a group; see the module's text."""
    plain = name.removesuffix(".base")
    if target in GROUPS:
        return group is not None and target in (group, "linear")
    return plain == target or plain.endswith(f".{target}") or fnmatchcase(plain, target)


def short_names(names: Iterable[str]) -> list[str]:
    """Layer names without the way to their block: ``attn.c_attn`` for every ``h.N.attn.c_attn``."""
    short = []
    for name in names:
        parts = name.removesuffix(".base").split(".")
        numbers = [i for i, part in enumerate(parts) if part.isdigit()]
        short.append(".".join(parts[numbers[0] + 1 :] if numbers else parts))
    return [n for n in dict.fromkeys(short) if n]


def replace_module(model: nn.Module, name: str, new: nn.Module) -> None:
    """Put ``new`` in the place of the module ``name``, also where it stands under another name."""
    old = model.get_submodule(name)
    for place in [n for n, m in model.named_modules(remove_duplicate=False) if m is old]:
        parent, _, leaf = place.rpartition(".")
        owner: Any = model.get_submodule(parent)
        if isinstance(owner, nn.ModuleList | nn.Sequential):
            owner[int(leaf)] = new
        else:
            setattr(owner, leaf, new)


def without_adapters(layer: nn.Module) -> nn.Module:
    """The layer that adapters stand in for."""
    while isinstance(layer, Adapter):
        inside: Any = layer.base
        layer = inside
    return layer


def name_of(model: nn.Module, layer: nn.Module) -> str:
    """The (first) name of a module."""
    return next(n for n, m in model.named_modules() if m is layer)


def sharers(model: nn.Module, weight: Tensor) -> list[str]:
    """The modules that hold this very tensor (tied weights have several), by name."""
    return [
        name
        for name, module in model.named_modules()
        if any(p is weight for p in module._parameters.values())
    ]
