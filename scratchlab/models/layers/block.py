"""The block of a Transformer: attention and feed-forward, each with a residual and a norm.

One for all models (Vaswani et al. 2017, section 3.1): before or after each part stands the norm.

pre:  x + dropout(part(norm(x)))      post:  norm(x + dropout(part(x)))
"""

from __future__ import annotations

from torch import Tensor, nn

from scratchlab.models.layers.attention import CrossAttention, SelfAttention
from scratchlab.models.layers.cache import LayerCache
from scratchlab.models.layers.dropout import Dropout
from scratchlab.models.layers.feed_forward import FeedForward
from scratchlab.models.layers.positions import Rotation

KeysAndValues = tuple[Tensor, Tensor]


class Block(nn.Module):
    """Self-attention, in the decoder of a pair attention to the memory, then feed-forward.

    ``parts``: the modules by the names below, without ``cross`` and ``cross_norm`` where there is
    no memory. The order in which a model gives them is that of its weights.
    """

    attention: SelfAttention
    attention_norm: nn.LayerNorm
    cross: CrossAttention
    cross_norm: nn.LayerNorm
    feed_forward: FeedForward
    feed_forward_norm: nn.LayerNorm

    def __init__(self, norm: str, dropout: float, **parts: nn.Module) -> None:
        super().__init__()
        self.pre = norm == "pre"
        for name, part in parts.items():
            self.add_module(name, part)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        rotation: Rotation | None = None,
        mask: Tensor | None = None,
        cache: LayerCache | None = None,
        memory: Tensor | KeysAndValues | None = None,
        memory_mask: Tensor | None = None,
        values: Tensor | None = None,
    ) -> Tensor:
        """x [B, T, D] → [B, T, D]; in the decoder ``memory`` [B, S, D], or its keys and values
        [B, H, S, head_dim] each where they are kept. ``values``: see :class:`SelfAttention`."""
        change = self.attention(self.enter(x, self.attention_norm), rotation, mask, cache, values)
        x = self.leave(x, change, self.attention_norm)
        if memory is not None:
            if isinstance(memory, Tensor):
                memory = self.cross.keys_and_values(memory)
            change = self.cross(self.enter(x, self.cross_norm), *memory, memory_mask)
            x = self.leave(x, change, self.cross_norm)
        change = self.feed_forward(self.enter(x, self.feed_forward_norm))
        return self.leave(x, change, self.feed_forward_norm)

    def enter(self, x: Tensor, norm: nn.Module) -> Tensor:
        return norm(x) if self.pre else x

    def leave(self, x: Tensor, change: Tensor, norm: nn.Module) -> Tensor:
        x = self.dropout(change, residual=x)
        return x if self.pre else norm(x)
