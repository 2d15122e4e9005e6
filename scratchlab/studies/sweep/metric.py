"""What the trials of a sweep are compared by: one figure that all have and that is alike in all.

Everything is told from the configurations, before the first trial (and by ``--dry-run``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from scratchlab.config.overrides import key_of
from scratchlab.errors import ConfigError, Fault, suggest
from scratchlab.evaluation.comparable import Metric, expected, targets_of
from scratchlab.studies.sweep.options import Config

KEY = "sweep.metric"
USUAL = "val/loss"
# What is taken in place of losses that are unlike, if all trials have it.
INSTEAD = (
    "rmse",
    "accuracy",
    "bits_per_character",
    "bleu",
    "chrf",
    "rougeL",
    "psnr",
    "exact_match",
)
# Names that a metric of a part that does not say what it measures improves by falling.
LOWER = ("loss", "perplexity", "error", "rmse", "mae", "mse", "time", "latency", "memory", "size")


def choose_metric(options: Config, variants: Mapping[str, Mapping[str, Any]]) -> tuple[Config, str]:
    """The options with metric and direction filled in, and a note if the metric is not the usual.

    ``variants`` are configurations of trials by the word that tells them apart (``model=linear``).

    Raises:
        ConfigError: the metric is not measured, improves the other way, or does not compare.
    """
    trials = {word: expected(config) for word, config in variants.items()}
    found = {word: metrics for word, (metrics, _) in trials.items()}
    whole = all(complete for _, complete in trials.values())
    wanted = options.metric or USUAL
    if any(m[wanted].like for m in found.values() if wanted in m) or wanted == USUAL:
        _require_one_data_set(variants)
    lacking = [word for word, metrics in found.items() if wanted not in metrics]
    if lacking and (whole or any(wanted in metrics for metrics in found.values())):
        raise ConfigError([_not_measured(wanted, lacking, found)])
    note = ""
    if not lacking and len(_likes(wanted, found)) > 1:
        taken = None if options.metric else _instead(found)
        if taken is None:
            raise ConfigError([_unlike(wanted, found, variants)])
        note = (
            f"{wanted} is not the same in all trials ({_shown(wanted, found)}): compared by {taken}"
        )
        wanted = taken
    better = next((m[wanted].better for m in found.values() if wanted in m), None)
    return replace(options, metric=wanted, direction=_direction(wanted, better, options)), note


def _require_one_data_set(variants: Mapping[str, Mapping[str, Any]]) -> None:
    data = {word: targets_of(config) for word, config in variants.items()}
    if len(set(data.values())) > 1:
        different = list(dict.fromkeys(data.values()))
        problem = "the trials differ in their data: " + ", ".join(different)
        hint = (
            "Figures of different data do not tell which is best. Make a sweep for each, or a "
            "suite, which shows them side by side."
        )
        where = key_of(next(w for w, d in data.items() if d != different[0]))
        raise ConfigError([Fault(where, problem, hint)])


def _likes(name: str, found: Mapping[str, Mapping[str, Metric]]) -> set[str]:
    return {metrics[name].like for metrics in found.values()}


def _instead(found: Mapping[str, Mapping[str, Metric]]) -> str | None:
    """The first figure that all trials have and that is alike in all, of those known to all."""
    for name in INSTEAD:
        for candidate in (f"val/{name}", name):
            if all(candidate in m for m in found.values()) and len(_likes(candidate, found)) == 1:
                return candidate
    return None


def _shown(name: str, found: Mapping[str, Mapping[str, Metric]]) -> str:
    """What the figure is in which trials."""
    words: dict[str, str] = {}
    for word, metrics in found.items():
        words[metrics[name].like] = word or words.get(metrics[name].like, "")
    return "; ".join(f"{word or 'the first'}: {meaning}" for meaning, word in words.items())


def _unlike(
    name: str,
    found: Mapping[str, Mapping[str, Metric]],
    variants: Mapping[str, Mapping[str, Any]],
) -> Fault:
    everywhere = set.intersection(*(set(m) for m in found.values()))
    alike = sorted(n for n in everywhere if len(_likes(n, found)) == 1 and _likes(n, found) != {""})
    task = next(iter(variants.values())).get("task") or {}
    hint = f"Alike in all are {', '.join(alike)}." if alike else ""
    if task.get("name") == "language_modeling":
        hint += (
            " Bits per character compare between tokenizers: "
            "evaluator.perplexity.per_character=true sweep.metric=bits_per_character."
        )
    elif task.get("name") == "seq2seq" and "bleu" not in alike:
        hint += " Text compares between tokenizers: evaluator=[bleu] sweep.metric=bleu."
    problem = f"{name} is not the same in all trials ({_shown(name, found)})"
    return Fault(KEY, problem, (hint or "Make a sweep for each.").strip())


def _not_measured(
    name: str, lacking: list[str], found: Mapping[str, Mapping[str, Metric]]
) -> Fault:
    everywhere = set.intersection(*(set(m) for m in found.values()))
    if len(lacking) == len(found):
        problem = f"no trial measures {name!r}"
    else:
        problem = (
            f"{name!r} is not measured where {', '.join(w or 'nothing varies' for w in lacking)}"
        )
    hint = suggest(name, everywhere, "Measured are")
    return Fault(KEY, problem, hint + " See evaluator=[…] and trainer.validation_evaluators=[…].")


def _direction(name: str, better: str | None, options: Config) -> str:
    if better is None:  # a part of another package, which does not say
        better = "lower" if any(word in name for word in LOWER) else "higher"
        return options.direction or better
    if options.direction is None and not better:
        problem = f"must be set: {name} is neither better high nor low"
        raise ConfigError([Fault("sweep.direction", problem, "Choices: higher, lower.")])
    if options.direction and better and options.direction != better:
        problem = f"{options.direction} is the wrong way: {name} is better when {better}"
        raise ConfigError([Fault("sweep.direction", problem, "Leave it out.")])
    return options.direction or better
