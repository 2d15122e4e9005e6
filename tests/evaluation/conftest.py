"""A small, real translation: generated sentences, pieces of words, a tiny Transformer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from scratchlab.data.contract import DataContext
from scratchlab.data.sets.translation import Phrasebook
from scratchlab.decoding.beam import Beam
from scratchlab.decoding.greedy import Greedy
from scratchlab.evaluation.contract import EvaluationContext
from scratchlab.evaluation.records import Records
from scratchlab.models.transformer_mt import TransformerMT
from scratchlab.tasks.seq2seq import Seq2Seq


class Kept:
    """A sink that keeps what it is given in memory."""

    def __init__(self) -> None:
        self.tables: dict[str, tuple[Sequence[str], Sequence[Sequence[Any]]]] = {}
        self.figures: dict[str, Any] = {}

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        self.tables[name] = (columns, rows)

    def figure(self, name: str, draw: Any, *drawn: Any) -> None:
        self.figures[name] = draw(*drawn)

    def outputs(self, records: Records) -> dict[str, Any]:
        return {}


def phrasebook(tokenizer: str, cache: Path) -> Phrasebook:
    config = Phrasebook.Config(
        tokenizer=tokenizer,
        vocab_size=400,
        train_pairs=300,
        val_pairs=30,
        test_pairs=30,
        eval_batch_tokens=200,
    )
    return Phrasebook(config, DataContext(root=None, cache=cache))


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Phrasebook:
    return phrasebook("bpe", tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def lower_cased_dataset(tmp_path_factory: pytest.TempPathFactory) -> Phrasebook:
    return phrasebook("word", tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def model(dataset: Phrasebook) -> TransformerMT:
    torch.manual_seed(5)
    config = TransformerMT.Config(
        d_model=24, n_heads=3, encoder_layers=1, decoder_layers=2, d_ff=32, dropout=0.1
    )
    return TransformerMT(config, dataset.spec).eval()


@pytest.fixture
def make_context(dataset: Phrasebook, model: TransformerMT) -> Callable[..., EvaluationContext]:
    def make(**changes: Any) -> EvaluationContext:
        base = EvaluationContext(
            model=model,
            dataset=dataset,
            task=Seq2Seq(Seq2Seq.Config(), dataset.spec),
            split="test",
            device=torch.device("cpu"),
            sink=Kept(),
            decoder=Greedy(Greedy.Config(max_length_factor=0.5)),
            seed=3,
        )
        return dataclasses.replace(base, **changes)

    return make


@pytest.fixture
def beam() -> Beam:
    return Beam(Beam.Config(beam_size=3, max_length_factor=0.0))


class Knowing:
    """A decoder that answers with given texts, whatever the model: it makes scores known."""

    registered_name = "knowing"

    def __init__(self, dataset: Phrasebook, answers: dict[tuple[int, ...], str]) -> None:
        self.dataset, self.answers, self.calls = dataset, answers, 0

    def generate_all(
        self, model: Any, sources: Sequence[Sequence[int]], spec: Any, batch_size: int = 64
    ) -> list[Any]:
        from scratchlab.decoding.contract import Hypothesis

        self.calls += 1
        texts = [self.answers[tuple(row)] for row in sources]
        return [Hypothesis(self.dataset.encode_target(text), -1.0, -2.0) for text in texts]


@pytest.fixture
def knowing(dataset: Phrasebook) -> Callable[..., Knowing]:
    """A decoder whose answer is a function of the reference."""

    def make(answer: Callable[[str], str], data: Phrasebook = dataset) -> Knowing:
        pairs = zip(data.sources("test"), data.references("test"), strict=True)
        return Knowing(data, {tuple(data.encode_source(s)): answer(r) for s, r in pairs})

    return make
