"""Who makes what a model says is told by the kind of its data, once."""

from __future__ import annotations

import pytest

from scratchlab.data.contract import ArrayDataset, Dataset, TextDataset, TranslationDataset
from scratchlab.data.kinds.prompted import PromptedDataset
from scratchlab.data.kinds.questions import QuestionDataset
from scratchlab.data.kinds.text_classes import TextClassDataset
from scratchlab.errors import UserError
from scratchlab.evaluation.contract import EvaluationContext
from scratchlab.evaluation.outputs.contract import Outputs, outputs_for
from scratchlab.evaluation.outputs.predictions import Predicting, predictions
from scratchlab.registry import parts
from scratchlab.reporting.sink import NullSink

KINDS: tuple[type[Dataset], ...] = (
    ArrayDataset, TextDataset, TranslationDataset, PromptedDataset, QuestionDataset,
    TextClassDataset,
)  # fmt: skip


def test_each_kind_of_data_names_outputs_of_its_own() -> None:
    named = [kind.outputs for kind in KINDS]
    assert len(set(named)) == len(KINDS) and set(named) <= set(parts("outputs"))


def test_data_sets_of_every_kind_inherit_their_outputs() -> None:
    classes = [part.load() for part in parts("dataset").values()]
    assert all(cls.outputs in parts("outputs") for cls in classes), classes


class Unanswerable:
    outputs = ""


def test_a_data_set_without_outputs_is_refused_in_the_words_of_who_asks() -> None:
    refusal = UserError("nothing is said to it")
    with pytest.raises(UserError, match="nothing is said to it"):
        outputs_for(Unanswerable(), Outputs, refusal)  # type: ignore[arg-type]


def test_rows_and_classified_texts_are_predictions_and_translations_are_none() -> None:
    found = {name: issubclass(p.load(), Predicting) for name, p in parts("outputs").items()}
    assert [name for name, is_one in found.items() if is_one] == ["classified_texts", "predictions"]


def test_what_is_said_to_a_split_is_made_once() -> None:
    calls: list[str] = []

    class Counting(Outputs):
        registered_name = "counting"

        def make(self, context: EvaluationContext, **how: object) -> int:
            calls.append(context.split)
            return len(calls)

        def of_lines(self, context, lines, at_once):  # type: ignore[no-untyped-def]
            yield from ([line] for line in lines)

    context = EvaluationContext(None, None, None, "test", "cpu", NullSink())  # type: ignore[arg-type]
    assert [Counting().of_split(context, count=n) for n in (3, 3, None, 3)] == [1, 1, 2, 1]
    assert calls == ["test", "test"]


def test_an_evaluator_of_rows_refuses_translations() -> None:
    class Pairs:
        outputs = "translations"

    context = EvaluationContext(None, Pairs(), None, "test", "cpu", NullSink())  # type: ignore[arg-type]
    with pytest.raises(UserError, match="needs a table, images or texts with classes"):
        predictions(context)
