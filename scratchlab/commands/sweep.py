"""``scratchlab sweep``: many runs that differ in the values of some options."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from scratchlab.commands.hydra_flags import answered
from scratchlab.commands.study_options import (
    SHARING,
    STUDY_OPTIONS,
    launcher_help,
    read_flags,
    read_study_options,
    run_in_slurm,
    say,
    show_workers,
)
from scratchlab.errors import Stopped, UserError
from scratchlab.studies.slurm.options import read_launcher
from scratchlab.studies.sweep.options import read_sweep_options, sweep_options

if TYPE_CHECKING:
    from scratchlab.studies.runs import StudyFolder
    from scratchlab.studies.slurm.launch import Launch
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
While it runs, the same command elsewhere (another terminal, or a machine that shares the folder or
sweep.storage) helps: no trial is run twice, those of a worker that died are run by another, and the
tables are made whole by whoever ends last.

"""


def main(arguments: Sequence[str]) -> int:
    """Entry of the verb; exit code 1 if a trial failed."""
    flags = read_flags(arguments, "sweep", SHARING)
    if flags is None:
        return 0
    if flags.help or not flags.overrides:
        print(HELP.lstrip() + _described())
        return 0
    # Of the command's own words: a file of configs/sweep starts nothing on a cluster.
    slurm, words = read_launcher(flags.overrides, flags.worker)
    sweep_config, words = read_sweep_options(words, flags.config_dir)
    place, rest = read_study_options(words, STUDY_OPTIONS, slurm is not None)
    from scratchlab.studies.runs import StudyFolder
    from scratchlab.studies.slurm.allocation import Allocation
    from scratchlab.studies.slurm.jobs import require_slurm
    from scratchlab.studies.slurm.launch import Launch, worker_words
    from scratchlab.studies.sweep.plan import plan_sweep
    from scratchlab.studies.sweep.space import first, point_words
    from scratchlab.studies.workers import share_of_threads

    sweep = plan_sweep(rest, sweep_config, flags.config_dir)
    first_point = [*sweep.words, *point_words(sweep.dimensions, first(sweep.dimensions))]
    if answered(flags, "sweep", first_point, sweep.config):
        return 0
    name = place["name"] or f"{sweep.config['name']}-sweep"
    folder = StudyFolder.below(place["output_dir"], name)
    threads = place["threads"]
    if slurm is None:
        threads = share_of_threads(sweep_config.workers, threads)
    if flags.dry_run:
        _show(sweep, folder)
        return 0
    if flags.status:
        _show_status(sweep, folder)
        return 0
    if sweep_config.backend == "wandb":
        if slurm is not None:
            raise UserError(
                "launcher=slurm starts workers of a study of Optuna's, not agents of W&B",
                "Leave out sweep.backend=wandb, or submit the command itself with sbatch.",
            )
        return _run_wandb(sweep, folder, threads)
    if slurm is None:
        work = partial(_work, threads=threads)
        with Allocation(say):
            return _run(sweep, folder, work, threads, flags.worker)
    require_slurm()
    command = worker_words("sweep", flags.overrides, slurm, threads, flags.config_dir)
    launch = Launch(slurm, folder, sweep_config.workers, say)
    have_it_done = partial(_have_it_done, launch=launch, command=command, wait=place["wait"])
    return _run(sweep, folder, have_it_done, None, False)


