"""Whether evaluators fit what they are to measure, told before anything is loaded or trained.

Parts say it in the facts they are registered with. An evaluator has ``tasks``, ``data`` (the data
set must ``hold`` one of them: rows, images, texts, answers, questions), ``asks`` (something that
the model or a method must offer) and ``decodes`` (it needs a search where the task is translation).
What a part of another package does not say is not held against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scratchlab.errors import Fault
from scratchlab.registry import Part, section_parts

DATA = {
    "rows": "rows of numbers (a table or images)",
    "images": "images",
    "answers": "texts with the answers that are wanted",
    "questions": "questions with one right answer",
    "texts": "texts with classes",
    "queries": "queries with the documents that are right for them",
    "cited_answers": "questions on documents",
    "passages": "documents that are searched",
}
ASKS = {
    "quantized": "quantized weights",
    "feature_maps": "convolutions",
    "members": "the members of an ensemble",
    "word_weights": "attention over the words of a text",
    "attention": "a text encoder's attention",
}
VALIDATION = "trainer.validation_evaluators"


def evaluator_faults(chosen: Mapping[str, list[Part]], complete: Mapping[str, Any]) -> list[Fault]:
    """The chosen evaluators, those of validation too, that cannot measure this model on this data.

    ``chosen``: the parts of each section; ``complete``: the configuration.
    """
    dataset, model = (next(iter(chosen[section]), None) for section in ("dataset", "model"))
    if dataset is None or model is None:
        return []
    task = next((part.name for part in chosen["task"]), None)
    every = posed_tasks(dataset)
    posed = (task,) if task in every else every
    posed = tuple(p for p in posed if p in model.facts.get("tasks", posed))
    if every and not posed:
        return []  # model and data set do not fit, which is said of them
    known = section_parts("evaluator")
    named = (complete.get("trainer") or {}).get("validation_evaluators") or []
    given = {part.name for part in chosen["evaluator"]}
    wanted = [(f"evaluator.{part.name}", part) for part in chosen["evaluator"]]
    wanted += [(VALIDATION, known[name]) for name in named if name in known and name not in given]
    around = Surroundings(posed, dataset, model, chosen["method"], bool(chosen["decoding"]))
    faults = []
    for where, part in wanted:
        problem = around.misfit(part)
        if problem:
            fitting = sorted(name for name, p in known.items() if not around.misfit(p))
            hint = f"Evaluators that fit: {', '.join(fitting)}."
            faults.append(Fault(where, f"{problem}{around.remedy(part)}", hint, True))
    return faults


@dataclass(frozen=True)
class Surroundings:
    """What an evaluator is to measure: a model with methods on a data set that poses tasks."""

    posed: tuple[Any, ...]
    dataset: Part
    model: Part
    methods: list[Part]
    decoding: bool

    def misfit(self, part: Part) -> str:
        """What keeps an evaluator from measuring here; nothing if it can."""
        able, data, asks = (part.facts.get(fact) for fact in ("tasks", "data", "asks"))
        if self.posed and able is not None and not set(self.posed) & set(able):
            return (
                f"{part.name} is for {' and '.join(able)}, but the data set {self.dataset.name} "
                f"poses {' or '.join(self.posed)}, not {' or '.join(able)}"
            )
        if data and not set(data) & set(_facts(self.dataset, "holds", data)):
            words = " or ".join(DATA[kind] for kind in data)
            return f"{part.name} is for {words}, which {self.dataset.name} does not hold"
        if asks and not any(asks in _facts(p, "offers", [asks]) for p in self.parts):
            return f"{part.name} is for {ASKS.get(asks, asks)}; {self.model.name} has none"
        if part.facts.get("decodes") and not self.decoding and "seq2seq" in self.posed:
            return f"{part.name} is for what the model writes, and no decoding is chosen"
        return ""

    @property
    def parts(self) -> list[Part]:
        return [self.model, *self.methods]

    def remedy(self, part: Part) -> str:
        """Where an evaluator that asks for something finds it."""
        asks = part.facts.get("asks")
        if part.facts.get("decodes") and not self.decoding and not asks:
            return " (for example decoding=beam)" if "seq2seq" in self.posed else ""
        if not asks or asks in {a for p in self.parts for a in _facts(p, "offers", [])}:
            return ""
        able = [
            f"{section}={name}"
            for section in ("model", "method")
            for name, p in section_parts(section).items()
            if asks in p.facts.get("offers", ())
        ]
        return f" (it goes with {' and '.join(able)})"


def posed_tasks(dataset: Part) -> tuple[str, ...]:
    """The tasks that a data set can be used for, its own first; none if it does not say."""
    own = dataset.facts.get("task")
    return (own, *dataset.facts.get("also", ())) if own else ()


def _facts(part: Part, fact: str, otherwise: Any) -> Any:
    """A fact of a part; those of other packages need not state it."""
    own = part.module.split(".")[0] == __name__.split(".")[0]
    return part.facts.get(fact, () if own else otherwise)
