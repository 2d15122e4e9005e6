"""The steps of a model that writes, each one call of a compiled function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from scratchlab.models.compiled.listing import Listing
from scratchlab.models.compiled.operations import LANES
from scratchlab.models.compiled.threads import run, team
from scratchlab.models.layers.block import KeysAndValues
from scratchlab.models.layers.cache import KeyValueCache
from scratchlab.models.layers.positions import Rotation

WORTH = 1 << 16  # multiplications of a mean product from which on more than one thread is used


class Stack(Listing):
    """The steps of a model in the place of its layers: each has the operations done that the
    :class:`Listing` holds, as which it is built."""

    def __init__(self, blocks: Sequence[Any], *given: Any, **options: Any) -> None:
        super().__init__(blocks, *given, **options)
        self.scratch = torch.zeros(0, 0)  # a row for each thread
        # what the operations on a cache and on a memory point to at present
        self.own_memory: list[Any] = [None] * len(self.own)
        self.memory: tuple[Any, ...] = (None,)

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
        those ``barred`` [n], and in the texts of ``only`` that token. None: these are too many
        rows, texts of unequal length, or layers that are not among the operations."""
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
        run(program(self.kind, self.dots), call, ask is not None)
