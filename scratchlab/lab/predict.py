"""What a trained run answers to a line: a translation, a class, a value, what comes next."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch

from scratchlab.data.contract import ArrayDataset, TextDataset, TranslationDataset
from scratchlab.data.kinds.prompted import PromptedDataset
from scratchlab.data.kinds.questions import QuestionDataset
from scratchlab.data.kinds.text_classes import TextClassDataset
from scratchlab.decoding.continuation import Continuation, answers
from scratchlab.errors import UnansweredRows, UserError
from scratchlab.evaluation.outputs.predictions import model_outputs
from scratchlab.lab.parts import Trained, load_trained
from scratchlab.registry import build

LOGGER = logging.getLogger("scratchlab")


def predict(
    config: dict[str, Any], run: Path, lines: Iterator[str], at_once: int = 1
) -> Iterator[Iterable[str]]:
    """What a trained run answers to each line, as pieces that are shown as they come.

    Up to ``at_once`` lines are waited for and handled together, which changes no answer.
    """
    trained = load_trained(config, run)
    dataset = trained.dataset
    if isinstance(dataset, ArrayDataset):
        yield from answer_rows(trained, dataset, lines)
    elif isinstance(dataset, TranslationDataset):
        if trained.decoder is None:
            raise UserError("this run has no decoding", "Add for example decoding=greedy.")
        for line in lines:
            yield [translate_line(trained, line)]
    elif isinstance(dataset, TextClassDataset):
        for line in lines:
            yield [classify_line(trained, line)]
    elif isinstance(dataset, PromptedDataset):
        for line in lines:
            yield [answer_prompt(trained, line)]
    elif isinstance(dataset, QuestionDataset):
        for group in batched(lines, at_once):
            yield from ([answer] for answer in answers(trained.model, dataset, group))
    elif isinstance(dataset, TextDataset):
        yield from continue_lines(trained, dataset, lines, at_once)
    else:
        raise UserError(f"predict cannot use a model for {dataset.spec.task} yet")


@torch.no_grad()
def classify_line(trained: Trained, line: str) -> str:
    """The most probable class of a text, a tab, and its probability; an empty line stays empty."""
    if not line.strip():
        return ""
    dataset: Any = trained.dataset
    _note_cut(dataset.length(line), dataset.config.max_length)
    tokens = torch.tensor([dataset.encode(line)], device=trained.device)
    shares = trained.model(tokens).softmax(-1)[0]
    best = int(shares.argmax())
    return f"{dataset.spec.class_names[best]}\t{float(shares[best]):.4f}"


def _note_cut(tokens: int, limit: int) -> None:
    """Say that a text is read in part."""
    if tokens > limit:
        LOGGER.warning(
            "a text of %d tokens is cut to %d (dataset.max_length): its end is not read",
            tokens, limit,
        )  # fmt: skip


def answer_prompt(trained: Trained, line: str) -> str:
    """What the model answers to a text: its summary, the answer to an instruction.

    An empty line stays empty.
    """
    if not line.strip():
        return ""
    dataset: Any = trained.dataset
    decoder: Any = trained.decoder or build("decoding", {"name": "sampling", "temperature": 0.0})
    room = getattr(trained.model, "block_size", None)
    prompt, tokens, kept = dataset.prompt(line)
    _note_cut(tokens, kept)
    limit = None if room is None else max(1, min(decoder.config.max_new_tokens, room - len(prompt)))
    (ids,) = decoder.generate_batch(trained.model, [prompt], dataset.spec, max_new_tokens=limit)
    text: str = dataset.decode(ids[:-1] if ids and ids[-1] == dataset.spec.eos_id else ids)
    return " ".join(text.split())


def continue_lines(
    trained: Trained, dataset: TextDataset, lines: Iterator[str], at_once: int
) -> Iterator[Iterable[str]]:
    """Each line with what the language model adds to it."""
    if trained.decoder is None:
        raise UserError("this run has no decoding", "Add decoding=sampling.")
    writer = Continuation(trained.model, dataset, trained.decoder, LOGGER.warning)
    number = 0
    for group in batched(lines, at_once):
        wheres = [f"prompt {number + i}" for i in range(1, len(group) + 1)]
        number += len(group)
        if len(group) == 1:
            pieces = writer.stream(group[0], wheres[0])  # refuses before anything is shown
            yield chain(group, pieces)
        else:
            yield from zip(group, writer.batch(group, wheres), strict=True)


def batched(lines: Iterator[str], size: int) -> Iterator[list[str]]:
    """Lists of ``size`` lines, the last one perhaps shorter."""
    while group := list(islice(lines, size)):
        yield group


def translate_line(trained: Trained, line: str) -> str:
    """The translation of one line; an empty line stays empty."""
    dataset = trained.dataset
    assert isinstance(dataset, TranslationDataset)
    if not line.strip():
        return ""
    source = torch.tensor([dataset.encode_source(line)], device=trained.device)
    hypothesis = trained.decoder.generate(trained.model, source, dataset.spec)[0]
    return dataset.decode_target(list(hypothesis.ids))


def answer_rows(
    trained: Trained, dataset: ArrayDataset, lines: Iterator[str]
) -> Iterator[Iterable[str]]:
    """The class (with its probability) or the value for each row; an empty line stays empty.

    Raises:
        UnansweredRows: at the end, if rows could not be read; each was told of in its place.
    """
    total = refused = 0
    told = ""
    for row in dataset.encode_lines(lines):
        total += 1
        if isinstance(row, UserError):
            refused += 1
            # What would be right is said once, not for each of a thousand rows.
            LOGGER.error("%s", row.message if row.hint == told else row)
            told = row.hint
            yield [""]
        else:
            yield ["" if row is None else answer_row(trained, row)]
    if refused:
        raise UnansweredRows(f"{refused:,} of {total:,} rows were not answered")


def answer_row(trained: Trained, row: Any) -> str:
    """The class (with its probability) or the value for X [1, features]."""
    dataset = trained.dataset
    values, shares = model_outputs(trained.model, dataset.spec, row, trained.device)
    if not dataset.spec.n_classes:
        return f"{values[0]:.6g}"
    name = dataset.spec.class_names[int(values[0])]
    return name if shares is None else f"{name}\t{shares[0].max():.4f}"
