"""Keys and values of a transformers model in memory that is set aside once."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from scratchlab.models.layers.cache import KeyValueCache, LayerCache


class SlotCache(KeyValueCache):
    """The cache of the from-scratch models, given to a model of transformers layer by layer."""

    def __init__(self, layers: int, max_length: int) -> None:
        super().__init__(layers, max_length)
        self.inner = Cache(layers=[_Layer(layer) for layer in self.layers])


class _Layer(CacheLayerMixin):
    """One layer's view of the cache."""

    def __init__(self, layer: LayerCache) -> None:
        super().__init__()
        self.layer = layer
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to do: the memory is set aside when its shape is known."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Keep the new keys and values [B, H, T, size]; all of them come back."""
        return self.layer.store(key_states, value_states)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.layer.texts.seen, 0

    def get_seq_length(self) -> int:
        return self.layer.texts.past

    def get_max_length(self) -> int:
        return self.layer.texts.max_length
