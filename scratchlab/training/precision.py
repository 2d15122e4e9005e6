"""Which arithmetic to train in, found by measuring."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from scratchlab.errors import UserError
from scratchlab.models.contract import Model
from scratchlab.run.decisions import (
    Decision,
    Load,
    cache_folder,
    decided_once,
    decided_together,
)
from scratchlab.run.manifest import machine
from scratchlab.run.seeds import random_state, restore_random_state
from scratchlab.training.carried import carried_tensors, restore_carried
from scratchlab.training.contract import TrainingContext
from scratchlab.training.memory import is_out_of_memory, memory_advice

BY_NAME = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
SHORT = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}

# bf16 costs digits, and small gains come and go with the machine's load: it must be worth it.
WORTHWHILE = 1.3
# So much slower in bare products, bf16 is emulated; a whole step of it could take minutes.
HOPELESS = 2.0
ROUNDS, SECONDS = 5, 2.0
KERNELS = 2  # one more where a step's arithmetic changes, so that it is measured anew


def asked_precision(wanted: str) -> tuple[torch.dtype, str] | None:
    """The dtype that was asked for by name and one line that says so; None for ``auto``."""
    return {
        "fp32": (torch.float32, "fp32 (as asked)"),
        "bf16": (torch.bfloat16, "bf16 (as asked)"),
        "fp16": (torch.float16, "fp16 with loss scaling (as asked)"),
    }.get(wanted)


def remembered_precision(before: str | None) -> tuple[torch.dtype, str] | None:
    """What was measured when the run began: a second measurement could come out otherwise."""
    return (BY_NAME[before], f"{before} (as before)") if before in BY_NAME else None


def choose_precision(
    context: TrainingContext, model: Model, wanted: str
) -> tuple[torch.dtype, str]:
    """As ``wanted``, as before, or what is faster for the first batch; and one line that says so.

    The loss is measured uncompiled: compiling it twice would take longer than it gains.
    """
    known = asked_precision(wanted)
    if known is None and context.resume is not None:
        known = remembered_precision(context.resume.state.get("precision"))
    if known is not None:
        return known
    first = next(context.dataset.batches("train", seed=context.seed, epoch=0)).to(context.device)

    def step(dtype: torch.dtype) -> None:
        model.train()
        with autocast(context.device, dtype):
            loss = context.task.loss(model, first)
        (loss.total / loss.count).backward()
        model.zero_grad(set_to_none=True)

    def measured() -> tuple[str, str]:
        folder = context.checkpoints.parent
        dtype, why = precision_here(context.config, context.device, model, step, folder)
        return _name(dtype), why

    with memory_advice(context.config, lambda: 0):
        name, why = context.processes.from_first(measured)
    return BY_NAME[name], why


def precision_here(
    config: Mapping[str, Any],
    device: torch.device,
    model: Model,
    step: Callable[[torch.dtype], None],
    folder: Path,
) -> tuple[torch.dtype, str]:
    """As :func:`measured_precision`; a run of the same parts on this machine decides it for all.

    ``folder`` is the run's: all runs of a sweep or suite take what the first of them found, since
    what is compared must not differ in its arithmetic.
    """

    def measure() -> Decision:
        dtype, why = measured_precision(device, model, step)
        return {"dtype": _name(dtype), "why": why}

    def unmeasured(load: Load) -> Decision:
        return {"dtype": "float32", "why": f"fp32 (not measured: {load})"}

    def decide() -> Decision:
        if device.type == "cuda":
            return measure()  # nothing is timed
        parts = ("model", "method", "task", "dataset", "trainer")
        circumstances = {part: config.get(part) for part in parts}
        circumstances |= {"machine": machine(), "torch": torch.__version__, "device": str(device)}
        circumstances |= {"kernels": KERNELS}
        threads = torch.get_num_threads()
        found, before = decided_once(
            cache_folder(config),
            *("precision", circumstances, measure),
            threads=threads,
            busy=unmeasured,
        )
        if found.get("dtype") not in BY_NAME:
            found, before = measure(), False
        return {**found, "why": found["why"] + (", by an earlier run" if before else "")}

    found, run = decided_together(folder.parent, "precision", folder.name, decide)
    dtype = BY_NAME.get(found.get("dtype", ""))
    if dtype is None:
        found, run = decide(), folder.name
        dtype = BY_NAME[found["dtype"]]
    if run == folder.name:
        return dtype, found["why"]
    return _possible(dtype, f"{SHORT[dtype]} (as {run}, so that the runs compare)", model, step)


def _possible(
    dtype: torch.dtype, why: str, model: Model, step: Callable[[torch.dtype], None]
) -> tuple[torch.dtype, str]:
    """What another model's run found, unless this model cannot be computed in it."""
    if dtype == torch.float32:
        return dtype, why
    with untouched(model):
        try:
            step(dtype)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            reason = str(error).splitlines()[0]
            return torch.float32, f"fp32 (bf16, as the other runs, cannot be used: {reason})"
    return dtype, why


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def measured_precision(
    device: torch.device, model: Model, step: Callable[[torch.dtype], None]
) -> tuple[torch.dtype, str]:
    """The faster dtype for training ``model`` on this very device, and one line with the figures.

    ``step`` computes the loss and the gradients of one batch. It is timed in fp32 and in bf16 in
    turn, since neither the name of a processor nor the speed of bare products tells what a whole
    step gains. Nothing of it remains: see :func:`untouched`. GPUs that compute in bf16 take it.
    """
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.bfloat16, "bf16 (this GPU computes in it)"
        return torch.float32, "fp32 (this GPU has no bf16)"
    products = [seconds_per_product(dtype, device) for dtype in (torch.float32, torch.bfloat16)]
    if products[1] > HOPELESS * products[0]:
        return torch.float32, f"fp32 (measured for a product: {_compared(*products)})"
    with untouched(model):
        try:
            fp32, bf16 = seconds_per_step(step, device)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            return torch.float32, f"fp32 (bf16 cannot be used: {str(error).splitlines()[0]})"
    name, dtype = ("fp32", torch.float32)
    if fp32 >= WORTHWHILE * bf16:
        name, dtype = ("bf16", torch.bfloat16)
    return dtype, f"{name} (measured for a training step: {_compared(fp32, bf16)})"


