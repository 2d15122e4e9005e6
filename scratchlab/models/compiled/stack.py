"""The blocks of a model that writes, as a list of operations for its newest tokens."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from scratchlab.models.compiled.operations import (
    ACTIVATIONS,
    BYTES,
    CROSS,
    EMBED,
    LANES,
    LIKELIEST,
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
from scratchlab.models.compiled.threads import run, team
from scratchlab.models.layers.block import Block, KeysAndValues
from scratchlab.models.layers.cache import KeyValueCache
from scratchlab.models.layers.positions import Rotation
from scratchlab.models.layers.token_layers import Opening, is_plain

MOST = 8  # rows of a step; products of more are faster by torch
READ = 64  # rows of texts that are read at once
WORTH = 1 << 16  # multiplications of a mean product from which on more than one thread is used


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


class Stack:
    """``blocks`` and the ``norm`` behind them, for up to ``most`` rows; ``output`` gives the logits
    (None: none does), ``opening`` the vectors (None: they are given). ``whole``: they read texts at
    once, for :meth:`read`."""

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
        self.worth = sum(m[0].numel() for m in matrices if m) // len(matrices)
        self.widest = max(max(m[0].shape) for m in matrices if m)
        self.x, self.y = self._rows(self.width), self._rows(self.width)
        self.scratch = torch.zeros(0, 0)  # a row for each thread
        self.own: list[Any] = []  # the operations that ask for a cache, one a block
        self.cross: list[Any] = []  # those that ask for a memory
        self.memory: tuple[Any, ...] = (None,)
        self.own_memory: list[Any] = [None] * len(blocks)  # what they point to at present
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

    def __call__(
        self,
        x: Tensor,
        cache: KeyValueCache,
        mask: Tensor | None,
        rotation: Rotation | None,
        memory: Sequence[KeysAndValues] = (),
        memory_mask: Tensor | None = None,
    ) -> Tensor | None:
        """x [B, K, D] of the newest tokens, for which the ``cache`` has made room → what the norm
        gives; None: these are too many rows, or a stretch of text. The others are as those of
        :meth:`Block.forward`, for all blocks."""
        batch, count, _ = x.shape
        if batch * count > self.most or count != cache.beams:
            return None
        self._meet(self.call, batch, cache, mask, memory, memory_mask)
        longest = max([cache.seen, *(keys.shape[2] for keys, _ in memory)])
        return self._through(x, rotation, longest)

    def likeliest(
        self,
        newest: Tensor,
        cache: KeyValueCache,
        memory: Sequence[KeysAndValues],
        memory_mask: Tensor | None,
        best: int,
        barred: Tensor,
        only: Mapping[int, int],
    ) -> tuple[Tensor, Tensor] | None:
        """``newest`` [B, K], for which the cache has made no room yet → log-probabilities and ids
        of the ``best`` tokens that may follow each, [B, K, best] both, the best first; none of
        those ``barred`` [n], and in the texts of ``only`` that token. None: as in a call."""
        batch, count = newest.shape
        rows, call, opening = batch * count, self.step, self.opening
        if call is None or opening is None or rows > self.most or count != cache.beams:
            return None
        if cache.lengths is not None:
            return None
        position = cache.length
        _, mask = cache.extend(newest)
        self._meet(call, batch, cache, mask, memory, memory_mask)
        for row in range(rows):
            self.positions[row] = position
            self.only[row] = only.get(row // count, -1)
        if opening.positions.kind in ("learned", "sinusoidal"):
            self.operations[0].bias = opening.positions.rows(position + 1).data_ptr()
        if opening.rotary is not None:
            call.cos, call.sin = (table.data_ptr() for table in opening.rotary.rows(position + 1))
        log_p = torch.empty(batch, count, best)
        chosen = torch.empty(batch, count, best, dtype=torch.int64)
        newest, barred = newest.contiguous(), barred.contiguous()
        call.newest, call.best = newest.data_ptr(), best
        call.log_p, call.chosen = log_p.data_ptr(), chosen.data_ptr()
        call.barred, call.barred_count = barred.data_ptr(), len(barred)
        call.rows, call.beams = rows, count
        longest = max([cache.seen, *(keys.shape[2] for keys, _ in memory)])
        self._run(call, rows * self.worth, longest)
        return log_p, chosen

    def _meet(
        self,
        call: Any,
        batch: int,
        cache: KeyValueCache,
        mask: Tensor | None,
        memory: Sequence[KeysAndValues],
        memory_mask: Tensor | None,
    ) -> None:
        """Tell where the newest tokens are kept and what they see."""
        beams, call.slots = cache.beams, cache.seen
        if isinstance(cache.slots, Tensor):
            self.places[:batch] = cache.slots[:, 0].tolist()
        else:
            for row in range(batch * beams):
                self.places[row] = cache.past + row % beams
        call.seen = 0
        if mask is not None:  # [B, 1, K, slots]
            call.seen, call.seen_step = mask.data_ptr(), mask.stride(2 if beams > 1 else 0)
        shape = batch, self.heads, self.width // self.heads
        for i, (number, layer) in enumerate(zip(self.own, cache.layers, strict=True)):
            if layer.memory is None or layer.memory is not self.own_memory[i]:
                self._point(number, *layer.room(shape, torch.float32, torch.device("cpu")))
                self.own_memory[i] = layer.memory
            room = self.own_memory[i][0].shape
            if room[0] < batch or room[2] < cache.seen:  # no loop checks where it writes
                raise IndexError(f"no room for slot {cache.seen} in a cache of {tuple(room)}")
        self._look_at(memory, memory_mask)

    def read(self, x: Tensor, rotation: Rotation | None, padding: Tensor | None) -> Tensor | None:
        """Whole texts x [B, S, D], ``padding`` [B, S] True where there is none → what the norm
        gives; None: these are too many rows."""
        if x.shape[0] * x.shape[1] > self.most:
            return None
        seen = None if padding is None else (~padding).contiguous()
        for number in self.own:
            self.listed[number].seen = 0 if seen is None else seen.data_ptr()
        return self._through(x, rotation, x.shape[1])

    def _through(self, x: Tensor, rotation: Rotation | None, longest: int) -> Tensor:
        """x [B, K, D] through all blocks and the norm."""
        batch, count, width = x.shape
        rows, size, turns = batch * count, width // self.heads, []
        if rotation is not None:
            wide = (t.float().expand(batch, count, 1, size) for t in rotation)
            turns = [t.reshape(rows, size).contiguous() for t in wide]
        self.x[:rows] = x.reshape(rows, width)
        self.positions[:rows] = list(range(rows))  # cosines and sines are given row by row
        self.call.rows, self.call.beams = rows, count
        self.call.cos, self.call.sin = [t.data_ptr() for t in turns] or (0, 0)
        self._run(self.call, rows * self.worth, longest)
        return self.y[:rows].view(batch, count, width).to(x.dtype, copy=True)

    def _look_at(self, memory: Sequence[KeysAndValues], mask: Tensor | None) -> None:
        """Point to the keys and values of a memory, if they are others than at the last step."""
        if memory is self.memory[0]:
            return
        seen = None if mask is None else (mask == 0).contiguous()
        floats = [(k.float().contiguous(), v.float().contiguous()) for k, v in memory]
        self.memory = memory, seen, floats  # which hold what the addresses are of
        for number, (keys, values) in zip(self.cross, floats, strict=True):
            self._point(number, keys, values)
            self.listed[number].seen = 0 if seen is None else seen.data_ptr()

    def _point(self, number: int, keys: Tensor, values: Tensor) -> None:
        operation = self.listed[number]
        operation.keys, operation.values = keys.data_ptr(), values.data_ptr()
        operation.room = keys.shape[2]

    def project(self, hidden: Tensor) -> Tensor | None:
        """hidden [B, K, D] → logits [B, K, V]; None: as in a call, or not of these weights."""
        rows = hidden.numel() // self.width
        if self.project_call is None or rows > self.most:
            return None
        call = self.project_call
        operation = self.projected[0]
        x = hidden.reshape(rows, self.width).float().contiguous()
        logits = torch.empty(*hidden.shape[:-1], operation.outputs)
        operation.x, operation.y = x.data_ptr(), logits.data_ptr()
        call.rows, call.beams = rows, 1
        self._run(call, rows * operation.outputs * self.width)
        return logits

    def _run(self, call: Any, multiplications: int, longest: int = 0) -> None:
        """``longest``: what is attended to, in tokens."""
        from scratchlab.models.compiled.program import program  # loads numba

        ask = team() if torch.get_num_threads() > 1 and multiplications > WORTH else None
        call.number, call.threads, call.wait = ask or (0, 0, 0)
        shape = torch.get_num_threads(), max(self.most * self.widest, longest) + 2 * LANES
        if self.scratch.shape[0] < shape[0] or self.scratch.shape[1] < shape[1]:
            self.scratch = torch.zeros(shape)
        call.scratch, call.scratch_size = self.scratch.data_ptr(), 4 * self.scratch.shape[1]
        run(program(self.kind), call, ask is not None)
