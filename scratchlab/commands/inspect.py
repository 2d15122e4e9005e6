"""``scratchlab inspect``: what a model consists of and costs, before anything is trained."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from scratchlab.commands.hydra_flags import read
from scratchlab.config.overrides import key_of, last_value
from scratchlab.errors import UserError

HELP = """
usage: scratchlab inspect model=NAME [GROUP=CHOICE …] [KEY=VALUE …] [batch=N] [length=N]

Builds the model without its numbers and shows its layers with shapes and parameters, the
floating-point operations of a token, and the memory that training takes. Nothing is trained.

  batch=16 length=32      the batch that operations and activations are counted for
"""


def main(arguments: Sequence[str]) -> int:
    """Entry of the verb."""
    sizes = {"batch": 16, "length": 32}
    rest = []
    for argument in arguments:
        key, value = key_of(argument), last_value([argument], key_of(argument)) or ""
        if key not in sizes:
            rest.append(argument)
            continue
        if not value.isdecimal() or len(value) > 9 or int(value) < 1:
            bounds = "at least 1 and below a thousand million"
            raise UserError(f"{argument[:60]}: must be a whole number of {bounds}")
        sizes[key] = int(value)
    composed = read(rest, HELP, "inspect")
    if composed is None:
        return 0
    from scratchlab.lab.inspect import inspect, tables
    from scratchlab.tracking.console import print_table

    found = inspect(composed.config, sizes["batch"], sizes["length"], composed.overrides)
    if found.length < sizes["length"]:
        text = f"note: length={sizes['length']}: the data set has no more than {found.length}"
        print(text, file=sys.stderr)
    for table in tables(found):
        print_table(table.title, table.columns, table.rows)
    return 0
