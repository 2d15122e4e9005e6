"""The scores of lines add up to the perplexity, whatever the model and its output layer."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from scratchlab.data.contract import DataContext
from scratchlab.data.sets.corpora import TextFile
from scratchlab.estimators.ngrams.model import NGram
from scratchlab.evaluation.contract import EvaluationContext
from scratchlab.evaluation.text.perplexity import Perplexity
from scratchlab.evaluation.text.perplexity_by_length import PerplexityByLength, group_by_length
from scratchlab.evaluation.text.text_scores import line_scores
from scratchlab.models.gpt import GPT
from scratchlab.models.rnn_lm import RNNLM
from scratchlab.tasks.language_modeling import LanguageModeling


class Kept:
    """A sink that keeps tables and the names of pictures."""

    def __init__(self) -> None:
        self.tables: dict[str, Any] = {}
        self.figures: list[str] = []

    def table(self, name: str, columns: Any, rows: Any) -> None:
        self.tables[name] = (columns, rows)

    def figure(self, name: str, draw: Any, *drawn: Any) -> None:
        draw(*drawn)
        self.figures.append(name)

    def outputs(self, records: Any) -> dict[str, Any]:
        raise AssertionError("evaluators write none themselves")


TEXT = "".join(f"{'very ' * (i % 7)}small lines number {i}.\n" for i in range(200))


def context_of(folder: Path, kind: str, output: str = "full", **options: Any) -> EvaluationContext:
    (folder / "text.txt").write_text(TEXT)
    options = {"tokenizer": "word", "block_size": 16, **options}
    config = TextFile.Config(paths=[str(folder / "text.txt")], **options)
    dataset = TextFile(config, DataContext(None, folder / "cache"))
    torch.manual_seed(0)
    cut = {"output": output, "cutoffs": [20, 90]}
    if kind == "ngram":
        model: Any = NGram(order=2).fit(*dataset.sentences("train"), unk_id=dataset.spec.unk_id)
    elif kind == "lstm":
        model = RNNLM(RNNLM.Config(d_model=16, n_layers=1, **cut), dataset.spec).eval()
    else:
        model = GPT(GPT.Config(d_model=16, n_heads=2, n_layers=1, **cut), dataset.spec).eval()
    task = LanguageModeling(LanguageModeling.Config(), dataset.spec)
    return EvaluationContext(model, dataset, task, "val", torch.device("cpu"), Kept())


@pytest.mark.filterwarnings("ignore:the counts of order")
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("gpt", {}),
        ("gpt", {"output": "adaptive"}),
        ("gpt", {"eval_stride": 4}),
        ("lstm", {"output": "adaptive", "batching": "stream"}),
        ("ngram", {}),
    ],
)
def test_the_lines_of_a_split_add_up_to_its_perplexity(
    tmp_path: Path, kind: str, options: dict[str, Any]
) -> None:
    context = context_of(tmp_path, kind, **options)
    (measured,) = Perplexity(Perplexity.Config()).evaluate(context)
    scores = line_scores(context)
    assert int(scores.targets.sum()) == measured.n == context.dataset.size("val")
    assert scores.perplexity() == pytest.approx(measured.value, rel=1e-4)
    groups = group_by_length(scores, 4)
    assert sum(g.lines for g in groups) == len(scores.targets)
    mean = sum(g.targets * math.log(g.perplexity) for g in groups) / measured.n
    assert math.exp(mean) == pytest.approx(measured.value, rel=1e-4)


def test_lines_are_grouped_alike_for_every_model_and_drawn(tmp_path: Path) -> None:
    contexts: list[Any] = [context_of(tmp_path, kind) for kind in ("gpt", "lstm")]
    for context in contexts:
        PerplexityByLength(PerplexityByLength.Config(groups=3)).evaluate(context)
    tables = [c.sink.tables["perplexity_by_length"][1] for c in contexts]
    assert [row[:3] for row in tables[0]] == [row[:3] for row in tables[1]]
    assert "perplexity_by_length" in contexts[0].sink.figures


@pytest.mark.filterwarnings("ignore:the counts of order")
def test_every_model_is_measured_on_the_first_tokens_only_where_that_is_asked(
    tmp_path: Path,
) -> None:
    found = {}
    for kind, options in (("ngram", {}), ("gpt", {}), ("lstm", {"batching": "stream"})):
        context = context_of(tmp_path, kind, eval_tokens=60, **options)
        (found[kind],) = Perplexity(Perplexity.Config()).evaluate(context)
        assert found[kind].settings["first_tokens"] == 60
        scores = line_scores(context)
        assert scores.targets.sum() <= found[kind].n
    assert found["gpt"].n == found["lstm"].n == 60
    text = context.dataset.tokens("val").slice(0, 60)  # type: ignore[attr-defined]
    ends = (text == context.dataset.spec.eos_id).nonzero()[0]
    assert found["ngram"].n == ends[-1] + 1  # whole lines


@pytest.mark.parametrize("tokenizer", ["char", "bpe"])
def test_bits_per_character_count_the_text_and_not_the_tokens(
    tmp_path: Path, tokenizer: str
) -> None:
    context = context_of(tmp_path, "gpt", tokenizer=tokenizer, vocab_size=80, eval_tokens=150)
    config = Perplexity.Config(per_character=True)
    perplexity, per_character = Perplexity(config).evaluate(context)
    text = context.dataset.evaluated_text("val")  # type: ignore[attr-defined]
    assert perplexity.n == 150 and per_character.n == len(text) and text in TEXT
    bits = 150 * math.log2(perplexity.value)
    assert per_character.value == pytest.approx(bits / len(text))
    assert len(text) == 150 if tokenizer == "char" else len(text) > 200
