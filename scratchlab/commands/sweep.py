"""``scratchlab sweep``: many runs that differ in the values of some options."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchlab.commands.hydra_flags import answered
from scratchlab.commands.study_options import (
    STUDY_OPTIONS,
    read_flags,
    read_study_options,
    say,
    say_unlike,
)
from scratchlab.errors import Stopped
from scratchlab.studies.sweep.options import read_sweep_options, sweep_options

if TYPE_CHECKING:
    from scratchlab.studies.runs import StudyFolder
    from scratchlab.studies.sweep.plan import Sweep
    from scratchlab.studies.sweep.source import SweepSource

HELP = """
usage: scratchlab sweep model=NAME KEY=A,B KEY=range(…) … [sweep.KEY=VALUE]
       scratchlab sweep sweep=tpe sweep.trials=30 model=NAME KEY=interval(LOW,HIGH) …

Trains once for each combination (a grid), or for points that are drawn (random) or chosen by what
was learned from those before (tpe, a tree-structured Parzen estimator). Several values in Hydra's
syntax; quote parentheses for the shell:

  optimizer.lr=1e-4,1e-3              a list (also choice(…); parts too: model=gpt,rnn_lm)
  "model.hidden=[64,64],[128]"        two values, each a list
  "KEY='a, b','c'"                    two texts; what holds a comma has quotes of its own
  "seed=range(3)"                     0, 1, 2; range(start,stop,step)
  "model.dropout=interval(0,0.5)"     anything between (random, tpe)
  "optimizer.lr=tag(log,interval(1e-4,1e-2))"   the same by its logarithm

Everything lies in outputs/<model>-<dataset>-sweep/ (name=NAME, output_dir=FOLDER): a run folder and
a log for each trial, the study, tables/trials.{csv,md}, plots/, and configs/experiment/best.yaml.
The same command again does only what is missing: failed trials are tried again, stopped ones go on.

