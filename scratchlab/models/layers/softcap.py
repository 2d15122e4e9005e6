"""Logits that stay within bounds (Bello et al. 2016, section 4; Gemma Team 2024, "Gemma 2")."""

from __future__ import annotations

from torch import Tensor


def softcapped(logits: Tensor, cap: float | None) -> Tensor:
    """``cap · tanh(logits / cap)``: hardly another number near zero, and never beyond ±cap; the
    logits themselves where ``cap`` is None."""
    return logits if cap is None else (logits / cap).tanh() * cap
