"""``scratchlab train``: train a model, then evaluate it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scratchlab.commands.hydra_flags import answered, parser, read, say_overridden
from scratchlab.commands.recording import take_record
from scratchlab.config.overrides import key_of, last_value
from scratchlab.errors import Stopped, UserError
from scratchlab.run.own_part import with_own_part
from scratchlab.run.phases import Phases
from scratchlab.run.processes import place

if TYPE_CHECKING:
    from scratchlab.config.compose import Composed

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
    phases = Phases()
    words, into = take_record(arguments)
    run = last_value(words, "resume")
    goes_on = run and run.lower() not in ("true", "false")
    composed = _changed(str(run), words) if goes_on else read(words, HELP, "train")
    if composed is None:
        return 0
    from scratchlab.data.catalog import require_data

    require_data([composed.config])
    from scratchlab.lab.train import already_done, train

    done = already_done(composed.config, composed.overrides)
    if done is not None:
        print(_said_of(done), file=sys.stderr)
    else:
        try:
            command = ["train", *words]
            done = train(composed.config, composed.overrides, command, phases=phases)
        except Stopped as stop:
            if stop.folder is None:
                raise
            print(_how_to_go_on(stop, stop.folder), file=sys.stderr)
            return 130
    if into is not None and place().rank == 0:
        from scratchlab.reporting.recorded import record_run

        print(f"recorded: {record_run(into, done)}", file=sys.stderr)
    return 0


def _changed(run: str, arguments: list[str]) -> Composed | None:
    """The configuration of a run that goes on, changed by the other words; None if a flag asked to
    see something instead."""
    from scratchlab.config.compose import Composed, change
    from scratchlab.run.folder import find_run, read_trained, run_of_checkpoint

    flags = parser("train").parse_intermixed_args(arguments)
    if flags.help:
        print(HELP.strip())
        return None
    words = list(flags.overrides)
    say_overridden(words)
    path = run_of_checkpoint(find_run(run, last_value(words, "output_dir") or "outputs"))
    others = [w for w in words if key_of(w) not in ("resume", "output_dir")]
    fixed = [w for w in others if key_of(w) in ("name", "run_id")]
    if fixed:
        raise UserError(f"{fixed[0]}: a run that goes on keeps its folder", f"It is {path}.")
    config = change(read_trained(path), others, flags.config_dir)
    if answered(flags, "train", others, config):
        return None
    config |= {"output_dir": str(path.parents[1]), "name": path.parent.name}
    config |= {"run_id": path.name, "resume": True}
    return Composed(config, others)


def _said_of(done: Path) -> str:
    """What a run that is done says when it is asked to go on."""
    from scratchlab.run.checkpoint import read_state

    try:
        steps = (
            f"training was complete after {read_state(done / 'checkpoints/last')['step']:,} updates"
        )
    except (UserError, KeyError):
        steps = "its results are there"
    again = shlex.join(["scratchlab", *with_own_part(["eval", str(done)])])
    return f"{done} is done: {steps}; nothing was measured again.\n  Measure it again: {again}"


def _how_to_go_on(stop: Stopped, folder: Path) -> str:
    saved = any((folder / "checkpoints").glob("[!.]*"))
    state = "a checkpoint is saved" if saved else "it was before the first checkpoint"
    again = shlex.join(["scratchlab", *with_own_part(["train", f"resume={folder}"])])
    return f"stopped by {stop}; {state}. Go on with:\n  {again}"
