"""``scratchlab suite``: several runs that belong together, and their comparison."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchlab.commands.hydra_flags import answered
from scratchlab.commands.recording import take_record
from scratchlab.commands.study_options import (
    SHARING,
    STUDY_OPTIONS,
    launcher_help,
    read_flags,
    read_study_options,
    run_in_slurm,
    say,
    say_unlike,
    show_workers,
)
from scratchlab.errors import CannotWrite, Stopped, UserError, number_of
from scratchlab.registry import Option
from scratchlab.studies.slurm.options import Config as Slurm
from scratchlab.studies.slurm.options import read_launcher
from scratchlab.studies.suite_file import Suite, load_suite, suite_files

if TYPE_CHECKING:
    from scratchlab.studies.runs import StudyFolder
    from scratchlab.studies.slurm.launch import Launch
    from scratchlab.studies.suite import Member
    from scratchlab.studies.suite_shared import SharedSuite

HELP = """
usage: scratchlab suite NAME [GROUP=CHOICE …] [KEY=VALUE …] [RUN.KEY=VALUE …]
       scratchlab suite                  what there is

Runs everything that the suite names (configs/suite/NAME.yaml, or a YAML file of yours) and
compares it: one table (console, Markdown, CSV), its pictures and a page (report.html) in
outputs/NAME/. The same command again runs only what is missing: runs that are done are kept, those
that were stopped go on. While it runs, the same command elsewhere (another terminal, or a machine
that shares the folder) helps: nothing is run twice, and whoever ends last makes the tables whole.

  workers=2           runs at a time, each a process with its share of the cores (or threads=N)
  seeds=[0,1,2]       every run once for each seed
  folds=10            every training once for each fold of its data, which is then its test
  only=[a,b]          these runs (and those that they start from)
  name=NEW            another folder below output_dir
  KEY=VALUE           of every training;  RUN.KEY=VALUE  of one run
  --dry-run           show the runs and what is there of them, run nothing
  --record [FOLDER]   when all are done, write the tables and what they were made on to
                      FOLDER/NAME.json (default docs/results; without running anything again)
  --status            show how the runs stand and what runs where
  --worker            help with what is left: what has failed is not tried again, and only the
                      worker that ends last makes the tables

