"""The tables of ``scratchlab inspect``."""

from __future__ import annotations

from scratchlab.reporting.tables import format_measurement
from scratchlab.tracking.console import print_table
from scratchlab.training.anatomy import Anatomy


def show_anatomy(found: Anatomy) -> None:
    """Print layers, operations and memory."""
    rows = [
        (x.name, x.kind, ", ".join(x.shapes), x.output, f"{x.parameters:,}") for x in found.layers
    ]
    rows.append(("all", "", "", "", f"{found.parameters:,}"))
    if found.trainable != found.parameters:
        share = found.trainable / max(found.parameters, 1)
        rows.append(("trained", "", "", f"{share:.2%} of all", f"{found.trainable:,}"))
    print_table(found.title, ("layer", "kind", "weights", "output", "parameters"), rows)
    print_table(
        f"One training step: {found.batch_size} × {found.length} tokens",
        ("what", "value", "unit"),
        [
            ("forward pass", f"{found.forward_flops / 1e9:,.2f}", "GFLOP"),
            ("forward and backward", f"{3 * found.forward_flops / 1e9:,.2f}", "GFLOP"),
            (
                "training, a target token",
                f"{3 * found.forward_flops / max(found.targets, 1) / 1e6:,.2f}",
                "MFLOP",
            ),
            ("weights", *format_measurement(found.weight_bytes, None, "bytes")),
            ("gradients", *format_measurement(found.gradient_bytes, None, "bytes")),
            ("optimizer state", *format_measurement(found.optimizer_bytes, None, "bytes")),
            ("activations", *format_measurement(found.activation_bytes, None, "bytes")),
            ("training memory", *format_measurement(found.training_bytes, None, "bytes")),
        ],
    )
    for table in found.arithmetic:
        print_table(table.title, table.columns, table.rows)
