"""Where steps are compiled: what a list of operations can say, and where it pays off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from scratchlab.errors import MissingPackageError, UserError
from scratchlab.models.compiled import has_registers, is_here
from scratchlab.models.compiled.listing import MOST, READ, kind_of, linear_layers, stored
from scratchlab.models.compiled.operations import ACTIVATIONS, BYTES, LANES, PAIR
from scratchlab.models.compiled.stack import Stack
from scratchlab.models.layers.block import Block
from scratchlab.models.layers.token_layers import Opening
from scratchlab.run.own_part import own_part

PAYS_OFF = 6000  # blocks times steps from which on a second or two of compiling is won back
Parts = tuple[Sequence[Block], nn.Module, Any, Opening | None]  # as a model's `stacked` gives them


@contextmanager
def compiled(model: Any, rows: int, steps: int, asked: bool | None) -> Iterator[bool]:
    """While open, ``model`` makes its steps by its :class:`Stack`, if that is ``asked`` for; None:
    where ``steps`` of ``rows`` rows (texts times beams) win back the time of compiling. More than
    MOST rows are not made so, nor what is left of them later: a text has one arithmetic. The
    weights must not change meanwhile. Yields whether the steps are so.

    Raises UserError where it is asked for and cannot be. Within another such context that holds.
    """
    if rows > MOST:
        with _without(model):
            yield False
        return
    if getattr(model, "stack", None) is not None:
        yield True
        return
    parts = parts_of(model)
    if asked:
        require(model)
    elif asked is None and parts is not None:
        asked = steps * len(parts[0]) >= PAYS_OFF and can_be_compiled(model)
    if not asked or parts is None:
        yield False
        return
    try:
        model.stack, reads = Stack(*parts), model.reads()
        if reads is not None and not refusal(*reads):
            blocks, norm = reads
            model.reader = Stack(blocks, norm, most=READ, whole=True)
        yield True
    finally:
        model.stack = model.reader = None


@contextmanager
def _without(model: Any) -> Iterator[None]:
    """While open, a model's steps are made layer by layer."""
    before = getattr(model, "stack", None), getattr(model, "reader", None)
    if before == (None, None):
        yield
        return
    model.stack = model.reader = None
    try:
        yield
    finally:
        model.stack, model.reader = before


def parts_of(model: Any) -> Parts | None:
    return model.stacked() if hasattr(model, "stacked") else None


def can_be_compiled(model: Any) -> bool:
    """Whether a model's steps can be compiled here, as its layers are by now."""
    parts = parts_of(model)
    return parts is not None and is_here() and own_part() is None and not refusal(*parts[:2])


def require(model: Any) -> None:
    """UserError where the steps of a model, as its layers are by now, cannot be compiled."""
    parts = parts_of(model)
    hint = "Leave decoding.compiled=null."
    if not has_registers():
        raise UserError("decoding.compiled: this processor has no registers of 512 bits", hint)
    if not is_here():
        raise MissingPackageError("numba", "decoding.compiled", "embeddings")
    if (part := own_part()) is not None:
        raise UserError(f"decoding.compiled: {part} would not be asked", hint)
    if parts is None:
        why = "this model does not write by blocks of a Transformer alone"
    else:
        why = refusal(*parts[:2])
    if why:
        raise UserError(f"decoding.compiled: {why}", hint)


def refusal(blocks: Sequence[Block], norm: nn.Module) -> str:
    """Why there is no stack of these blocks; empty: there is."""
    kinds = set()
    for block in blocks:
        attention, forward = block.attention, block.feed_forward
        if forward.activation not in ACTIVATIONS:
            return f"there is no loop for the activation {forward.activation}"
        for layer in linear_layers(block):
            found = stored(layer)
            if found is None:
                return f"there is no loop for weights as {type(layer).__name__} keeps them"
            if found[0].device.type != "cpu":
                return "weights must be in the memory of a CPU"
            kinds.add(kind_of(found[0]))
            if found[0].shape[0] % LANES or found[0].shape[1] % PAIR:
                return f"widths must be multiples of {PAIR}"
        if attention.qkv.in_features // attention.n_heads % PAIR:
            return f"heads must have a multiple of {PAIR} numbers"
    if len(kinds) != 1 or not kinds <= set(BYTES):
        return f"weights must be of one kind of {', '.join(BYTES)}, not {', '.join(sorted(kinds))}"
    vectors = [p for n in norms(blocks, norm) for p in n.parameters()]
    biases = [layer.bias for block in blocks for layer in linear_layers(block)]
    vectors += [bias for bias in biases if bias is not None]
    if any(p.dtype != torch.float32 or p.device.type != "cpu" for p in vectors):
        return "norms and biases must be in float32 on a CPU"
    return ""


def norms(blocks: Sequence[Block], norm: nn.Module) -> list[nn.Module]:
    names = ("attention_norm", "cross_norm", "feed_forward_norm")
    return [*(m for b in blocks for n, m in b.named_children() if n in names), norm]
