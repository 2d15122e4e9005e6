"""Running out of memory: what to change, and by how much."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from scratchlab.errors import TrainingError

BATCH_OPTIONS = ("batch_tokens", "batch_size")


def automatic(config: Mapping[str, Any]) -> str | None:
    """The option of the data set that says how large a batch is, where it says ``auto``."""
    options = config.get("dataset") or {}
    return next((name for name in BATCH_OPTIONS if options.get(name) == "auto"), None)


def as_before(config: Mapping[str, Any], saved: Mapping[str, Any]) -> dict[str, Any]:
    """``auto`` as the number that the ``saved`` configuration of the same run has."""
    unit, before = automatic(config), saved.get("dataset") or {}
    if unit is None or not isinstance(before.get(unit), int):
        return dict(config)
    return {**config, "dataset": {**config["dataset"], unit: before[unit]}}


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that the CPU or the GPU has no memory left."""
    if isinstance(error, MemoryError):
        return True
    text = str(error)  # torch.OutOfMemoryError is a RuntimeError that says "out of memory"
    return isinstance(error, RuntimeError) and (
        "can't allocate memory" in text
        or "not enough memory" in text
        or "out of memory" in text
        or "bad_alloc" in text
    )


@contextmanager
def memory_advice(
    config: Mapping[str, Any], step: Callable[[], int] | None = None
) -> Iterator[None]:
    """Inside, running out of memory becomes the :class:`TrainingError` that says what to change.

    ``step`` tells how many updates are done, where there are any.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise out_of_memory(error, config, step() if step else None) from error


def out_of_memory(
    error: BaseException, config: Mapping[str, Any], step: int | None
) -> TrainingError:
    """The message: the options to change with their values now and the values to try.

    Half the batch with twice the accumulation needs about half the activations and makes the very
    same updates, since losses are summed and divided once.
    """
    dataset, trainer = config.get("dataset") or {}, config.get("trainer") or {}
    if trainer.get("name") == "fit":
        return TrainingError(
            f"out of memory{_asked_for(error)}",
            "Try fewer rows or features (dataset.drop), or a smaller estimator: see "
            f"`scratchlab list model {(config.get('model') or {}).get('name')}`.",
        )
    changes = []
    for name in BATCH_OPTIONS:
        size = dataset.get(name)
        if isinstance(size, int) and size > 1:
            accumulate = int(trainer.get("accumulate") or 1)
            changes.append(
                f"dataset.{name}={max(1, size // 2)} trainer.accumulate={accumulate * 2}"
            )
            break
    else:
        changes.append("a smaller batch")
    where = "while the run was set up or measured" if step is None else f"in update {step + 1}"
    return TrainingError(
        f"out of memory {where}{_asked_for(error)}",
        f"Try {' '.join(changes)}: half the memory for activations, updates of the same size. "
        "If the model itself is too large, halve model.d_model (a quarter of the parameters).",
    )


def _asked_for(error: BaseException) -> str:
    """How much was asked for in vain, if the error tells."""
    found = re.search(r"tried to allocate ([\d.]+) ?([KMG]iB|bytes)", str(error), re.IGNORECASE)
    if found is None:
        return ""
    size = f"{int(found[1]) / 2**20:,.1f} MiB" if found[2] == "bytes" else f"{found[1]} {found[2]}"
    return f": there was no room for {size} more"
