"""The loss compiled by torch: what the compiler keeps on disk, and where."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from scratchlab.errors import UserError
from scratchlab.run.decisions import cache_folder
from scratchlab.run.temporary import use_own_folder


def check_compiler(device: torch.device) -> None:
    """UserError where torch would compile for a CPU without a C++ compiler, before it starts."""
    if device.type != "cpu":
        return
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise UserError(
            "trainer.compile=true needs a C++ compiler on a CPU, and torch finds none",
            "Install one (g++ or clang++; CXX=PATH names another), or leave trainer.compile out: "
            "on a CPU steps are seldom faster with it.",
        ) from error


def compiled(work: nn.Module | Callable[..., Any]) -> Callable[..., Any]:
    """A module or function compiled for batches of any size.

    The compiler's results are kept between runs in the machine's folder of prepared data: never in
    one that a configuration names, nor in one that another user has made, since they are run. Its
    temporary files go with the process.
    """
    if torch.are_deterministic_algorithms_enabled():  # the compiler is to know of it as well
        torch.use_deterministic_algorithms(True, warn_only=True)
    own, kept = use_own_folder(), cache_folder({}) / "compiled"
    try:
        kept.mkdir(parents=True, exist_ok=True)
        mine = all(path.lstat().st_uid == os.getuid() for path in (kept.parent, kept))
    except OSError:
        mine = False
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(kept if mine else own / "compiled"))
    return torch.compile(work, dynamic=True)
