"""Who says what of which kind of data set: a function for each kind, found by single dispatch."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from scratchlab.data.contract import DataContext, Dataset
from scratchlab.data.kinds.document_questions import DocumentQuestions
from scratchlab.data.kinds.pairs import PairDataset
from scratchlab.data.kinds.prompted import PromptedDataset
from scratchlab.data.kinds.questions import QuestionDataset
from scratchlab.data.kinds.retrieval import RetrievalDataset
from scratchlab.data.kinds.rows import RowsDataset
from scratchlab.data.kinds.running_text import RunningText
from scratchlab.data.kinds.spans import SpanDataset
from scratchlab.data.kinds.text_classes import TextClassDataset
from scratchlab.describing.checked import (
    Checked,
    empty,
    hash_table,
    leaks,
    unknown_classes,
    unreadable,
)
from scratchlab.describing.copies import contents_of, copies_table
from scratchlab.describing.documents import describe_document_questions, describe_retrieval
from scratchlab.describing.pairs import describe_pairs, verify_pairs
from scratchlab.describing.rows import describe_rows, picture_rows
from scratchlab.describing.text import (
    describe_labelled,
    describe_prompted,
    describe_questions,
    describe_running_text,
    describe_spans,
)
from scratchlab.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@functools.singledispatch
def describe(dataset: Dataset) -> list[Table]:
    """What is told of a kind: sizes, lengths, vocabulary, samples. Of others, the spec."""
    spec = {k: v for k, v in dataset.spec.as_dict().items() if v not in (None, (), False)}
    return [Table("spec", ["what", "value"], [[k, str(v)] for k, v in spec.items()])]


describe.register(PairDataset, describe_pairs)
describe.register(RunningText, describe_running_text)
describe.register(SpanDataset, describe_spans)
describe.register(QuestionDataset, describe_questions)
describe.register(PromptedDataset, describe_prompted)
describe.register(TextClassDataset, describe_labelled)
describe.register(RowsDataset, describe_rows)
describe.register(RetrievalDataset, describe_retrieval)
describe.register(DocumentQuestions, describe_document_questions)


@functools.singledispatch
def pictures(dataset: Dataset) -> dict[str, Figure]:
    """Figures by file name; none of kinds of which words tell more."""
    return {}


pictures.register(RowsDataset, picture_rows)


def described(dataset: Dataset) -> list[Table]:
    """The tables of a data set's kind, and its copies."""
    return [*describe(dataset), *copies_table(contents_of(dataset), dataset.content_name)]


def check(cls: type[Dataset], config: Any, context: DataContext) -> Checked:
    """Read everything that a data set is made of: tables, and what is or looks wrong.

    Raises:
        UserError: a fault after which nothing more can be read, such as a missing file.
    """
    return verify.dispatch(cls)(cls, config, context)


@functools.singledispatch
def verify(cls: Any, config: Any, context: DataContext) -> Checked:
    """How a kind is checked, by its class: the data set is made, as for a run."""
    dataset = cls(config, context)
    tables = [hash_table(dataset.provenance), *described(dataset)]
    contents, name = contents_of(dataset), dataset.content_name
    notes = [*dataset.notes, *empty(contents, name)]
    if dataset.true_split("test") != "test":
        contents.pop("test", None)  # said by a note
    keep = vars(config).get("duplicates") == "keep"
    advice = "; dataset.duplicates=group keeps copies on one side" if keep else ""
    notes += [f"{note}{advice}" for note in leaks(contents, name)]
    return Checked(tables, notes, unreadable(dataset) + unknown_classes(dataset))


def _verify_pairs(cls: type[PairDataset], config: Any, context: DataContext) -> Checked:
    """Nothing is tokenised: a faulty file is told of in seconds."""
    return verify_pairs(cls.locate(config, context), config.max_length)


verify.register(PairDataset, _verify_pairs)
