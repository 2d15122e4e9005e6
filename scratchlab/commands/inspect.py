"""``scratchlab inspect``: what a model consists of and costs, before anything is trained."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from scratchlab.commands.hydra_flags import read
from scratchlab.config.overrides import key_of, last_value
from scratchlab.errors import UserError

HELP = """
usage: scratchlab inspect model=NAME [GROUP=CHOICE …] [KEY=VALUE …] [batch=N] [length=N]
                          [kind=NAME] [devices=N] [flops=N] [memory=N] [price=N] [share=N]

Builds the model without its numbers and shows its layers with shapes and parameters, the
floating-point operations of a token, and the memory that training takes. Nothing is trained.

  batch=16 length=32      the batch that operations and activations are counted for
  kind=h100 devices=8     also plans the run: memory of each device, the largest batch, time
                          (kinds: here, {kinds})
  flops=312T memory=80G   a device of your own, or another figure than the kind's
  price=2.5               of a device an hour: what the run costs
  share=0.4               of the device's FLOP/s that training reaches
"""
PLANS = ("kind", "devices", "flops", "memory", "price", "share")
NUMBER = re.compile(r"(\d+(?:\.\d*)?(?:e\d+)?)([kMGTP]?)(?:B|FLOP/s)?")
POWERS = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15}


def main(arguments: Sequence[str]) -> int:
    """Entry of the verb."""
    sizes = {"batch": 16, "length": 32}
    planned: dict[str, str] = {}
    rest = []
    for argument in arguments:
        key, value = key_of(argument), last_value([argument], key_of(argument)) or ""
        if key in PLANS:
            planned[key] = value
            continue
        if key not in sizes:
            rest.append(argument)
            continue
        if not value.isdecimal() or len(value) > 9 or int(value) < 1:
            bounds = "at least 1 and below a thousand million"
            raise UserError(f"{argument[:60]}: must be a whole number of {bounds}")
        sizes[key] = int(value)
    numbers = {key: _number(key, value) for key, value in planned.items() if key != "kind"}
    from scratchlab.evaluation.cost.kinds import KINDS, kind_of

    if planned.get("kind", "here") != "here":
        kind_of(planned["kind"])
    composed = read(rest, HELP.format(kinds=", ".join(KINDS)), "inspect")
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
    if planned:
        from scratchlab.lab.plan import plan_of

        table, notes = plan_of(composed.config, planned.get("kind"), numbers)
        print_table(table.title, table.columns, table.rows, notes=notes)
    return 0


def _number(key: str, value: str) -> float:
    """A number above 0 with its unit (80G, 312T, 2.5); UserError if it is none."""
    found = NUMBER.fullmatch(value)
    number = float(found[1]) * 10.0 ** POWERS[found[2]] if found else 0.0
    if not 0 < number < 1e30 or (key == "share" and number > 1):
        right = "above 0 and at most 1" if key == "share" else "above 0, as 2.5, 80G or 312T"
        raise UserError(f"{key}={value[:60]}: must be a number {right}")
    if key == "devices" and (number != int(number) or number > 1e6):
        raise UserError(f"devices={value[:60]}: must be a whole number of at most a million")
    return number