def _run(
    sweep: Sweep,
    folder: StudyFolder,
    work: Callable[[SweepSource], bool],
    threads: int | None,
    is_worker: bool,
) -> int:
    """Have ``work`` do what is missing, and make the tables if it says that they are due."""
    from scratchlab.data.catalog import require_data
    from scratchlab.studies.slurm.jobs import cancel_waiting
    from scratchlab.studies.sweep.leases import place_of
    from scratchlab.studies.sweep.ledger import Ledger, names_of, tried
    from scratchlab.studies.sweep.report import write_report
    from scratchlab.studies.sweep.source import SweepSource
    from scratchlab.studies.sweep.study import open_study, within_reach
    from scratchlab.studies.sweep.values import importance

    require_data([sweep.config])
    lock = folder.open("sweep")
    try:
        try:
            study = open_study(sweep, folder, say)
        except UserError:
            lock.remove_untouched()
            raise
        names = names_of(sweep.trials)
        with within_reach(), Ledger(study, names, sweep.options.lease) as ledger:
            if not is_worker:
                ledger.ask_for_failed()
            source = SweepSource(sweep, ledger, folder, say, threads)
            if sweep.note:
                say(sweep.note)
            title = f"sweep {folder.path.name} ({sweep.options.sampler})"
            runs = f" of {len(sweep.repeats)} runs each" if len(sweep.repeats) > 1 else ""
            say(f"{title}: {sweep.trials} trials{runs}, {source.missing()} to do")
            if not work(source):
                return 0
            left, elsewhere = source.left(), ledger.elsewhere
        for name, worker in elsewhere.items():
            say(f"{name} is run by {place_of(worker)}")
        failed = [t for t in tried(study) if t.status == "failed"]
        for t in failed:
            say(f"{t.run} failed: {t.reason}\n    log: {t.log or '-'}")
        if is_worker and elsewhere:
            say("the tables are made by the worker that ends last")
            return 1 if failed else 0
        if is_worker and not left:
            cancel_waiting(folder)
        with folder.reporting():
            write_report(sweep, tried(study), folder, say, importance(study))
        if elsewhere:
            say("the tables lack what is run elsewhere; whoever ends last makes them again")
    finally:
        lock.unlock()
    return 1 if failed or left > len(elsewhere) else 0


def _work(source: SweepSource, threads: int | None) -> bool:
    """Run what is missing, as far as it is not run elsewhere."""
    from scratchlab.studies.workers import run_all

    sweep = source.sweep
    try:
        run_all(source, sweep.options.workers, threads, say)
    except Stopped:
        source.record()
        done = sweep.trials - source.missing()
        say(f"{done} of {sweep.trials} trials are done; the same command goes on")
        raise
    finally:
        source.release()
    return True


def _have_it_done(source: SweepSource, launch: Launch, command: Sequence[str], wait: bool) -> bool:
    """Have workers in Slurm run what is missing; False if that is not waited for."""
    if not run_in_slurm(launch, source, command, wait):
        return False
    source.record()
    return True


def _run_wandb(sweep: Sweep, folder: StudyFolder, threads: int | None) -> int:
    from scratchlab.data.catalog import require_data
    from scratchlab.studies.sweep.report import write_report
    from scratchlab.studies.sweep.wandb_agent import WandbSweep

    require_data([sweep.config])
    agent = WandbSweep(sweep, folder, say, threads)
    lock = folder.open("sweep")
    try:
        trials = agent.run()
        with folder.reporting():
            write_report(sweep, agent.tried(), folder, say)
    finally:
        lock.unlock()
    return 1 if any(t.status == "failed" for t in trials) else 0


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
    if len(sweep.repeats) > 1:
        print("each trial: " + ", ".join(" ".join(repeat.words) for repeat in sweep.repeats))
    print("every trial: " + shlex.join(["scratchlab", "train", *sweep.words, *sweep.defaults]))


def _show_status(sweep: Sweep, folder: StudyFolder) -> None:
    """How many trials have ended how, and who runs the others."""
    from scratchlab.studies.sweep.leases import place_of
    from scratchlab.studies.sweep.ledger import running, tried
    from scratchlab.studies.sweep.study import find_study
    from scratchlab.tracking.console import print_table

    study = find_study(sweep, folder)
    trials = tried(study) if study is not None else []
    counted = Counter(t.status for t in trials)
    if (left := sweep.trials - len(trials)) > 0:
        counted["to run"] = left
    stand = ", ".join(f"{n} {status}" for status, n in counted.items())
    print(f"{folder.path.name}: {sweep.trials} trials: {stand}")
    if study is not None and (found := running(study)):
        rows = [(run, place_of(worker), since) for run, worker, since in found]
        print_table("running", ("trial", "worker", "since"), rows)
    show_workers(folder)


def _described() -> str:
    """The options of a sweep with their meanings, from where they are declared."""
    lines = ["sweep=grid, random or tpe (or a file of yours in configs/sweep), and:"]
    for o in sweep_options():
        default = "null" if o.default is None else str(o.default)
        default = default.lower() if isinstance(o.default, bool) else default
        lines.append(f"  {f'sweep.{o.name}={default}':<24} {o.meaning}")
    lines.append("  --dry-run                show what would be run")
    lines += [f"  {flag:<24} {meaning}" for flag, meaning in SHARING]
    return "\n".join([*lines, "", launcher_help()])
