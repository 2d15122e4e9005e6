"""The loss compiled by torch: what the compiler keeps on disk, and where."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from scratchlab.run.decisions import cache_folder
from scratchlab.run.temporary import use_own_folder


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
