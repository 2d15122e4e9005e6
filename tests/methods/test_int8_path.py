"""Which product int8 takes where it may choose: measured once, then kept for the machine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from scratchlab.methods import int8_kernels
from scratchlab.run import decisions


def test_what_was_measured_first_holds_for_later_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decisions, "machine_load", lambda: decisions.Load(0.0, 64))
    upcoming = iter([16, 0, 1])
    monkeypatch.setattr(int8_kernels, "_rows_worth_it", lambda peak: next(upcoming))
    first = int8_kernels.fastest("auto", "8", tmp_path)
    again = int8_kernels.fastest("auto", "8", tmp_path)
    assert first is not None and again is not None
    assert first.most_rows == again.most_rows == 16
    # Another number of digits is another question; "never" is an answer that is kept as well.
    assert int8_kernels.fastest("auto", "16", tmp_path) is None
    assert int8_kernels.fastest("auto", "16", tmp_path) is None


def test_bfloat16_is_taken_where_the_processor_has_it_and_nothing_else_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(int8_kernels, "_rows_worth_it", lambda peak: 4)
    has_it = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    free = int8_kernels.kernel("auto", "auto", "absmax")
    assert (free is int8_kernels.bfloat16_product) == has_it
    for path, bits, scheme in (
        ("auto", "8", "absmax"),
        ("auto", "auto", "zero_point"),
        ("integer", "auto", "absmax"),
    ):
        assert isinstance(int8_kernels.kernel(path, bits, scheme), int8_kernels.Multiplier)
    assert int8_kernels.kernel("reference", "auto", "absmax") is None
