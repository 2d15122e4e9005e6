"""Which figures a run will have, which way each improves, and which of them may be ranked together.

A number alone does not say what it counts: the loss of one estimator is half a squared error of
the standardised target, that of another a squared error in the target's unit; a perplexity is per
token of one tokenizer. All of that follows from the configuration, so it is known before anything
is trained. Nothing heavy is imported here.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scratchlab.registry import Part, section_parts

# What a task's loss is where nothing else is said (of a model: ``register(…, loss="…")``).
LOSSES = {
    "language_modeling": "nats per token",
    "seq2seq": "nats per token",
    "masked_lm": "nats per masked token",
    "classification": "nats",
    "regression": "squared error",
    "reconstruction": "squared error of a pixel",
    "retrieval": "1 - MRR",
}
# Options of a data set that decide what its targets are; the others change how they are read,
# batched or learnt from.
TARGETS = (
    *("name", "path", "paths", "val_path", "val_paths", "test_path", "test_paths", "test_file"),
    *("test_source", "test_target", "val_source", "val_target", "train_source", "train_target"),
    *("test_set", "tsv", "tsv_columns", "source_column", "target_column", "text_column"),
    *("label_column", "prompt_field", "response_field", "target", "target_type", "colour"),
    *(
        "corpus",
        "val",
        "test",
        "held_out",
        "hub_id",
        "hub_config",
        "noise",
        "strength",
        "restored",
        "reverse",
        "duplicates",
        "folds",
        "fold",
        "queries",
        "questions",
        "pattern",
        "question_field",
        "answer_field",
    ),
)
TOKENS = ("tokenizer", "vocab_size", "min_frequency", "checkpoint", "shared_vocabulary")
MASKED = ("share", "masked", "replaced", "whole_words")
BAR = " | "
COSTS = {"training_time": "lower", "run_time": "lower", "peak_memory": "lower"}
TO_TARGET = {"time_to_target": "lower"}  # of runs with trainer.stop_at


@dataclass(frozen=True)
class Metric:
    """A figure of a run: ``better`` is higher, lower or "" (neither); figures compare where
    ``like`` is the same."""

    better: str
    like: str


def expected(config: Mapping[str, Any]) -> tuple[dict[str, Metric], bool]:
    """The metrics that a run of a checked configuration has, and whether it may have others.

    ``val/NAME`` and ``train/NAME`` are logged between epochs, NAME is measured at the end.
    """
    found: dict[str, Metric] = {}
    targets, loss = targets_of(config), loss_of(config)
    for name, better in _logged(config).items():
        like = loss if name == "loss" else perplexity_of(config) if name == "perplexity" else ""
        found[f"val/{name}"] = found[f"train/{name}"] = Metric(better, like or targets)
    whole = True
    known = section_parts("evaluator")
    trainer = config.get("trainer") or {}
    quick = trainer.get("validation_evaluators") or []
    entries = dict(config.get("evaluator") or {}) if config.get("evaluate", True) else {}
    chosen = [("", entry) for entry in entries.values()]
    chosen += [("val/", (config.get("evaluator") or {}).get(n) or {"name": n}) for n in quick]
    for prefix, entry in chosen:
        part = known.get(str(entry.get("name")))
        if part is None or "measures" not in part.facts:
            whole = False
            continue
        found |= {
            prefix + n: m for n, m in _measured(part, entry, config) if prefix + n not in found
        }
    more = TO_TARGET if trainer.get("stop_at") else {}
    found |= {name: Metric(better, "") for name, better in (COSTS | more).items()}
    return found, whole


def compares(config: Mapping[str, Any]) -> dict[str, str]:
    """What the figures measured at the end of a run may be ranked with, by name."""
    found = expected({**config, "evaluate": True})[0]
    return {name: metric.like for name, metric in found.items()}


def loss_of(config: Mapping[str, Any]) -> str:
    """What the loss of a run counts, and of what."""
    task = str((config.get("task") or {}).get("name"))
    model = config.get("model") or {}
    part = section_parts("model").get(str(model.get("name")))
    facts = part.facts if part else {}
    loss = str(facts.get("loss", LOSSES.get(task, f"loss of {model.get('name')}")))
    loss += "".join(f", {o}={model[o]}" for o in facts.get("loss_options", ()) if o in model)
    if LOSSES.get(task, "").endswith("token"):
        return _joined(perplexity_of(config), loss)
    return _joined(targets_of(config), loss)


def targets_of(config: Mapping[str, Any]) -> str:
    """The data that figures of a run are measured on."""
    name = str((config.get("dataset") or {}).get("name"))
    return " ".join([name, *_said(config, TARGETS)])


def perplexity_of(config: Mapping[str, Any]) -> str:
    """The same, and the tokens that it is read in, and how a task spoils them."""
    said = _said(config, TOKENS)
    if (config.get("task") or {}).get("name") == "masked_lm":
        said += _said(config, MASKED, "task")
    return _joined(targets_of(config), " ".join(said))


def parts_of(compares: str) -> tuple[str, str]:
    """The data of a figure, and its tokens, loss or settings."""
    data, _, how = compares.partition(BAR)
    return data, how


def _joined(data: str, how: str) -> str:
    """Data first, and what else makes figures comparable behind a bar."""
    return f"{data}{' ' if BAR in data else BAR}{how}" if how else data


def _said(config: Mapping[str, Any], names: tuple[str, ...], section: str = "dataset") -> list[str]:
    """The options of the data set (or of another section) that are not as usual."""
    options = config.get(section) or {}
    part = section_parts(section).get(str(options.get("name")))
    usual = part.defaults() if part else {}
    return [
        f"{name}={options[name]}"
        for name in names
        if name != "name" and name in options and options[name] != usual.get(name)
    ]


def _logged(config: Mapping[str, Any]) -> dict[str, str]:
    """What the trainer itself logs, with its direction."""
    task = str((config.get("task") or {}).get("name"))
    names = {"loss": "lower"}
    if (config.get("trainer") or {}).get("name") == "fit":
        own = {"classification": ("accuracy", "higher"), "regression": ("rmse", "lower")}
        own["language_modeling"] = ("perplexity", "lower")
        own["retrieval"] = ("mrr", "higher")
        names |= dict([own[task]]) if task in own else {}
    return names


def _measured(
    part: Part, entry: Mapping[str, Any], config: Mapping[str, Any]
) -> Iterator[tuple[str, Metric]]:
    """What an evaluator measures; figures with other options of it do not compare."""
    asked = part.facts.get("asked_by", {})
    options = {**part.defaults(), **entry}
    changed = [f"{name}={options[name]}" for name in part.facts.get("changed_by", ())]
    for name, better in part.facts["measures"].items():
        if name in asked and options[asked[name][0]] != asked[name][1]:
            continue
        tokens = name in part.facts.get("per_token", ())
        of = perplexity_of(config) if tokens else targets_of(config)
        of = "" if part.facts.get("cost") else _joined(of, " ".join(changed))
        yield name, Metric(better, of)


@functools.cache
def directions() -> dict[str, str]:
    """Which way every metric of a registered evaluator improves."""
    found = COSTS | TO_TARGET
    for part in section_parts("evaluator").values():
        found |= part.facts.get("measures", {})
    return found