def _compared(fp32: float, bf16: float) -> str:
    return f"fp32 {1000 * fp32:.3g} ms, bf16 {1000 * bf16:.3g} ms"


@contextlib.contextmanager
def untouched(model: Model) -> Iterator[None]:
    """Training steps inside leave no trace: random state, buffers, carried state, gradients."""
    random, training = random_state(), model.training
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    carried = carried_tensors(model)
    try:
        yield
    finally:
        model.zero_grad(set_to_none=True)
        model.train(training)
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                if name in buffers and buffer.shape == buffers[name].shape:
                    buffer.copy_(buffers[name])
        restore_carried(model, carried)
        restore_random_state(random)


def seconds_per_step(
    step: Callable[[torch.dtype], None], device: torch.device
) -> tuple[float, float]:
    """Best times of ``step`` in fp32 and in bf16; in turn, so that a busy moment hits both."""
    best = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    started = time.perf_counter()
    for turn in range(ROUNDS):
        for dtype in best:
            best[dtype] = min(best[dtype], _seconds(lambda d=dtype: step(d), device))  # type: ignore[misc]
        if turn and time.perf_counter() - started > SECONDS:
            break
    return best[torch.float32], best[torch.bfloat16]


def seconds_per_product(dtype: torch.dtype, device: torch.device, size: int = 256) -> float:
    """Best time of a few square matrix products."""
    a = torch.ones(size, size, dtype=dtype, device=device)
    return min(_seconds(lambda: a @ a, device) for _ in range(3))


def _seconds(work: Callable[[], Any], device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def autocast(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager[Any]:
    """Inside, matrix products are computed in ``dtype``."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=dtype)


def choose_device(wanted: str) -> torch.device:
    """``auto`` takes a GPU if there is one."""
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    found = [name for name, there in here.items() if there]
    if wanted == "auto":
        return torch.device(found[0] if found else "cpu")
    if wanted not in (*found, "cpu"):
        raise UserError(
            f"device: torch {torch.__version__} finds no {wanted} device on this machine",
            f"Here: {', '.join([*found, 'cpu'])} (or auto).",
        )
    return torch.device(wanted)
