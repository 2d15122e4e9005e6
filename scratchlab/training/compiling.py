"""The loss compiled by torch: what the compiler keeps on disk, and where."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from scratchlab.run.decisions import cache_folder
from scratchlab.run.temporary import use_own_folder


def compiled(module: nn.Module) -> Callable[..., Any]:
    """The module compiled for batches of any size.

    The compiler's results are kept between runs in the machine's folder of prepared data (never in
    one that a configuration names: they are run). Its temporary files go with the process.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder({}) / "compiled"))
    use_own_folder()
    return torch.compile(module, dynamic=True)
