"""The check of a whole configuration, before any data or model is loaded."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from scratchlab.config.described import described_faults
from scratchlab.config.evaluators import evaluator_faults, posed_tasks
from scratchlab.config.methods import method_faults
from scratchlab.config.origin import choices_of
from scratchlab.config.representations import representation_faults
from scratchlab.config.root import FOLDER_NAME, LONGEST_NAME, root_options
from scratchlab.config.schema import NO_OPTION, check_options
from scratchlab.errors import Fault, nearest, shortened, suggest
from scratchlab.registry import Part, section_parts

# Sections that name one part each, and those that hold any number of parts under their names.
SINGLE = (
    *("dataset", "representation", "task", "decoding", "optimizer", "scheduler", "trainer"),
    "model",
)
MULTIPLE = ("method", "evaluator", "tracker")
SECTIONS = (*SINGLE, *MULTIPLE)
OPTIONAL = ("representation", "decoding", "optimizer", "scheduler")

LEARNING = ("optimizer", "scheduler")  # which an estimator does not have
SYNONYMS = {"lr": "learning_rate", "weight_decay": "l2", "beta1": "momentum"}

RESOLVER = re.compile(r"(?<!\\)\$\{\s*[\w.-]+\s*:")
CHECKPOINT_NAME = re.compile(r"best|last|previous|step-\d+")


def check(config: DictConfig | Mapping[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """Compare every section with the options that its part declares.

    Returns the plain, complete configuration (meaningful only if there are no faults) and all
    faults: unknown parts and options, wrong types, values out of range, options in conflict, and
    parts that do not fit each other.
    """
    if isinstance(config, DictConfig):
        if asking := resolvers(config):
            return {}, asking
        try:
            plain = OmegaConf.to_container(config, resolve=True)
        except OmegaConfBaseException as error:
            if unnamed := _unnamed_sections(OmegaConf.to_container(config)):
                return {}, unnamed  # name: ${model.name}-${dataset.name} has nothing to look up
            text = str(error).strip().splitlines()[0]
            return {}, [Fault(error.full_key or "configuration", text)]
    else:
        plain = dict(config)
    assert isinstance(plain, dict)
    root = {str(k): v for k, v in plain.items() if k not in SECTIONS}
    complete, faults = check_options("", root, root_options(), ignore=())
    faults += _root_faults(root)
    faults += _interpolations(plain)
    chosen: dict[str, list[Part]] = {}
    for section in SECTIONS:
        entries, found, found_parts = _check_section(section, plain.get(section))
        complete[section] = entries
        faults += found
        chosen[section] = found_parts
    faults = [
        _in_its_section(fault, chosen, {str(k): v for k, v in plain.items()}) for fault in faults
    ]
    for part in chosen["model"]:
        if not any(fault.where.startswith("model.") for fault in faults):
            faults += described_faults("model", complete["model"], part)
    misfits = _misfits(chosen) or representation_faults(chosen)
    faults += [*misfits, *evaluator_faults(chosen, complete)]
    faults += [] if misfits else method_faults(chosen, complete)
    faults += _trainer_faults(complete)
    faults += _exportable(complete.get("export"), chosen["model"])
    return complete, faults


def _in_its_section(
    fault: Fault, chosen: Mapping[str, list[Part]], given: Mapping[str, Any]
) -> Fault:
    """An unknown option that another section of the configuration has is said to be there."""
    section, _, key = fault.where.partition(".")
    if section in LEARNING and not key and fault.misfit:
        return next((_own_options(fault, part, given) for part in chosen["model"]), fault)
    if fault.problem != NO_OPTION or section not in SINGLE:
        return fault
    there = [
        f"{other}.{key}"
        for other in SINGLE
        for part in chosen[other]
        if key in {option.name for option in part.options}
    ]
    if not there:
        return fault
    options = fault.hint.rpartition("? ")[2]  # without another guess
    return dataclasses.replace(fault, hint=f"Did you mean {' or '.join(there)}? {options}")


def _own_options(fault: Fault, model: Part, given: Mapping[str, Any]) -> Fault:
    """What was said to an optimizer or a schedule that an estimator does not have."""
    keys = given.get(fault.where)
    if model.kind != "estimator" or not isinstance(keys, Mapping) or not keys:
        return fault
    key = str(next(iter(keys)))
    there = [option.name for option in model.options]
    meant = nearest(SYNONYMS.get(key, key), there)
    guess = f"Did you mean model.{meant}? " if meant else ""
    return Fault(
        f"{fault.where}.{key}",
        f"the estimator {model.name} has its own way to learn",
        f"{guess}Options: {', '.join(f'model.{name}' for name in there)}.",
        True,
    )


def _root_faults(root: Mapping[str, Any]) -> list[Fault]:
    """What types and limits cannot say of the options of the run itself."""
    faults = []
    for key in ("name", "run_id"):
        value = root.get(key)
        if isinstance(value, str) and not FOLDER_NAME.fullmatch(value):
            hint = "Use letters, digits and . _ + = , - (the first a letter or digit)."
            faults.append(Fault(key, f"{shortened(value)} cannot be the name of a folder", hint))
        elif isinstance(value, str) and len(value) > LONGEST_NAME:
            problem = f"{shortened(value)} is too long for a folder"
            faults.append(Fault(key, problem, f"Use at most {LONGEST_NAME} characters."))
    which = root.get("evaluate_checkpoint")
    if isinstance(which, str) and not CHECKPOINT_NAME.fullmatch(which):
        hint = suggest(which, ("best", "last", "step-N"))
        faults.append(Fault("evaluate_checkpoint", f"{shortened(which)} is no checkpoint", hint))
    if root.get("resume") is True and root.get("run_id") is None:
        hint = "Write run_id=NAME as well, or resume=RUN with the run's folder."
        faults.append(Fault("resume", "resume=true needs the run's name", hint))
    return faults


def _trainer_faults(complete: Mapping[str, Any]) -> list[Fault]:
    """What a trainer needs of the other sections."""
    trainer, faults = complete.get("trainer") or {}, []
    known = {*section_parts("evaluator"), *(complete.get("evaluator") or {})}
    wanted = trainer.get("validation_evaluators") or []
    for name in wanted:
        if name not in known:
            problem = f"there is no evaluator {shortened(name)}"
            faults.append(Fault("trainer.validation_evaluators", problem, suggest(name, known)))
    monitor = trainer.get("monitor", "val/loss")
    # Estimators measure more than their loss; what, they say in training.
    more = wanted or trainer.get("name") == "fit"
    if monitor != "val/loss" and not (str(monitor).startswith("val/") and more):
        hint = "Choose val/loss, or val/NAME with what trainer.validation_evaluators measure."
        faults.append(Fault("trainer.monitor", f"{shortened(monitor)} is not measured", hint))
    return faults


def _interpolations(plain: Any) -> list[Fault]:
    """Texts that a reader of the saved configuration could take for an instruction to look up."""
    hint = "A saved configuration holds plain values only."
    return [
        Fault(key, f"{shortened(text)} is an interpolation", hint)
        for key, text in _texts("", plain)
        if "${" in text
    ]


def resolvers(config: DictConfig) -> list[Fault]:
    """What would be looked up outside the configuration (``${oc.env:HOME}``) and kept in it.

    A file may come from somebody else; only other keys are looked up for it.
    """
    hint = "Only other keys are looked up (${model.name}); write the value itself."
    return [
        Fault(key, f"{text!r} is not looked up", hint)
        for key, text in _texts("", OmegaConf.to_container(config, resolve=False))
        if RESOLVER.search(text)
    ]


def _texts(prefix: str, node: Any) -> Iterator[tuple[str, str]]:
    """Every text in a configuration, with its full key."""
    if isinstance(node, str):
        yield prefix, node
        return
    entries = node.items() if isinstance(node, Mapping) else ()
    for key, value in enumerate(node) if isinstance(node, list) else entries:
        yield from _texts(f"{prefix}.{key}" if prefix else str(key), value)


def _check_section(section: str, node: Any) -> tuple[Any, list[Fault], list[Part]]:
    if section in MULTIPLE:
        if node is None or node == []:
            return {}, [], []
        if not isinstance(node, dict):
            return {}, [Fault(section, f"{shortened(node)} is no mapping of names to options")], []
        entries, faults, parts = {}, [], []
        for key, entry in node.items():
            if entry is None:
                continue
            entries[key], found, part = _check_part(section, f"{section}.{key}", entry)
            faults += found
            parts += part
        return entries, faults, parts
    if node is None:
        if section in OPTIONAL:
            return None, [], []
        known = suggest("", section_parts(section), "Choices")
        return None, [Fault(section, "is missing: choose one", known)], []
    return _check_part(section, section, node)


def _unnamed(section: str, entry: Mapping[str, Any]) -> Fault:
    """That a section does not say which part it is of."""
    wrong = nearest("name", map(str, entry))
    hint = suggest("", section_parts(section))
    if wrong is not None:
        hint = f"Is {section}.name meant by {section}.{shortened(wrong)[1:-1]}? {hint}"
    return Fault(section, "is missing: choose one", hint, True)


def _unnamed_sections(plain: Any) -> list[Fault]:
    found = {section: plain.get(section) for section in SINGLE}
    return [_unnamed(s, e) for s, e in found.items() if isinstance(e, dict) and "name" not in e]


def _check_part(section: str, prefix: str, entry: Any) -> tuple[Any, list[Fault], list[Part]]:
    known = section_parts(section)
    if not isinstance(entry, dict):
        key = prefix.partition(".")[2]
        owners = [n for n, p in known.items() if key in {o.name for o in p.options}]
        hint = suggest(str(entry), known)
        if section in MULTIPLE and owners:
            hint = f"Did you mean {' or '.join(f'{section}.{n}.{key}' for n in owners)}?"
        return None, [Fault(prefix, f"{shortened(entry)} is no {section} with options", hint)], []
    name = entry.get("name")
    if name is None and section not in MULTIPLE:
        return None, [_unnamed(section, entry)], []
    if name is None and section in MULTIPLE:
        keys = list(entry)
        hint = suggest(prefix.partition(".")[2], known)
        problem = f"there is no {section} of this name in the run"
        if prefix.partition(".")[2] in known:
            hint = f"Add it first: {section}=[…,{prefix.partition('.')[2]}]"
        return None, [Fault(f"{prefix}.{keys[0]}" if keys else prefix, problem, hint)], []
    if not isinstance(name, str) or name not in known:
        hint = suggest(str(name), known)
        return None, [Fault(f"{prefix}.name", f"unknown {section} {shortened(name)}", hint)], []
    part = known[name]
    complete, faults = check_options(prefix, entry, part.options, part.rules)
    return {"name": name, **complete}, faults, [part]


def _misfits(chosen: Mapping[str, list[Part]]) -> list[Fault]:
    """Parts that exist but cannot work together, told from the facts they are registered with."""
    faults: list[Fault] = []
    dataset = next(iter(chosen["dataset"]), None)
    if dataset is None:
        return faults
    posed = posed_tasks(dataset)
    for model in chosen["model"]:
        able = model.facts.get("tasks")
        if posed and able is not None and not set(posed) & set(able):  # the rest follows
            shown = " or ".join(posed)
            sets = [
                n for n, p in section_parts("dataset").items() if set(posed_tasks(p)) & set(able)
            ]
            fitting = choices_of("model", {n for one in posed for n in _names_for("model", one)})
            hint = (
                f"Models for {shown}: {', '.join(fitting) or 'none'}. "
                f"Data sets for {model.name}: {', '.join(choices_of('dataset', sets)) or 'none'}."
            )
            problem = (
                f"the model {model.name} is for {' and '.join(able)}, "
                f"but the data set {dataset.name} poses {shown}"
            )
            return [Fault("model and dataset", problem, hint, True)]
    task = next((part.name for part in chosen["task"]), None)
    if task in posed:  # of the tasks that are possible this one is chosen
        posed = (str(task),)
    for model in chosen["model"]:
        posed = tuple(p for p in posed if p in model.facts.get("tasks", posed)) or posed
    for section in ("model", "task", "trainer", "decoding"):
        for part in chosen[section]:
            able = (part.name,) if section == "task" else part.facts.get("tasks")
            if not posed or able is None or set(posed) & set(able):
                continue
            shown = " or ".join(posed)
            fitting = choices_of(section, {n for one in posed for n in _names_for(section, one)})
            problem = f"the data set {dataset.name} poses {shown}, not {' or '.join(able)}"
            if section != "task":
                problem = f"{part.name} is for {' and '.join(able)}, but {problem}"
            hint = f"For {shown}: {', '.join(fitting)}." if fitting else ""
            faults.append(Fault(section, problem, hint, True))
    for model in chosen["model"]:
        wanted = "fit" if model.kind == "estimator" else "gradient"
        for trainer in chosen["trainer"]:
            if trainer.name != wanted:
                hint = f"Choose trainer={wanted}."
                problem = f"{trainer.name} cannot train the {model.kind} {model.name}"
                faults.append(Fault("trainer", problem, hint, True))
        for section in LEARNING:
            if model.kind == "estimator" and chosen[section]:
                problem = f"the estimator {model.name} has its own way to learn"
                hint = f"Leave {section}=null; see the options of the model."
                faults.append(Fault(section, problem, hint, True))
            elif model.kind == "model" and not chosen[section] and not faults:
                hint = suggest("", section_parts(section))
                problem = f"is missing: choose one for {model.name}"
                faults.append(Fault(section, problem, hint, True))
    return faults


def _exportable(form: Any, models: list[Part]) -> list[Fault]:
    """A format that the model cannot be written in."""
    if form is None or not models or form in models[0].facts.get("exports", ()):
        return []
    able = [n for n, p in section_parts("model").items() if form in p.facts.get("exports", ())]
    if not able:  # no format at all, which is said of the option itself
        return []
    problem = f"{models[0].name} cannot be written in the format {shortened(form)}"
    return [Fault("export", problem, f"It is for model={' and model='.join(able)}.")]


def _names_for(section: str, task: str) -> list[str]:
    fitting = []
    for name, part in section_parts(section).items():
        tasks = (name,) if section == "task" else part.facts.get("tasks", (task,))
        if task in tasks:
            fitting.append(name)
    return sorted(fitting)
