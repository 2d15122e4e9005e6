"""What generation keeps of the tokens so far, so that none is read twice."""

from __future__ import annotations

import torch
from torch import Tensor

Places = slice | Tensor
"""Where tokens stand: one stretch for all texts, or the position of every token [B, T]."""


class KeyValueCache:
    """Keys and values of the tokens so far of B texts, in memory that is set aside once.

    Each forward asks :meth:`extend` once where its tokens [B, T] stand and which keys they see;
    then every layer of attention stores its keys and values in its own of ``layers``.

    Texts of unequal length stand at unequal positions: each writes behind its own last token, and
    a mask hides what stands beyond. With K ``beams`` the T = K tokens of a forward stand at one
    position, side by side, and each sees the slots of its own ancestors: beams are never copied,
    changing parents costs one small gather.
    """

    def __init__(self, layers: int, max_length: int, beams: int = 1) -> None:
        self.max_length, self.beams = max_length, beams
        self.layers = [LayerCache(self) for _ in range(layers)]
        self.clear()

    def clear(self) -> None:
        """Forget all texts; the memory stays."""
        self.length = 0  # tokens of the longest text
        self.past = self.seen = 0  # slots in use before and after the newest tokens
        self.lengths: Tensor | None = None  # [B] tokens of each text, where these are unequal
        self.slots: Places = slice(0)  # of the newest tokens
        self.visible: Tensor | None = None  # [B, K, slots] ancestors of each beam

    def extend(self, tokens: Tensor, lengths: Tensor | None = None) -> tuple[Places, Tensor | None]:
        """Make room for ``tokens`` [B, T], of which the first ``lengths`` [B] are real (None: all).

        Returns their positions, and which slots they see, [B, 1, K or 1, slots] boolean (None: all
        of those before). Several tokens of a text come at once only at its beginning.
        """
        count, first = tokens.shape[1], self.length
        self.past = first * self.beams
        self.seen = self.past + count
        if self.lengths is not None:  # one more token each, at unequal positions [B, 1]
            self.slots = self.lengths[:, None]
            self.length, self.lengths = self.length + 1, self.lengths + 1
            mask = torch.arange(self.seen, device=tokens.device) <= self.slots
            return self.slots, mask[:, None, None]
        self.slots = slice(self.past, self.seen)
        if self.beams > 1:
            self.length += 1
            return slice(first, self.length), self._see_ancestors(tokens)
        self.length += count
        if lengths is not None:
            self._keep(lengths)
        return slice(first, first + count), None

    def _see_ancestors(self, tokens: Tensor) -> Tensor:
        """The mask of ``tokens`` [B, K]: each beam sees its newest token and its ancestors."""
        if self.visible is None:
            shape = (*tokens.shape, self.max_length * self.beams)
            self.visible = torch.zeros(shape, dtype=torch.bool, device=tokens.device)
        self.visible[:, :, self.slots].diagonal(dim1=1, dim2=2).fill_(True)
        return self.visible[:, None, :, : self.seen]

    def _keep(self, lengths: Tensor) -> None:
        """Take only the first ``lengths`` tokens of each text for real."""
        self.length = int(lengths.max())
        self.lengths = None if int(lengths.min()) == self.length else lengths.clone()

    def reorder(self, parents: Tensor) -> None:
        """Beam i of a text continues beam ``parents[text, i]`` [B, K] from now on."""
        if self.visible is not None:
            kept = self.visible[..., : self.seen]
            kept.copy_(kept.gather(1, parents[..., None].expand_as(kept)))

    def select(self, rows: Tensor) -> None:
        """Row i becomes what row ``rows[i]`` was (int64); fewer rows let the others go."""
        for layer in self.layers:
            layer.select(rows)
        if self.visible is not None:
            self.visible = self.visible[rows]
        if self.lengths is not None:
            self._keep(self.lengths[rows])


class LayerCache:
    """What one layer of attention keeps: ``keys``, ``values`` [B, H, slots, head_dim]."""

    def __init__(self, texts: KeyValueCache) -> None:
        self.texts = texts
        self.memory: tuple[Tensor, Tensor] | None = None

    def store(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k, v [B, H, T, head_dim] of the newest tokens; all that there are come back."""
        texts = self.texts
        keys, values = self.room((*k.shape[:2], k.shape[3]), k.dtype, k.device)
        if isinstance(texts.slots, Tensor):
            rows, slots = torch.arange(len(keys), device=keys.device), texts.slots[:, 0]
            keys[rows, :, slots], values[rows, :, slots] = k[:, :, 0], v[:, :, 0]
        else:
            keys.narrow(2, texts.past, k.shape[2]).copy_(k)
            values.narrow(2, texts.past, k.shape[2]).copy_(v)
            if texts.lengths is not None:  # what nobody wrote yet is hidden, but a NaN would show
                keys[:, :, texts.seen :] = values[:, :, texts.seen :] = 0
        if texts.past == 0:
            return k, v
        return keys.narrow(2, 0, texts.seen), values.narrow(2, 0, texts.seen)

    def room(
        self, shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """The memory of all slots in this type, set aside when it is asked for first; ``shape``: B,
        H and head_dim."""
        if self.memory is None:
            texts, (batch, heads, size) = self.texts, shape
            wide = (batch, heads, texts.max_length * texts.beams, size)
            self.memory = (
                torch.empty(wide, dtype=dtype, device=device),
                torch.empty(wide, dtype=dtype, device=device),
            )
        if self.memory[0].dtype != dtype:
            self.memory = self.memory[0].to(dtype), self.memory[1].to(dtype)
        return self.memory

    def select(self, rows: Tensor) -> None:
        """As :meth:`KeyValueCache.select`."""
        if self.memory is not None:
            used = self.texts.seen
            for memory in self.memory:
                memory[: len(rows), :, :used] = memory[rows, :, :used]
            keys, values = self.memory
            self.memory = keys[: len(rows)], values[: len(rows)]
