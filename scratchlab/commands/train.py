"""``scratchlab train``: train a model, then evaluate it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scratchlab.commands.hydra_flags import answered, parser, read, say_overridden
from scratchlab.commands.recording import take_record
from scratchlab.config.overrides import key_of, last_value
from scratchlab.errors import Stopped, UserError

HELP = """
usage: scratchlab train model=NAME [GROUP=CHOICE …] [KEY=VALUE …]
       scratchlab train experiment=NAME [KEY=VALUE …]
       scratchlab train resume=RUN

Trains, keeps checkpoints, evaluates the best one and ends with a table. Each model brings a data
set, optimizer, schedule and evaluators that fit it; what you write wins.

  scratchlab list model            what there is (also dataset, optimizer, experiment, …)
  --cfg job                        print the whole configuration and stop
  --info defaults                  how it is put together
  --config-dir FOLDER              add YAML groups of your own
  run_id=NAME resume=true          start the run NAME, or go on with it if it exists
  --record [FOLDER]                write the results and what they were made on to FOLDER/NAME.json
                                   (default docs/results)
"""


def main(arguments: Sequence[str]) -> int:
    """Entry of the verb."""
    words, into = take_record(arguments)
    run = last_value(words, "resume")
    if run and run.lower() not in ("true", "false"):
        return _resume(run, words, into)
    composed = read(words, HELP, "train")
    if composed is None:
        return 0
    return _train(composed.config, composed.overrides, words, into)


def _resume(run: str, arguments: list[str], into: Path | None) -> int:
    """Go on with a run as it was configured; further overrides change its configuration."""
    from scratchlab.config.compose import change
    from scratchlab.run.folder import find_run, read_trained, run_of_checkpoint

    flags = parser("train").parse_intermixed_args(arguments)
    if flags.help:
        print(HELP.strip())
        return 0
    words = list(flags.overrides)
    say_overridden(words)
    path = run_of_checkpoint(find_run(run, last_value(words, "output_dir") or "outputs"))
    others = [w for w in words if key_of(w) not in ("resume", "output_dir")]
    fixed = [w for w in others if key_of(w) in ("name", "run_id")]
    if fixed:
        raise UserError(f"{fixed[0]}: a run that goes on keeps its folder", f"It is {path}.")
    config = change(read_trained(path), others, flags.config_dir)
    if answered(flags, "train", others, config):
        return 0
    config |= {"output_dir": str(path.parents[1]), "name": path.parent.name}
    config |= {"run_id": path.name, "resume": True}
    return _train(config, others, arguments, into)


def _said_of(done: Path) -> str:
    """What a run that is done says when it is asked to go on."""
    from scratchlab.run.checkpoint import read_state

    try:
        steps = (
            f"training was complete after {read_state(done / 'checkpoints/last')['step']:,} updates"
        )
    except (UserError, KeyError):
        steps = "its results are there"
    again = f"scratchlab eval {shlex.quote(str(done))}"
    return f"{done} is done: {steps}; nothing was measured again.\n  Measure it again: {again}"


def _train(
    config: dict[str, Any], overrides: list[str], arguments: list[str], into: Path | None
) -> int:
    from scratchlab.data.catalog import require_data

    require_data([config])
    from scratchlab.lab import train as experiment

    done = experiment.already_done(config)
    if done is not None:
        print(_said_of(done), file=sys.stderr)
        return _record(done, into)
    try:
        done = experiment.train(config, overrides, ["train", *arguments])
    except Stopped as stop:
        if stop.folder is None:
            raise
        saved = any((stop.folder / "checkpoints").glob("[!.]*"))
        state = "a checkpoint is saved" if saved else "it was before the first checkpoint"
        print(
            f"stopped by {stop}; {state}. Go on with:\n"
            f"  scratchlab train resume={shlex.quote(str(stop.folder))}",
            file=sys.stderr,
        )
        return 130
    return _record(done, into)


def _record(run: Path, into: Path | None) -> int:
    if into is not None:
        from scratchlab.reporting.recorded import record_run

        print(f"recorded: {record_run(into, run)}", file=sys.stderr)
    return 0
