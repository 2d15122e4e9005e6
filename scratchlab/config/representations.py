"""Whether a representation stands where one is needed, told before any text is read."""

from __future__ import annotations

from collections.abc import Mapping

from scratchlab.config.origin import choices_of
from scratchlab.errors import Fault
from scratchlab.registry import Part, section_parts

TEXTS = ("texts", "passages")  # what a data set holds that a representation makes numbers of


def representation_faults(chosen: Mapping[str, list[Part]]) -> list[Fault]:
    """An estimator needs rows of numbers: of texts, only a representation gives them.

    ``chosen``: the parts of each section.
    """
    dataset, model, representation = (
        next(iter(chosen[section]), None) for section in ("dataset", "model", "representation")
    )
    if dataset is None or model is None:
        return []
    holds = dataset.facts.get("holds")
    is_text = bool(set(holds or ()) & set(TEXTS))
    if holds is None:  # one of another package, perhaps
        is_text = dataset.facts.get("task") == "classification"
    if representation is None:
        searches = model.facts.get("represents")
        if not searches and (model.kind != "estimator" or "texts" not in (holds or ())):
            return []
        names = ", ".join(choices_of("representation", section_parts("representation")))
        problem = f"{dataset.name} holds texts, and {model.name} learns from rows of numbers"
        usual = "bm25" if searches else "tfidf"
        hint = f"Say what makes numbers of the texts: representation={usual}. Choices: {names}."
        return [Fault("representation", problem, hint, True)]
    if not is_text:
        sets = [n for n, p in section_parts("dataset").items() if _holds_texts(p)]
        problem = (
            f"{representation.name} is for labelled texts and documents, which {dataset.name} does "
            "not hold"
        )
        texts = ", ".join(choices_of("dataset", sets))
        hint = f"Leave representation=null, or choose one of these data sets: {texts}."
        return [Fault("representation", problem, hint, True)]
    if "passages" not in (holds or ()) and model.kind != "estimator":
        problem = f"{model.name} reads the words of {dataset.name} itself"
        hint = "Leave representation=null, or choose an estimator (model=logistic)."
        return [Fault("representation", problem, hint, True)]
    return []


def _holds_texts(part: Part) -> bool:
    return bool(set(part.facts.get("holds", ())) & set(TEXTS))
