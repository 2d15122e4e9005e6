"""torch's optimizers without its compiler, which takes as long to load as torch itself.

Methods of theirs are hidden from the compiler or speak to it, and load it for that when they are
first called, compiled or not. Here no optimizer is compiled.
"""

from __future__ import annotations

import inspect
from typing import TypeVar

import torch

Kind = TypeVar("Kind", bound=type[torch.optim.Optimizer])


def uncompiled(kind: Kind) -> Kind:
    """A class of optimizers (as it is written) whose methods are those under torch's wrappers."""
    for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
        setattr(kind, name, inspect.unwrap(getattr(kind, name)))
    setattr(kind, "step", torch.no_grad()(inspect.unwrap(kind.step)))  # noqa: B010
    return kind


@uncompiled
class SGD(torch.optim.SGD):
    pass


@uncompiled
class Adam(torch.optim.Adam):
    pass


@uncompiled
class AdamW(torch.optim.AdamW):
    pass
