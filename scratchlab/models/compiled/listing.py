"""A model that writes, as a list of operations for its newest tokens."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from scratchlab.models.compiled import has_dots
from scratchlab.models.compiled.operations import (
    ACTIVATIONS,
    BYTES,
    CROSS,
    EMBED,
    LANES,
    LIKELIEST,
    LINE,
    NORM,
    OWN,
    PRODUCT,
    READY,
    SIZE,
    WHOLE,
    Call,
    Number,
    Operation,
)
from scratchlab.models.layers.block import Block
from scratchlab.models.layers.token_layers import Opening, is_plain

MOST = 8  # rows of a step; products of more are faster by torch
READ = 64  # rows of texts that are read at once
DOTTED = 4096  # inputs of a product of int8 whose sums surely stay within 32 bits


def stored(layer: Any) -> tuple[Tensor, Tensor | None] | None:
    """The matrix [out, in] of a linear layer, or that of an embedding, in float32, bfloat16 or
    int8, and for the last what each row is multiplied by, [out]; None: it is kept otherwise."""
    if is_plain(layer):
        return layer.weight.detach(), None
    if type(layer) is nn.Embedding and layer.max_norm is None:
        return layer.weight.detach(), None
    found: tuple[Tensor, Tensor | None] | None = getattr(layer, "few_rows", lambda: None)()
    return found


def kind_of(matrix: Tensor) -> str:
    return str(matrix.dtype).removeprefix("torch.")


def linear_layers(block: Block) -> list[Any]:
    layers = [block.attention.qkv, block.attention.out]
    if "cross" in block._modules:
        layers += [block.cross.q, block.cross.out]
    return [*layers, block.feed_forward.inner, block.feed_forward.out]


class Listing:
    """The operations of ``blocks`` and the ``norm`` behind them on up to ``most`` rows; ``output``
    gives the logits (None: none does), ``opening`` the vectors (None: they are given). ``whole``:
    they read texts at once."""

    def __init__(
        self,
        blocks: Sequence[Block],
        norm: nn.Module,
        output: Any = None,
        opening: Opening | None = None,
        most: int = MOST,
        whole: bool = False,
    ) -> None:
        self.most, self.whole, self.opening = most, whole, opening
        self.kept: list[Any] = []  # what the addresses are of
        first = blocks[0]
        self.heads = first.attention.n_heads
        self.width = first.attention.qkv.in_features
        matrices = [stored(layer) for block in blocks for layer in linear_layers(block)]
        self.kind = kind_of(matrices[0][0])  # type: ignore[index]
        widths = [m[0].shape[1] for m in matrices if m]
        fit = all(width % LINE == 0 and width <= DOTTED for width in widths)
        self.dots = self.kind == "int8" and fit and has_dots()
        self.worth = sum(m[0].numel() for m in matrices if m) // len(matrices)
        self.widest = max(max(m[0].shape) for m in matrices if m)
        self.x, self.y = self._rows(self.width), self._rows(self.width)
        self.own: list[Any] = []  # the operations that ask for a cache, one a block
        self.cross: list[Any] = []  # those that ask for a memory
        # of each row where it is written, its position, and the token that it must take
        self.places, self.positions, self.only = ((Number * most)() for _ in range(3))
        listed, before, behind = self._listed(blocks, norm), [], []
        gives = output is not None and self._takes(output)
        self.projected = self._array([self._product(output, self.y, self.y)] if gives else [])
        self.project_call = self._call(self.projected) if gives else None
        if gives and opening is not None and self._begins(opening):
            before, behind = [self._embedding(opening)], self._choice(output)
        self.operations = self._array([*before, *listed, *behind])
        start = len(before)
        self.listed = [self.operations[start + i] for i in range(len(listed))]  # of the blocks
        self.call = self._call(self.operations, start, len(listed))
        self.step = self._call(self.operations) if before else None  # from tokens to tokens

    def _takes(self, output: Any) -> bool:
        found = stored(output)
        return (
            found is not None
            and kind_of(found[0]) == self.kind
            and found[0].shape[0] >= LANES
            and (output.bias is None or output.bias.dtype == torch.float32)
        )

    def _begins(self, opening: Opening) -> bool:
        found = stored(opening.embedding)
        added = opening.positions.parameters(), opening.positions.buffers()
        return (
            found is not None
            and kind_of(found[0]) in BYTES
            and all(table.dtype == torch.float32 for tables in added for table in tables)
        )

    def _embedding(self, opening: Opening) -> Any:
        found = stored(opening.embedding)
        assert found is not None
        table, scale = found
        factor = opening.factor * getattr(opening.embedding, "factor", 1.0)
        return Operation(
            kind=EMBED,
            y=self.x.data_ptr(),
            outputs=self.width,
            bytes=table.element_size(),
            weight=self._at(table.contiguous()),
            scale=self._at(scale),
            epsilon=self._at(torch.tensor([factor])),
        )

    def _choice(self, output: Any) -> list[Any]:
        logits = self._rows(output.out_features)
        choice = Operation(kind=LIKELIEST, x=logits.data_ptr(), inputs=output.out_features)
        return [self._product(output, self.y, logits), choice]

    def _rows(self, width: int) -> Tensor:
        buffer = torch.zeros(self.most, width)
        self.kept.append(buffer)
        return buffer

    def _at(self, tensor: Tensor | None) -> int:
        """The address of what stays where it is."""
        if tensor is None:
            return 0
        self.kept.append(tensor)
        return int(tensor.data_ptr())

    def _norm(self, norm: Any, x: Tensor, y: Tensor) -> Any:
        return Operation(
            kind=NORM,
            x=x.data_ptr(),
            y=y.data_ptr(),
            inputs=self.width,
            weight=self._at(norm.weight.detach()),
            bias=self._at(norm.bias),
            epsilon=self._at(torch.tensor([norm.eps])),
        )

    def _product(self, layer: Any, x: Tensor, y: Tensor, **more: int) -> Any:
        found = stored(layer)
        assert found is not None
        weight, scale = found
        return Operation(
            kind=PRODUCT,
            x=x.data_ptr(),
            y=y.data_ptr(),
            inputs=weight.shape[1],
            outputs=weight.shape[0],
            weight=self._at(weight.contiguous()),
            bias=self._at(layer.bias),
            scale=self._at(scale),
            sums=self._at(
                weight.sum(1, dtype=torch.float32) if self.dots and scale is not None else None
            ),
            **more,
        )

    def _attention(self, part: Any, kind: int, x: Tensor, y: Tensor) -> Any:
        qk = part.qk_norm
        return Operation(
            kind=kind,
            x=x.data_ptr(),
            y=y.data_ptr(),
            inputs=self.width,
            heads=self.heads,
            q_gain=0 if qk is None else self._at(qk.q_gain.detach().float()),
            # the keys of a memory have their length already
            k_gain=0 if qk is None else self._at(qk.k_gain.detach().float()),
            epsilon=0 if qk is None else self._at(torch.tensor([qk.eps])),
        )

    def _listed(self, blocks: Sequence[Block], norm: nn.Module) -> list[Any]:
        """What :meth:`Block.forward` does, block by block: x stays the residual stream."""
        wide = self._rows(self.widest)
        heads, x, h, found = self._rows(self.width), self.x, self._rows(self.width), []

        def part(block: Block, norm: nn.Module, *inside: Any, out: Any, given: Tensor) -> None:
            """A part of a block: its norm before or after, and what it adds to x."""
            found.extend([self._norm(norm, x, h)] if block.pre else [])
            found.extend(inside)
            found.append(self._product(out, given, x, added=1))
            found.extend([] if block.pre else [self._norm(norm, x, x)])

        for block in blocks:
            entered = h if block.pre else x
            attention, forward = block.attention, block.feed_forward
            kinds = (READY, WHOLE) if self.whole else (OWN,)
            looks = [self._attention(attention, kind, wide, heads) for kind in kinds]
            inside = [self._product(attention.qkv, entered, wide), *looks]
            self.own.append(len(found) + block.pre + len(looks))
            part(block, block.attention_norm, *inside, out=attention.out, given=heads)
            if "cross" in block._modules:
                q = self._product(block.cross.q, entered, wide)
                self.cross.append(len(found) + block.pre + 1)
                look = self._attention(block.cross, CROSS, wide, heads)
                part(block, block.cross_norm, q, look, out=block.cross.out, given=heads)
            activation = ACTIVATIONS[forward.activation]
            inner = self._product(forward.inner, entered, wide, activation=activation)
            part(block, block.feed_forward_norm, inner, out=forward.out, given=wide)
        if isinstance(norm, nn.LayerNorm):
            found.append(self._norm(norm, x, self.y))
        else:  # the last block ended in one
            self.y = x
        return found

    def _array(self, listed: list[Any]) -> Any:
        operations = (Operation * len(listed))(*listed)
        self.kept.append(operations)
        return operations

    def _call(self, operations: Any, first: int = 0, count: int | None = None) -> Any:
        """Of ``count`` operations of an array (None: all) from the ``first`` on."""
        return Call(
            operations=ctypes.addressof(operations) + first * SIZE,
            count=len(operations) if count is None else count,
            places=ctypes.addressof(self.places),
            positions=ctypes.addressof(self.positions),
            only=ctypes.addressof(self.only),
        )