"""

OPTIONS = (
    Option("workers", "int | None", None, "runs at a time", {"min": 1, "max": 256}),
    Option("seeds", "list[int] | None", None, "every run once for each", {"min": 0}),
    Option("folds", "int | None", None, "every training once for each fold", {"min": 2}),
    Option("only", "list[str]", [], "these runs and what they start from", {}),
    *STUDY_OPTIONS,
)


@dataclass(frozen=True)
class _Call:
    suite: Suite
    workers: int
    threads: int | None
    folder: Path
    words: list[str]
    flags: Namespace
    slurm: Slurm | None
    wait: bool


def main(arguments: Sequence[str]) -> int:
    """Entry of the verb; exit code 1 if a run failed."""
    words, into = take_record(arguments)
    call = _read(words)
    if call is None:
        return 0
    from scratchlab.data.catalog import require_data
    from scratchlab.studies.runs import StudyFolder, is_done
    from scratchlab.studies.slurm.allocation import Allocation
    from scratchlab.studies.slurm.jobs import require_slurm
    from scratchlab.studies.slurm.launch import Launch
    from scratchlab.studies.suite import plan
    from scratchlab.studies.workers import share_of_threads

    folder = StudyFolder(call.folder)
    if call.slurm is not None:
        threads: int | None = call.slurm.threads(call.threads)
    else:
        threads = share_of_threads(call.workers, call.threads)
    members = plan(call.suite, call.words, folder, threads, call.flags.config_dir)
    shown = [w for m in members[:1] for w in m.job.arguments if "=" in w]
    if answered(call.flags, "suite", shown, {m.job.name: dict(m.config) for m in members}):
        return 0
    if call.flags.dry_run:
        print(f"Suite {call.suite.name}: {len(members)} runs")
        for m in members:
            print(f"{m.job.name} ({'done' if is_done(m.job.folder) else 'to run'}):")
            print("  " + shlex.join(["scratchlab", *m.job.arguments]))  # to be copied
        return 0
    if call.flags.status:
        _show_status(folder, members)
        return 0
    launch = None
    if call.slurm is not None:
        require_slurm()
        launch = Launch(call.slurm, folder, call.workers, say)
    require_data(m.config for m in members if not is_done(m.job.folder))
    lock = folder.open("suite")
    try:
        with Allocation(say):
            source, is_whole = _work(call, folder, members, threads, launch)
            if not is_whole:
                return 1 if source.missing() and call.flags.worker else 0
            with folder.reporting():
                tables = _report(call, folder, members, source, ["suite", *words])
    finally:
        lock.unlock()
    missing = source.missing()
    for outcome in missing:
        say(f"{outcome.name} {outcome.status}: {outcome.reason}\n    log: {outcome.log or '-'}")
    say(f"tables and pictures: {folder.path}")
    elsewhere = source.elsewhere()
    if elsewhere:
        say("the tables lack what is run elsewhere; whoever ends last makes them again")
    is_complete = not missing and not source.waiting
    if into is not None and is_complete:
        from scratchlab.reporting.recorded import record_study

        runs = [m.job.folder for m in members]
        about = (call.folder.name, call.suite.description, ["suite", *words])
        say(f"recorded: {record_study(into, *about, folder.path, tables, runs)}")
    elif into is not None:
        say("not recorded: a record is of runs that are all done")
    return 1 if missing or (source.waiting and not elsewhere) else 0


def _work(
    call: _Call,
    folder: StudyFolder,
    members: Sequence[Member],
    threads: int | None,
    launch: Launch | None,
) -> tuple[SharedSuite, bool]:
    """Do what is missing, or have it done; returns how that went, and whether the tables are to be
    made now."""
    from scratchlab.studies.runs import is_done
    from scratchlab.studies.slurm.jobs import cancel_waiting
    from scratchlab.studies.slurm.launch import worker_words
    from scratchlab.studies.suite_shared import shared
    from scratchlab.studies.workers import run_all

    with shared(members, folder, say) as source:
        if not call.flags.worker:
            source.ask_again()
        takes = f" (in all: {call.suite.takes})" if call.suite.takes else ""
        say(f"suite {call.suite.name}: {len(members)} runs, {len(source.waiting)} to do{takes}")
        if launch is not None:
            words = worker_words(
                "suite", call.flags.overrides, launch.config, call.threads, call.flags.config_dir
            )
            return source, run_in_slurm(launch, source, words, call.wait)
        try:
            run_all(source, call.workers, threads, say)
        except Stopped:
            done = sum(is_done(m.job.folder) for m in members)
            say(f"{done} of {len(members)} runs are done; the same command goes on")
            raise
        left = source.left()
        for name, place in source.elsewhere().items():
            say(f"{name} is run by {place}")
        if call.flags.worker and left:
            say("the tables are made by the worker that ends last")
            return source, False
        if call.flags.worker:
            cancel_waiting(folder)
        return source, True


def _show_status(folder: StudyFolder, members: Sequence[Member]) -> None:
    """How many runs have ended how, and who runs the others."""
    from scratchlab.studies.suite_shared import standing
    from scratchlab.tracking.console import print_table

    rows = standing(members, folder)
    counted = Counter(row[1] for row in rows)
    stand = ", ".join(f"{n} {status}" for status, n in counted.items())
    print(f"{folder.path.name}: {number_of(len(rows), 'run')}: {stand}")
    if shown := [row for row in rows if row[1] not in ("done", "to run")]:
        print_table("not done", ("run", "", "worker", "since"), shown)
    show_workers(folder)


def _report(
    call: _Call,
    folder: StudyFolder,
    members: Sequence[Member],
    source: SharedSuite,
    words: Sequence[str],
) -> list[dict[str, Any]]:
    """Compare, and show; returns the tables that were shown. ``words`` are the whole command."""
    from scratchlab.reporting.compare.suites import against_first, write_differences
    from scratchlab.reporting.comparison import write_comparison
    from scratchlab.reporting.report.gathering import report_of
    from scratchlab.reporting.report.page import NAME, write_page
    from scratchlab.studies.suite import compared
    from scratchlab.studies.workers import Outcome
    from scratchlab.tracking.console import print_table

    suite = call.suite
    elsewhere = {name: Outcome(name, "running", at) for name, at in source.elsewhere().items()}
    beside = compared(suite, members, {**elsewhere, **source.outcomes})
    comparison = write_comparison(
        folder.path,
        suite.name,
        beside,
        metrics=suite.metrics,
        curves=suite.curves,
        tables=suite.tables,
        scatter=suite.scatter,
    )
    for title, columns, rows, notes in comparison.tables:
        print_table(title, columns, rows, notes=notes)
    try:
        found = against_first(beside, suite.metrics)
        if found is not None:
            shown = write_differences(folder.path, found)
            print_table(shown.title, shown.columns, shown.rows, notes=shown.notes)
            write_page(report_of(found, [folder.path]), folder.path / NAME, words)
            say(f"as a page: {folder.path / NAME}")
    except CannotWrite:
        raise
    except UserError as error:
        say(f"warning: no paired differences, and no page: {error}")
    for line in comparison.missing:
        say(f"warning: {line}")
    say_unlike([m.job.folder for m in members])
    return [table._asdict() for table in comparison.tables]


def _read(arguments: Sequence[str]) -> _Call | None:
    flags = read_flags(arguments, "suite", SHARING)
    if flags is None:
        return None
    if flags.help:
        print(f"{HELP.strip()}\n\n{launcher_help()}")
        return None
    words = list(flags.overrides)
    names = [w for w in words if "=" not in w and not w.startswith("~")]
    if not names:
        _list(flags.config_dir)
        if words:
            raise UserError("which suite?", "Its name comes first: scratchlab suite NAME …")
        return None
    if len(names) > 1:
        raise UserError(f"one suite at a time, not {' and '.join(names)}")
    slurm, words = read_launcher([w for w in words if w != names[0]], flags.worker)
    options, rest = read_study_options(words, OPTIONS, slurm is not None)
    suite = load_suite(names[0], flags.config_dir)
    from scratchlab.studies.suite import narrow

    suite = narrow(suite, options["only"], options["seeds"], options["folds"])
    from scratchlab.studies.runs import StudyFolder

    folder = StudyFolder.below(options["output_dir"], options["name"] or suite.name).path
    workers, threads = options["workers"] or suite.workers, options["threads"] or suite.threads
    return _Call(suite, workers, threads, folder, rest, flags, slurm, options["wait"])


def _list(config_dir: str | None) -> None:
    from scratchlab.tracking.console import print_table

    suites = [load_suite(name, config_dir) for name in suite_files(config_dir)]
    rows = [(s.name, str(len(s.runs)), s.description, s.takes) for s in suites]
    print_table("Suites", ("name", "runs", "what it compares", "takes"), rows)
