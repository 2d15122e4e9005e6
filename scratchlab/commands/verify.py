"""``scratchlab verify``: what a run must not depend on, checked."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scratchlab.commands.hydra_flags import parser, read
from scratchlab.commands.trained import read_run
from scratchlab.config.overrides import key_of, last_value
from scratchlab.run.folder import is_checkpoint, refuse_links

HELP = """
usage: scratchlab verify RUN [KEY=VALUE …]
       scratchlab verify model=NAME [GROUP=CHOICE …] [KEY=VALUE …]

Checks in about a minute what results must not depend on: with the configuration and the weights of
a trained run, or of a small one that is trained for it in a temporary folder. Few examples and few
updates are enough: what must be equal is so after each. Exit code 1: something is not equal.

  seed          the same training twice
  stop kill     left alone; stopped by SIGTERM, or killed in a process of its own, and resumed
  save          in memory; saved, moved and loaded
  accumulation  one batch; the same in pieces of unequal size
  padding       rows together, alone, with more filling; examples that share rows
  batch         an evaluation in batches of 1, of 8 and all at once
  generation    texts written alone and together
  cache         with a cache and without
  merge export  adapters beside and inside the weights; exports read by the program they are for
  threads       one and two
  processes     one and two that share each batch (on the CPU, without dropout)

  checks=seed,batch   these only

Of a run the result is written to RUN/verify.json (of a lone checkpoint, or where RUN cannot be
written, to verify.json here), otherwise to OUTPUT_DIR/NAME/verify.json.
"""


def main(arguments: Sequence[str]) -> int:
    """Entry of the verb."""
    words = [a for a in arguments if key_of(a) != "checks"]
    listed = last_value(list(arguments), "checks") or ""
    chosen = [name.strip() for name in listed.strip("[]").split(",") if name.strip()]
    found = _given(words)
    if found is None:
        return 0
    config, run, place = found
    from scratchlab.data.catalog import require_data

    require_data([config])
    from scratchlab.run.atomic import write_json
    from scratchlab.tracking.console import print_table
    from scratchlab.verifying.verify import verify

    certificate = verify(config, run, chosen, lambda text: print(text, file=sys.stderr))
    table = certificate.table()
    print_table(table.title, table.columns, table.rows, notes=certificate.remarks())
    place.mkdir(parents=True, exist_ok=True)
    write_json(place / "verify.json", certificate.as_dict(["verify", *arguments]))
    print(f"written to {place / 'verify.json'}", file=sys.stderr)
    return 0 if certificate.equal else 1


def _given(words: Sequence[str]) -> tuple[dict[str, Any], Path | None, Path] | None:
    """The configuration, the run if one is named, and where the result goes; None if a flag asked
    to see something instead."""
    first = next(iter(parser("verify").parse_intermixed_args(list(words)).overrides), "")
    if "=" in first and not Path(first).exists():
        composed = read(words, HELP, "verify")
        if composed is None:
            return None
        config = composed.config
        return config, None, Path(config["output_dir"]) / config["name"]
    given = read_run(words, HELP, "verify")
    if given is None:
        return None
    own = not is_checkpoint(given.path) and os.access(given.path, os.W_OK)
    if own:
        refuse_links(given.path)
    return given.config, given.path, given.path if own else Path.cwd()
