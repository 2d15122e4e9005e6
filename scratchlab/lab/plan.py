"""What training a configuration takes on devices that need not be here: memory, time, cost.

Memory is found by running an update on shapes alone (:mod:`scratchlab.evaluation.cost.peak`); time
is the operations of that update over what the devices compute, at a share of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import torch

from scratchlab.errors import UserError
from scratchlab.evaluation.cost.anatomy import dissect, optimizer_bytes
from scratchlab.evaluation.cost.devices import here, memory_of
from scratchlab.evaluation.cost.kinds import Device, kind_of
from scratchlab.evaluation.cost.peak import peak_bytes
from scratchlab.lab.parts import data_context, read_data, with_representation
from scratchlab.lab.weights import assemble
from scratchlab.methods.adapted import Adapted
from scratchlab.models.contract import Model
from scratchlab.registry import build, is_estimator
from scratchlab.table import Table
from scratchlab.tasks.contract import Task
from scratchlab.tasks.cross_entropy import GPU_CHUNK_BYTES
from scratchlab.training.loss_module import LossModule
from scratchlab.training.memory import BATCH_OPTIONS, automatic
from scratchlab.training.parallel.sharding import layers
from scratchlab.training.precision import choose_device
from scratchlab.training.room import countable
from scratchlab.training.stages import mean_accumulate

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
SHARES = {False: 0.27, True: 0.39}
"""Of a GPU's stated FLOP/s, by whether the loss is compiled: what GPT-2 small reached on an H200
(docs/gpu.md)."""


@dataclass
class Planned:
    """A model on ``meta`` with what it is trained with; sizes in bytes."""

    config: Mapping[str, Any]
    dataset: Any
    task: Task
    adapted: Adapted
    moments: int
    found: dict[tuple[int, str, bool], int] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Planned:
        if is_estimator(config) or config["trainer"]["name"] != "gradient":
            raise UserError(
                f"model={config['model']['name']}: a plan is of models that are trained in batches",
                "Estimators learn on the processor, from all of their data.",
            )
        context = with_representation(config, data_context(config), "cpu")
        dataset, task = read_data(config, context)
        with countable(), torch.device("meta"):
            adapted = assemble(dict(config), dataset, context, "meta")
        model = adapted.model
        for parameter in model.parameters():
            parameter.grad = torch.empty_like(parameter) if parameter.requires_grad else None
        moments = optimizer_bytes(model, build("optimizer", config["optimizer"]))
        model.zero_grad(set_to_none=True)
        return cls(config, dataset, task, adapted, moments)

    @property
    def model(self) -> Model:
        model: Model = self.adapted.model
        return model

    @property
    def weights(self) -> int:
        """Of the model and, where one is kept, of its moving average."""
        stored = {id(t): t for t in (*self.model.parameters(), *self.model.buffers())}
        kept = sum(t.numel() * t.element_size() for t in stored.values())
        trainer = self.config["trainer"]
        return kept + (self.gradients if trainer["average"] or trainer["average_last"] else 0)

    @property
    def gradients(self) -> int:
        trained = (p for p in self.model.parameters() if p.requires_grad)
        return sum(p.numel() * p.element_size() for p in trained)

    @property
    def length(self) -> int:
        """The longest text of a batch; 1 where its rows are none."""
        spec = self.dataset.spec
        return max(spec.max_length or 1, spec.max_source_length or 1) if spec.vocab_size else 1

    @property
    def unit(self) -> str:
        """The option that says how large a batch is."""
        options = self.config["dataset"]
        return next((name for name in BATCH_OPTIONS if name in options), "")

    @property
    def per_row(self) -> int:
        """How much of that option a row of the longest texts takes."""
        if self.unit != "batch_tokens":
            return 1
        return self.length * (2 if self.config["task"]["name"] == "seq2seq" else 1)

    @property
    def rows(self) -> int:
        """Rows of a batch of the longest texts, as the configuration has it."""
        value = self.config["dataset"].get(self.unit, 1)
        return max(1, int(value) // self.per_row)

    def passing(self, rows: int, precision: str = "fp32", on_cpu: bool = True) -> int:
        """What an update makes beside weights and moments (gradients too), at most at a time."""
        key = (rows, precision, on_cpu)
        if key not in self.found:
            accumulate = math.ceil(mean_accumulate(self.config["trainer"]))
            size = (rows, self.length, DTYPES[precision], accumulate, on_cpu)
            with countable():
                self.found[key] = peak_bytes(self.model, self.task, *size)
        return self.found[key] + (0 if on_cpu else self._chunk(rows))

    def _chunk(self, rows: int) -> int:
        """Where the loss is computed in chunks of logits, those of a GPU are larger: on ``meta``
        they are a CPU's."""
        vocabulary = self.dataset.spec.vocab_size
        if not vocabulary or not self.config["task"].get("fused_loss"):
            return 0
        return min(GPU_CHUNK_BYTES, 4 * vocabulary * rows * self.length) * 3 // 2

    def bytes(self, rows: int, length: int | None = None) -> int:
        """All that training in fp32 on a CPU needs for a batch of so many rows of a ``length``."""
        accumulate = math.ceil(mean_accumulate(self.config["trainer"]))
        size = length or self.length
        made = peak_bytes(self.model, self.task, rows, size, accumulate=accumulate)
        return self.weights + self.moments + made

    def needed(self, rows: int, device: Device, count: int = 1, fsdp: bool = False) -> int:
        """What each of ``count`` devices needs for a batch of so many rows in all."""
        precision = device.precision(self.config["trainer"]["precision"])
        made = self.passing(-(-rows // count), precision, device.on_cpu)
        held = self.weights + self.moments
        if count == 1:
            return held + made
        if not fsdp:
            return held + made + self.gradients  # they are sent in buckets that are copies
        units = [sum(p.numel() * p.element_size() for p in m.parameters()) for m in self._units]
        together = self.weights - sum(units) + 2 * max(units, default=0)
        return (held + self.gradients) // count + together + max(0, made - self.gradients)

    @property
    def _units(self) -> list[Any]:
        return layers(LossModule(self.adapted, self.task))

    def largest(self, device: Device, count: int = 1, fsdp: bool = False) -> int:
        """The most rows that a batch may have so that each device has room for it; 0: none.

        What a batch needs grows with its rows along a line once its activations are more than the
        gradients, which are there whatever its size.
        """
        most, room = max(1, self.most // count), device.room

        def needed(rows: int) -> int:
            return self.needed(rows * count, device, count, fsdp)

        precision = device.precision(self.config["trainer"]["precision"])
        low = 1
        while self.passing(low, precision, device.on_cpu) < 2 * self.gradients and low < most:
            if needed(low) > room:
                break
            low *= 2
        if needed(low) > room:  # between half of it, which has room, and it
            high, low = low, low // 2
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if needed(middle) <= room else (low, middle)
            return low * count
        slope = (needed(2 * low) - needed(low)) / low
        return min(most, low + int((room - needed(low)) / max(slope, 1.0))) * count

    @property
    def most(self) -> int:
        """Rows that there are to train on."""
        options, size = self.config["dataset"], int(self.dataset.size("train"))
        return max(1, size // options["block_size"] if "block_size" in options else size)

    def updates(self) -> int:
        seed, dataset = self.config["seed"], self.dataset
        counted = SimpleNamespace(
            batch_count=lambda epoch: dataset.batch_count("train", seed=seed, epoch=epoch)
        )
        return int(build("trainer", self.config["trainer"]).total_steps(counted))

    def flops(self) -> float:
        """Of an update with the batch of the configuration, forward and backward."""
        optimizer = build("optimizer", self.config["optimizer"])
        plain = dict(self.config["task"])
        plain |= {"fused_loss": False} if "fused_loss" in plain else {}
        task = build("task", plain, self.dataset.spec)
        found = dissect("", self.model, task, optimizer, self.rows, self.length)
        return found.training_flops * mean_accumulate(self.config["trainer"])


def settled(
    config: dict[str, Any], device: Device, count: int = 1, fsdp: bool = False
) -> tuple[dict[str, Any], str]:
    """``dataset.batch_size=auto`` (or ``batch_tokens``) as the largest that each of ``count``
    devices has room for, and a line that says so; the configuration as it is, if it says a number.

    Raises:
        UserError: not even one row has room.
    """
    unit = automatic(config)
    if unit is None:
        return config, ""
    planned = Planned.of(_with(config, unit, 1))
    key, rows = f"dataset.{unit}=auto", planned.largest(device, count, fsdp)
    if not rows:
        needed = planned.needed(count, device, count, fsdp)
        raise UserError(
            f"{key}: not one row has room: it needs {_size(needed)}, and {device.name} has "
            f"{_size(device.room)} for tensors",
            "Make the model smaller (model.d_model), or its texts shorter.",
        )
    value = rows * planned.per_row
    needed = planned.needed(rows, device, count, fsdp)
    everything = " (all there is to train on)" if rows // count >= planned.most // count else ""
    text = f"{key}: {value:,}{everything}, which needs {_size(needed)} of {_size(device.room)}"
    return _with(config, unit, value), text + (f" on each of {count}" if count > 1 else "")


def settled_here(config: dict[str, Any], count: int) -> tuple[dict[str, Any], str]:
    """The same for the device that is here, of which each of ``count`` processes has one; a CPU's
    memory is shared by all of them."""
    if automatic(config) is None:
        return config, ""
    torch_device = choose_device(config["device"])
    found = memory_of(torch_device)
    wanted = config["trainer"].get("precision", "auto")
    known = ("bf16", "fp16", "fp32") if torch_device.type == "cuda" else ("fp32", wanted)
    flops = {name: 1.0 for name in known if name != "auto"}
    memory = found.memory // (count if found.on_cpu else 1)
    device = replace(found, flops=flops, memory=memory)
    return settled(config, device, count, config["trainer"].get("strategy") == "fsdp")


def _with(config: Mapping[str, Any], unit: str, value: int) -> dict[str, Any]:
    return {**config, "dataset": {**config["dataset"], unit: value}}


def plan_of(
    config: Mapping[str, Any], kind: str | None, numbers: Mapping[str, float]
) -> tuple[Table, list[str]]:
    """The plan for a ``kind`` of device (``here``: the one that is), or for ``flops`` and
    ``memory``, and what is to be known of it."""
    wanted = config["trainer"].get("precision", "auto")
    if kind is None:
        missing = [f"{name}=…" for name in ("flops", "memory") if name not in numbers]
        if missing:
            problem = f"a plan needs a kind of device, or {' and '.join(missing)}"
            raise UserError(problem, "For example kind=h100, or flops=312T memory=80G.")
        found = Device("device", 0, {})
    elif kind == "here":
        found = here(choose_device(config["device"]), wanted)
    else:
        found = kind_of(kind)
    flops = dict.fromkeys(DTYPES, numbers["flops"]) if "flops" in numbers else found.flops
    memory = int(numbers.get("memory", found.memory))
    device = replace(found, flops=flops, memory=memory)
    count = int(numbers.get("devices", 1))
    config, said = settled(dict(config), device, count)
    planned = Planned.of(config)
    table, notes = plan_table(planned, device, count, numbers.get("share"), numbers.get("price"))
    return table, [*notes, *([said] if said else [])]


def plan_table(
    planned: Planned, device: Device, count: int, share: float | None, price: float | None
) -> tuple[Table, list[str]]:
    """Memory of a device, whether it fits, the largest batch, time and cost; and what to know."""
    trainer = planned.config["trainer"]
    precision = device.precision(trainer["precision"])
    share = share or (SHARES[bool(trainer["compile"])] if not device.on_cpu else 0.6)
    ways = [False, True] if count > 1 else [False]
    rows = planned.rows
    needed = [planned.needed(rows, device, count, way) for way in ways]
    largest = [planned.largest(device, count, way) for way in ways]
    updates, flops = planned.updates(), planned.flops()
    seconds = flops * updates / (device.flops[precision] * share * count)
    same = len(ways)

    def each(value: str) -> list[str]:
        return [value] * same

    units = f"dataset.{planned.unit}"
    table = [
        ["weights, optimizer state, in all", *each(_size(planned.weights + planned.moments))],
        [f"batch: {units}", *each(f"{planned.config['dataset'].get(planned.unit, 1):,}")],
        ["memory of a device, at most", *map(_size, needed)],
        ["room for tensors", *each(_size(device.room))],
        ["fits", *(_fit(n, device.room) for n in needed)],
        [f"largest {units}", *(f"{n * planned.per_row:,}" if n else "none" for n in largest)],
        ["updates", *each(f"{updates:,}")],
        ["operations", *each(f"{flops * updates:.3g} FLOP")],
        ["time", *each(duration(seconds))],
    ]
    if price is not None:
        table.append(["cost", *each(f"{seconds / 3600 * count * price:,.2f}")])
    columns = ["what", *(["whole on each (ddp)", "shared out (fsdp)"][: len(ways)])]
    if count == 1:
        columns = ["what", "value"]
    rate = f"{device.flops[precision] / 1e12:,.4g} TFLOP/s in {precision}"
    title = f"Plan: {count} × {device.name} ({device.memory / 1e9:,.4g} GB, {rate})"
    notes = [
        f"memory: batches of the longest texts ({planned.length} tokens)"
        if planned.length > 1
        else "memory: a whole batch",
        f"time: at {share:.0%} of that rate (share=…), without validation"
        + (" and what devices tell each other" if count > 1 else ""),
    ]
    return Table(title, columns, table), notes


def _size(size: int) -> str:
    return f"{size / 1e9:,.2f} GB" if size >= 10**8 else f"{size / 1e6:,.1f} MB"


def _fit(needed: int, room: int) -> str:
    if needed <= room:
        return f"yes ({needed / max(room, 1):.0%} of the room)"
    return f"no, {needed / max(room, 1):.1f} times the room"


def duration(seconds: float) -> str:
    """``under a second``, ``35 s``, ``12 min``, ``3.4 h``, ``2.1 days``."""
    if seconds < 1:
        return "under a second"
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 86400:,.3g} days"
