"""What the model of a configuration consists of and what training it costs; nothing is trained."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch

from scratchlab.errors import UserError
from scratchlab.evaluation.cost.anatomy import Anatomy, Layer, dissect
from scratchlab.formatting import format_measurement
from scratchlab.lab import teachers
from scratchlab.lab.architecture import with_architecture
from scratchlab.lab.parts import Parts, data_context, read_data, with_representation
from scratchlab.lab.weights import assemble
from scratchlab.registry import build, is_estimator
from scratchlab.table import Table
from scratchlab.training.room import countable


def inspect(
    config: dict[str, Any], batch_size: int, length: int, overrides: Sequence[str] = ()
) -> Anatomy:
    """Build the model of a configuration without its numbers, and look at it through one batch."""
    config = with_architecture(config, overrides)
    if is_estimator(config):
        raise UserError(
            "inspect counts the layers of torch models; estimators have none",
            f"`scratchlab list model {config['model']['name']}` shows its options.",
        )
    context = with_representation(config, data_context(config), "cpu")
    plain = {k: False if k == "fused_loss" else v for k, v in config["task"].items()}
    dataset, task = read_data({**config, "task": plain}, context)
    limit = dataset.spec.max_length
    length = min(length, limit) if limit else length
    with torch.device("meta"):
        adapted = assemble(config, dataset, context, "meta")
    title = f"{config['model']['name']} on {config['dataset']['name']}"
    optimizer = build("optimizer", config["optimizer"])
    with countable():
        found = dissect(title, adapted.model, task, optimizer, batch_size, length)
    if config["method"]:
        with torch.device("meta"):
            whole = assemble({**config, "method": {}}, dataset, context, "meta").model
        found.whole = dissect(title, whole, task, optimizer, batch_size, length)
    found.arithmetic = [t for m in adapted.methods for t in m.arithmetic()]
    found.arithmetic += teachers.tables(Parts(config, dataset, task, adapted, None, "cpu"))
    return found


def tables(found: Anatomy) -> list[Table]:
    """Layers, operations and memory, as a person reads them."""
    rows = [
        [name, _kind(one.kind, len(alike)), " + ".join(one.shapes), one.output, f"{total:,}"]
        for name, alike in repeated(found.layers)
        for one, total in [(alike[0], sum(x.parameters for x in alike))]
    ]
    rows.append(["all", "", "", "", f"{found.parameters:,}"])
    if found.trainable != found.parameters:
        share = found.trainable / max(found.parameters, 1)
        rows.append(["trained", "", "", f"{share:.2%} of all", f"{found.trainable:,}"])
    layers = Table(found.title, ["layer", "kind", "weights", "output", "parameters"], rows)
    columns, step = ["what", "value"], step_rows(found)
    if found.whole is not None:
        columns = [*columns, "all weights trained"]
        step = [[*row, other[1]] for row, other in zip(step, step_rows(found.whole), strict=True)]
    title = f"One training step: {found.batch_size} × {found.length} tokens"
    more = [Table(t.title, list(t.columns), [list(r) for r in t.rows]) for t in found.arithmetic]
    return [layers, Table(title, columns, step), *more]


def step_rows(found: Anatomy) -> list[list[str]]:
    """What a training step computes and keeps in memory."""
    flops = [
        ("forward pass", found.forward_flops),
        ("backward pass", found.backward_flops),
        ("forward and backward", found.training_flops),
    ]
    a_token = found.training_flops / max(found.targets, 1)
    memory = [
        ("weights", found.weight_bytes),
        ("gradients", found.gradient_bytes),
        ("optimizer state", found.optimizer_bytes),
        ("activations", found.activation_bytes),
        ("training memory, gradients replacing activations", found.least_training_bytes),
        ("training memory, all at once", found.training_bytes),
    ]
    return [
        *([what, f"{count / 1e9:,.2f} GFLOP"] for what, count in flops),
        ["training, a target token", f"{a_token / 1e6:,.2f} MFLOP"],
        *([what, " ".join(format_measurement(size, None, "bytes"))] for what, size in memory),
    ]


def repeated(layers: Sequence[Layer]) -> list[tuple[str, list[Layer]]]:
    """Layers that differ by a number in their name only, together: ``decoder.0-5.cross.q``."""
    groups: dict[tuple[str, ...], list[Layer]] = {}
    for layer in layers:
        pattern = re.sub(r"(?<=\.)\d+(?=\.|$)", "#", layer.name)
        same = (pattern, layer.kind, *layer.shapes, layer.output, str(layer.trainable))
        groups.setdefault(same, []).append(layer)
    return [(_name(alike), alike) for alike in groups.values()]


def _kind(kind: str, count: int) -> str:
    return kind if count == 1 else f"{count} {kind}"


def _name(alike: Sequence[Layer]) -> str:
    """The common name, with the range of each number in it."""
    columns = zip(*(layer.name.split(".") for layer in alike), strict=True)
    return ".".join(_range(list(dict.fromkeys(parts))) for parts in columns)


def _range(parts: Sequence[str]) -> str:
    """``0-5`` for a run of numbers without gaps, ``0,2,5`` for others."""
    if len(parts) == 1:
        return parts[0]
    numbers = sorted(int(part) for part in parts)
    if numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]}-{numbers[-1]}"
    return ",".join(map(str, numbers))
