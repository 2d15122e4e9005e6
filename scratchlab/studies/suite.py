"""The runs of a suite: planned and checked beforehand, and compared at the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scratchlab.config.compose import change, compose
from scratchlab.config.overrides import key_of, last_of_each, last_value, read_override
from scratchlab.errors import ConfigError, Fault, UserError, suggest
from scratchlab.reporting.scores import Compared
from scratchlab.studies.runs import StudyFolder, quoted
from scratchlab.studies.suite_file import RESERVED, Suite, SuiteRun
from scratchlab.studies.workers import Job, Outcome

Repeat = tuple[int, int | None]  # seed, fold
TEACHERS = "method.distill.teachers"


@dataclass(frozen=True)
class Member:
    """One run of a suite with one seed (and one fold): its process, its whole configuration, what
    it waits for."""

    run: SuiteRun
    repeat: Repeat
    job: Job
    config: Mapping[str, Any]
    after: tuple[str, ...] = ()


def narrow(
    suite: Suite, only: Sequence[str], seeds: Sequence[int] | None, folds: int | None = None
) -> Suite:
    """The suite with some of its runs (and those that they start from), or with other seeds and
    folds."""
    if seeds is not None and not seeds:
        raise UserError("seeds: the list is empty", "For example seeds=[0,1,2].")
    known = [run.name for run in suite.runs]
    wanted = set(only or known)
    unknown = next((name for name in only if name not in known), None)
    if unknown is not None:
        hint = suggest(unknown, known, "Runs of this suite")
        raise UserError(f"only: there is no run {unknown!r} in {suite.name}", hint)
    wanted |= {r.name for r in suite.runs if r.row in wanted}
    for name in list(wanted):
        waiting = [name]
        while waiting:
            needed = suite.run(waiting.pop()).waits_for
            waiting += needed
            wanted |= set(needed)
    runs = [run for run in suite.runs if run.name in wanted]
    if seeds is not None:
        runs = [replace(run, seeds=tuple(dict.fromkeys(seeds))) for run in runs]
    if folds is not None:
        runs = [replace(run, folds=folds) for run in runs]
    return replace(suite, runs=tuple(runs))


def share_out(suite: Suite, words: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Overrides of a command: those of every training, and those addressed to a run by its name."""
    runs = [run.name for run in suite.runs]
    shared: list[str] = []
    addressed: dict[str, list[str]] = {name: [] for name in runs}
    for word in words:
        read = read_override(word)
        head = read.head if read else word
        if read and head in addressed and read.key != head:
            addressed[head].append(read.below(head))
        elif head in RESERVED:
            shared.append(word)
        else:
            hint = suggest(head, [*runs, *RESERVED], "Runs of this suite, groups and keys")
            raise UserError(
                f"{word}: {head!r} is neither an option nor a run of {suite.name}", hint
            )
    return shared, addressed


def plan(
    suite: Suite,
    words: Sequence[str],
    folder: StudyFolder,
    threads: int | None = None,
    config_dir: str | None = None,
) -> list[Member]:
    """Every run of the suite, its configuration checked; all faults of all runs together."""
    shared, addressed = share_out(suite, words)
    flags = ["--config-dir", config_dir] if config_dir else []
    members: list[Member] = []
    configs: dict[str, dict[str, Any]] = {}
    faults: dict[str, list[Fault]] = {}
    for run in _in_order(suite):
        own = [*run.overrides, *addressed[run.name]]
        try:
            if run.is_eval:
                overrides = last_of_each(own)
                if run.source in configs:
                    configs[run.name] = change(configs[str(run.source)], overrides, config_dir)
            else:
                everywhere = [*suite.overrides, *run.overrides, *shared, *addressed[run.name]]
                everywhere += [f"dataset.folds={run.folds}"] if run.folds else []
                everywhere += [_taught_by(name for name, _ in run.teachers)] if run.teachers else []
                overrides = last_of_each(everywhere)
                configs[run.name] = compose(overrides, config_dir=config_dir).config
        except ConfigError as error:
            faults[run.name] = error.faults
            continue
        folds = suite.folds_of(run)
        repeats = [(s, f) for s in run.seeds for f in (range(folds) if folds else (None,))]
        for repeat in repeats if run.name in configs else ():
            names = [_run_of(suite, run, name, repeat) for name in run.waits_for]
            before = [next((m for m in members if m.job.name == name), None) for name in names]
            config = configs[run.name]
            members.append(_member(run, repeat, config, overrides, before, folder, threads, flags))
    if faults:
        raise ConfigError(_named(faults, [r.name for r in suite.runs if not r.is_eval]))
    return members


def _name_of(run: str, repeat: Repeat) -> str:
    seed, fold = repeat
    return f"{run}-seed{seed}" + ("" if fold is None else f"-fold{fold}")


def _run_of(suite: Suite, run: SuiteRun, needed: str, repeat: Repeat) -> str:
    """Of the runs that a run needs the one for this seed and fold."""
    seed, fold = repeat
    fold = fold if suite.run(needed).folds else None
    seeds = suite.run(needed).seeds
    if seed not in seeds and len(seeds) != 1:
        raise UserError(
            f"{run.name} with seed {seed}: {needed} has no run with this seed",
            f"Its seeds are {', '.join(map(str, seeds))}.",
        )
    return _name_of(needed, (seed if seed in seeds else seeds[0], fold))


def _taught_by(names: Iterable[str]) -> str:
    return f"{TEACHERS}=[{','.join(names)}]"


