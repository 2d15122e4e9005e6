"""Rotary positions against transformers' Llama."""

from __future__ import annotations

import pytest
import torch

from scratchlab.models.layers.positions import Rotary, rotate

llama = pytest.importorskip(
    "transformers.models.llama.modeling_llama", reason="transformers is not installed"
)


def llama_rotary(q: torch.Tensor, k: torch.Tensor, positions: torch.Tensor):
    """q, k [B, H, T, head_dim] turned by Llama's code."""
    from transformers import LlamaConfig

    heads, head_dim = q.shape[1], q.shape[-1]
    config = LlamaConfig(
        hidden_size=heads * head_dim, num_attention_heads=heads, max_position_embeddings=64
    )
    cos, sin = llama.LlamaRotaryEmbedding(config)(q, positions)
    return llama.apply_rotary_pos_emb(q, k, cos, sin)


@pytest.mark.parametrize("head_dim", [8, 64])
def test_rotary_turns_as_llama_does(head_dim: int) -> None:
    torch.manual_seed(0)
    q, k = torch.randn(2, 2, 4, 40, head_dim)  # [B, H, T, head_dim] each
    positions = torch.arange(40)[None].expand(2, -1)
    wanted = llama_rotary(q, k, positions)
    rotation = Rotary(head_dim, max_length=16)(slice(0, 40))  # grows
    for mine, theirs in zip((q, k), wanted, strict=True):
        turned = rotate(mine.transpose(1, 2), rotation).transpose(1, 2)
        torch.testing.assert_close(turned, theirs, rtol=1e-5, atol=1e-5)


def test_positions_given_one_by_one_turn_as_llama_does() -> None:
    torch.manual_seed(1)
    q, k = torch.randn(2, 2, 4, 7, 8)
    positions = torch.tensor([[0, 1, 2, 3, 4, 5, 6], [30, 3, 3, 17, 0, 2, 9]])
    wanted = llama_rotary(q, k, positions)[0]
    turned = rotate(q.transpose(1, 2), Rotary(8, max_length=64)(positions)).transpose(1, 2)
    torch.testing.assert_close(turned, wanted, rtol=1e-5, atol=1e-5)
