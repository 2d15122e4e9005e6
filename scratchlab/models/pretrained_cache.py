"""Keys and values of a transformers model in memory that is set aside once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from scratchlab.models.gpt import GPTCache


class SlotCache(GPTCache):
    """The cache of the from-scratch decoder, given to a model of transformers layer by layer.

    Texts of unequal length write into the slot behind their own last token. A model whose blocks
    share less than all heads keeps only the heads of keys and values.
    """

    def __init__(self, config: Any, batch: int, max_length: int, like: Tensor) -> None:
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        layers = config.num_hidden_layers
        super().__init__(layers, batch, heads, max_length, like.new_empty(heads * size))
        self.reading = True
        self.inner = Cache(layers=[_Layer(self, i) for i in range(layers)])

    def clear(self) -> None:
        super().clear()
        self.reading = True

    def filled(self, lengths: Tensor) -> None:
        super().filled(lengths)
        self.reading = False


class _Layer(CacheLayerMixin):
    """One layer's view of the cache."""

    def __init__(self, owner: SlotCache, number: int) -> None:
        super().__init__()
        self.owner, self.number = owner, number
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to do: the memory is there."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Keep the new keys and values [B, H, T, size]; all of them come back."""
        if self.owner.reading:
            self.owner.fill(self.number, key_states, value_states)
            return key_states, value_states
        return self.owner.store(self.number, key_states[:, :, 0], value_states[:, :, 0])

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return (query_length if self.owner.reading else self.owner.longest), 0

    def get_seq_length(self) -> int:
        return 0 if self.owner.reading else self.owner.longest - 1

    def get_max_length(self) -> int:
        return self.owner.max_length


def positions_of(cache: SlotCache, batch: int, device: torch.device) -> tuple[Tensor, Any]:
    """Positions [B, 1] of the tokens of a step and the mask over the slots (None: all)."""
    position = cache.start_step()
    if isinstance(position, int):
        return torch.full((batch, 1), position, device=device), None
    return position, cache.mask
