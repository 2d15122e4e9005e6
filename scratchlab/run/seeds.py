"""Random state: set from a seed, kept in checkpoints, put back on resume."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from scratchlab.errors import UserError

if TYPE_CHECKING:
    import torch


def seed_everything(seed: int, deterministic: bool = True) -> None:
    """Seed torch on every device and, if asked, choose kernels that always give the same bits.

    Data sets and estimators draw from generators of their own, made of the seed; nothing uses the
    global generators of ``random`` and NumPy.
    """
    import torch

    torch.manual_seed(seed)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        # As use_deterministic_algorithms(True, warn_only=True), which also imports the compiler.
        torch.set_deterministic_debug_mode("warn")
        # New memory need not be zeroed for that: nothing reads what it has not written.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = False


def random_state() -> dict[str, torch.Tensor]:
    """The state of torch's generators as tensors, by name."""
    import torch

    state = {"rng.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        for index, tensor in enumerate(torch.cuda.get_rng_state_all()):
            state[f"rng.cuda{index}"] = tensor
    return state


def restore_random_state(state: dict[str, torch.Tensor]) -> None:
    """Put back what :func:`random_state` returned; devices that are not here are passed over.

    Raises:
        UserError: a tensor is no state of a generator.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for index, name in enumerate(["rng.cpu", *(f"rng.cuda{i}" for i in range(count))]):
        if name not in state:
            continue
        try:
            if index == 0:
                torch.set_rng_state(state[name])
            else:
                torch.cuda.set_rng_state(state[name], index - 1)
        except (RuntimeError, TypeError) as error:
            raise UserError(f"optimizer.safetensors: {name} is no random state") from error