"""

SHOWN_ROWS = 20


def main(arguments: Sequence[str]) -> int:
    """Entry of the verb; exit code 1 if a trial failed."""
    flags = read_flags(arguments, "sweep")
    if flags is None:
        return 0
    if flags.help or not flags.overrides:
        print(HELP.lstrip() + _described())
        return 0
    sweep_config, words = read_sweep_options(flags.overrides, flags.config_dir)
    place, rest = read_study_options(words, STUDY_OPTIONS)
    from scratchlab.studies.runs import StudyFolder
    from scratchlab.studies.sweep.plan import plan_sweep
    from scratchlab.studies.sweep.space import first, point_words
    from scratchlab.studies.workers import share_of_threads

    sweep = plan_sweep(rest, sweep_config, flags.config_dir)
    first_point = [*sweep.words, *point_words(sweep.dimensions, first(sweep.dimensions))]
    if answered(flags, "sweep", first_point, sweep.config):
        return 0
    name = place["name"] or f"{sweep.config['name']}-sweep"
    folder = StudyFolder.below(place["output_dir"], name)
    threads = share_of_threads(sweep_config.workers, place["threads"])
    if flags.dry_run:
        _show(sweep, folder)
        return 0
    return _run(sweep, folder, threads)


def _run(sweep: Sweep, folder: StudyFolder, threads: int | None) -> int:
    from scratchlab.data.catalog import require_data
    from scratchlab.studies.sweep.source import SweepSource, open_study, tried
    from scratchlab.studies.workers import run_all

    require_data([sweep.config])
    lock = folder.open()
    try:
        study = open_study(sweep, folder, say)
        source = SweepSource(sweep, study, folder, say, threads)
        kind = sweep.options.sampler
        if sweep.note:
            say(sweep.note)
        say(f"sweep {folder.path.name} ({kind}): {sweep.trials} trials, {source.missing()} to do")
        try:
            run_all(source, sweep.options.workers, threads, say)
        except Stopped:
            source.record()
            done = sweep.trials - source.missing()
            say(f"{done} of {sweep.trials} trials are done; the same command goes on")
            raise
        failed = [t for t in tried(study, folder) if t.status == "failed"]
        for t in failed:
            say(f"{t.run} failed: {t.reason}\n    log: {t.log or '-'}")
        _report(sweep, source)
    finally:
        lock.unlock()
    return 1 if failed else 0


def _report(sweep: Sweep, source: SweepSource) -> None:
    from scratchlab.reporting.results import arithmetic
    from scratchlab.reporting.search import Search, write_trials
    from scratchlab.reporting.search_pictures import write_pictures
    from scratchlab.studies.sweep.best_config import write_best
    from scratchlab.studies.sweep.source import importance, tried
    from scratchlab.studies.sweep.space import point_words
    from scratchlab.tracking.console import print_table

    folder, options = source.folder, sweep.options
    trials = tried(source.study, folder)
    notes = [sweep.note] if sweep.note else []
    notes += arithmetic({t.run: [folder.path / t.run] for t in trials})
    search = Search(
        folder.path.name,
        options.chosen,
        options.better,
        [d.key for d in sweep.dimensions],
        trials,
        frozenset(d.key for d in sweep.dimensions if d.log),
        frozenset(d.key for d in sweep.dimensions if d.finite),
        importance(source.study),
        notes,
    )
    columns, rows = write_trials(folder.path, search)
    write_pictures(folder.path, search)
    more = f" (of {len(rows)}; all in tables/trials.md)" if len(rows) > SHOWN_ROWS else ""
    print_table(f"{folder.path.name}: trials{more}", columns, rows[:SHOWN_ROWS], notes=notes)
    ranked = search.ranked()
    if ranked:
        best = ranked[0]
        words = [*sweep.words, *point_words(sweep.dimensions, best.params)]
        heading = (
            f"The best of {len(ranked)} trials of the sweep {folder.path.name}: "
            f"{options.chosen} {best.value:.6g}."
        )
        configs, path = write_best(folder.path, words, heading, sweep.config_dir)
        say(f"best: {best.run}, written to {path}; train it with")
        say(f"  scratchlab train --config-dir {configs} experiment=best")
        _draw(folder.path / best.run)
    say_unlike([folder.path / t.run for t in search.tried])
    say(f"tables and pictures: {folder.path}")


def _draw(run: Path) -> None:
    """The pictures of the best trial, where trials made none."""
    from scratchlab.lab.evaluate import draw_missing

    try:
        draw_missing(run)
    except Exception as error:  # the sweep is done all the same
        say(f"pictures of {run.name} could not be drawn: {error}")


def _show(sweep: Sweep, folder: StudyFolder) -> None:
    """What would be run."""
    from scratchlab.tracking.console import print_table

    rows: list[tuple[Any, ...]] = []
    for d in sweep.dimensions:
        values = ", ".join(d.words) if d.finite else f"{d.low:g} to {d.high:g}"
        notes = [
            w for w, on in (("whole numbers", d.integer and not d.finite), ("log", d.log)) if on
        ]
        rows.append((d.key, values, ", ".join(notes)))
    title = (
        f"{folder.path}: {sweep.trials} trials ({sweep.options.sampler}), {sweep.options.chosen}"
    )
    print_table(title, ("key", "values", ""), rows)
    if sweep.note:
        print(sweep.note)
    print("every trial: " + shlex.join(["scratchlab", "train", *sweep.words, *sweep.defaults]))


def _described() -> str:
    """The options of a sweep with their meanings, from where they are declared."""
    lines = ["sweep=grid, random or tpe (or a file of yours in configs/sweep), and:"]
    for o in sweep_options():
        default = "null" if o.default is None else o.default
        lines.append(f"  {f'sweep.{o.name}={default}':<24} {o.meaning}")
    lines.append("  --dry-run                show what would be run")
    return "\n".join(lines)