def _member(
    run: SuiteRun,
    repeat: Repeat,
    config: Mapping[str, Any],
    overrides: Sequence[str],
    needed: Sequence[Member | None],
    folder: StudyFolder,
    threads: int | None,
    flags: list[str],
) -> Member:
    seed, fold = repeat
    own: dict[str, Any] = {"seed": seed}
    inherited: dict[str, Any] = {}
    if fold is not None:
        inherited["dataset"] = {**config["dataset"], "fold": fold}
    verb = ["train", *flags]
    before = needed[0] if run.source is not None else None
    if run.is_eval and before is not None:
        own["evaluate_checkpoint"] = run.checkpoint
        if before.config.get("cache_dir"):  # what is saved of a place does not count
            own["cache_dir"] = before.config["cache_dir"]
        inherited["init_from"] = before.config["init_from"]
        verb = ["eval", str(before.job.folder.resolve()), *flags]
    elif before is not None:
        # Named below output_dir, so that the folder of the suite can be moved.
        own["init_from"] = f"{folder.path.name}/{before.job.name}/checkpoints/{run.checkpoint}"
    if threads is not None:
        own["threads"] = threads
    taught = []
    if run.teachers:
        members = needed[-len(run.teachers) :]
        places = [
            f"{folder.path.name}/{member.job.name}/checkpoints/{which}"
            for member, (_, which) in zip(members, run.teachers, strict=True)
            if member is not None
        ]
        taught = [_taught_by(map(quoted, places))]
        inherited["method"] = _with_teachers(config["method"], places)
    given = {*own, *([TEACHERS] if taught else [])}
    written = [w for w in overrides if key_of(w) not in given] + taught
    written += [f"{k}={quoted(v) if isinstance(v, str) else v}" for k, v in own.items()]
    if fold is not None and not run.is_eval:
        written.append(f"dataset.fold={fold}")
    job = folder.job(_name_of(run.name, repeat), verb, written)
    after = tuple(member.job.name for member in needed if member is not None)
    return Member(run, repeat, job, {**config, **inherited, **own}, after)


def _with_teachers(methods: Mapping[str, Any], places: Sequence[str]) -> dict[str, Any]:
    _, name, option = TEACHERS.split(".")
    return {**methods, name: {**methods[name], option: list(places)}}


def _in_order(suite: Suite) -> list[SuiteRun]:
    """Sources before what starts from them, otherwise as in the file."""
    ordered: list[SuiteRun] = []
    rest = list(suite.runs)
    while rest:
        names = {run.name for run in ordered}
        run = next(r for r in rest if names.issuperset(r.waits_for))
        ordered.append(run)
        rest.remove(run)
    return ordered


def _named(faults: Mapping[str, list[Fault]], trained: Sequence[str]) -> list[Fault]:
    """The faults with their runs; what is wrong in every run is said once."""
    result: dict[tuple[str, str], Fault] = {}
    for name, found in faults.items():
        for fault in found:
            everywhere = len(trained) > 1 and all(fault in faults.get(n, ()) for n in trained)
            where = fault.where if everywhere else f"{name}: {fault.where}"
            result[(where, fault.problem)] = Fault(where, fault.problem, fault.hint)
    return list(result.values())


def compared(
    suite: Suite, members: Sequence[Member], outcomes: Mapping[str, Outcome]
) -> list[Compared]:
    """The runs of the suite as rows of one comparison, in the order of its file."""
    rows = []
    for run in suite.runs:
        if run.row is not None and any(r.name == run.row for r in suite.runs):
            continue
        joined = [r for r in suite.runs if r.row == run.name]
        found = [_finished(members, outcomes, r) for r in (run, *joined)]
        reference: dict[str, float] = {}
        remarks = []
        for one in (run, *joined):
            misfit = _other_than_meant(suite, one, members) if one.reference else ""
            if misfit:
                remarks.append(f"references of {run.label} are for {misfit}: not shown")
            else:
                reference |= one.reference
        notes = "; ".join(note for _, note in found if note)
        more = [folders for folders, _ in found[1:]]
        over = "seeds" if not suite.folds_of(run) else "folds" if len(run.seeds) == 1 else "runs"
        row = Compared(run.label, found[0][0], reference, notes, more, run.choice, remarks, over)
        rows.append(row)
    return rows


def _other_than_meant(suite: Suite, run: SuiteRun, members: Sequence[Member]) -> str:
    """What a run's references are for, if its configuration is another; "" if they fit.

    A suite that does not say means the data set that it names itself.
    """
    meant = dict(run.reference_for)
    named = last_value((*suite.overrides, *run.overrides), "dataset")
    if not meant and named is not None:
        meant = {"dataset.name": named}
    for member in (m for m in members if m.run is run):
        for key, value in meant.items():
            node: Any = member.config
            for part in key.split("."):
                node = node.get(part) if isinstance(node, Mapping) else None
            if node != value:
                return f"{key}={value}, here it is {node}"
    return ""


def _finished(
    members: Sequence[Member], outcomes: Mapping[str, Outcome], run: SuiteRun
) -> tuple[list[Path], str]:
    """The folders of a run that are done, and a note of those that are not."""
    done: list[Path] = []
    notes = []
    for member in (m for m in members if m.run is run):
        outcome = outcomes.get(member.job.name)
        if outcome is not None and outcome.status == "done":
            done.append(member.job.folder)
        elif outcome is not None:
            note = f"{member.job.name} {outcome.status}: {outcome.reason}"
            notes.append(note.rstrip(": "))
        else:
            notes.append(f"{member.job.name} not run")
    return done, "; ".join(notes)
