"""``inspect`` shows layers that repeat once, with their count and common name."""

from __future__ import annotations

from scratchlab.reporting.anatomy import repeated
from scratchlab.training.anatomy import Layer


def layer(name: str, shape: str = "8×8", parameters: int = 64) -> Layer:
    return Layer(name, "Linear", (shape,), "", parameters, parameters)


def test_layers_that_differ_by_a_number_only_are_shown_as_one() -> None:
    names = ["embedding", *(f"blocks.{i}.{part}" for i in range(3) for part in ("q", "out"))]
    found = repeated([layer(name) for name in names])
    assert [(name, len(alike)) for name, alike in found] == [
        ("embedding", 1),
        ("blocks.0-2.q", 3),
        ("blocks.0-2.out", 3),
    ]


def test_layers_of_another_shape_or_with_gaps_between_them_are_told_apart() -> None:
    layers = [layer("blocks.0.q"), layer("blocks.1.q", "9×8"), layer("blocks.2.q")]
    found = repeated(layers)
    assert [name for name, _ in found] == ["blocks.0,2.q", "blocks.1.q"]
    assert sum(len(alike) for _, alike in found) == len(layers)


def test_a_number_within_a_word_is_no_layer_number() -> None:
    assert len(repeated([layer("conv1.weight"), layer("conv2.weight")])) == 2
