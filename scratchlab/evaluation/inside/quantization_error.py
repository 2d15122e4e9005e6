"""How far quantized weights are from those they were made of, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scratchlab.errors import UserError
from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.registry import option, register


@register("evaluator", "quantization_error", measures={"weight_error": "lower"}, asks="quantized")
class QuantizationError(Evaluator):
    """Relative error, largest error and signal-to-noise ratio of every quantized layer.

    The figures were taken when the weights were quantized; the weights themselves are gone.
    """

    @dataclass(frozen=True)
    class Config:
        figure: bool = option(True, "draw the error over the layers")

    config: Config

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        if context.quick:
            return []
        methods = getattr(context.adapted, "methods", ())
        errors = [e for m in methods for e in getattr(m, "errors", ())]
        if not errors:
            raise UserError(
                "quantization_error: nothing in this model is quantized",
                "Add a method, for example method=[int8].",
            )
        columns = ("layer", "bits", "relative error %", "largest error", "SNR dB")
        rows = [
            (e.name, round(e.bits, 2), 100 * e.relative, e.largest, round(e.snr_db, 1))
            for e in errors
        ]
        context.sink.table("quantization_error", columns, rows)
        if self.config.figure:
            context.sink.figure("quantization_error", draw, errors)
        mean = float(np.mean([100 * e.relative for e in errors]))
        worst = max(errors, key=lambda e: e.relative)
        settings = {"worst_layer": worst.name, "worst": 100 * worst.relative}
        return [Measurement("weight_error", mean, "%", "lower", n=len(errors), settings=settings)]


def draw(errors: list[Any]) -> Any:
    """Relative error over the layers in their order."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

    from scratchlab.methods.replace import block_number, short_names

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    groups: dict[str, list[tuple[int, float]]] = {}
    for e in errors:
        number = block_number(e.name)
        name = (short_names([e.name]) or [e.name])[0]
        groups.setdefault(name, []).append((-1 if number is None else number, 100 * e.relative))
    for name, points in groups.items():
        axes.plot(*zip(*points, strict=True), marker="o", markersize=4, label=name)
    axes.set(
        xlabel="block (-1: outside the blocks)", ylabel="relative error of the weights in %",
        title="Quantization error by layer", ylim=(0, None),
    )  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(fontsize=8, loc="outside right upper")
    return figure
