"""Several examples in a row: which go together, and that they do not see each other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from scratchlab.data.batching.packing import pack
from scratchlab.data.contract import IGNORE, DataContext, Spec
from scratchlab.errors import UserError
from scratchlab.models.gpt import GPT
from scratchlab.models.pretrained import PretrainedLM
from scratchlab.registry import build, find
from scratchlab.tasks.language_modeling import LanguageModeling

WORDS = [
    "the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "and", "runs", "away",
    "from", "it", "all",
]  # fmt: skip
EXAMPLES = 50


def write_instructions(folder: Path) -> Path:
    path = folder / "qa.jsonl"
    rows = [
        {
            "prompt": " ".join(WORDS[(i * k + k) % len(WORDS)] for k in range(1, 3 + i % 11)),
            "response": " ".join(WORDS[(i + k) % len(WORDS)] for k in range(1 + i % 5)),
        }
        for i in range(EXAMPLES)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def instructions(folder: Path, **options: Any) -> Any:
    defaults = find("dataset", "instructions").defaults()
    chosen = {
        "path": str(write_instructions(folder)), "vocab_size": 300, "max_length": 48,
        "batch_tokens": 150, **options,
    }  # fmt: skip
    context = DataContext(None, folder / "cache")
    return build("dataset", {"name": "instructions", **defaults, **chosen}, context)


def models(spec: Spec, folder: Path) -> dict[str, Callable[[], nn.Module]]:
    import transformers as t

    def scratch(positions: str) -> nn.Module:
        return GPT(GPT.Config(d_model=16, n_heads=2, n_layers=2, positions=positions), spec)

    def pretrained(name: str) -> nn.Module:
        options = PretrainedLM.Config(checkpoint=str(folder / name), dropout=0.0)
        return PretrainedLM(options, spec, DataContext(None, folder / "cache"))

    size = spec.vocab_size
    gpt2 = t.GPT2Config(vocab_size=size, n_embd=16, n_layer=2, n_head=2, n_positions=64)
    llama = t.LlamaConfig(
        vocab_size=size, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=64,
    )  # fmt: skip
    t.GPT2LMHeadModel(gpt2).save_pretrained(folder / "gpt2")
    t.LlamaForCausalLM(llama).save_pretrained(folder / "llama")
    return {
        "learned": lambda: scratch("learned"),
        "rotary": lambda: scratch("rotary"),
        "gpt2": lambda: pretrained("gpt2"),
        "llama": lambda: pretrained("llama"),
    }


def test_every_example_is_in_one_row_and_rows_are_nearly_full() -> None:
    lengths = np.random.default_rng(0).integers(5, 60, size=500)
    batches = pack(lengths, capacity=100, batch_tokens=400, shuffle=(1, 2), pool_size=128)
    rows = [row for batch in batches for row in batch]
    assert sorted(i for row in rows for i in row) == list(range(500))
    assert max(map(len, batches)) == 4
    filled = [int(lengths[row].sum()) for row in rows]
    assert max(filled) <= 100 and sum(filled) / (100 * len(rows)) > 0.97
    again = pack(lengths, capacity=100, batch_tokens=400, shuffle=(1, 2), pool_size=128)
    other = pack(lengths, capacity=100, batch_tokens=400, shuffle=(1, 3), pool_size=128)
    assert again == batches and other != batches


def test_positions_start_anew_with_each_example_and_padding_belongs_to_none(
    tmp_path: Path,
) -> None:
    dataset = instructions(tmp_path, packing=True)
    encoded = dataset.encoded("train")
    batches = list(dataset.batches("train", seed=0, epoch=0))
    assert len(batches) == dataset.batch_count("train", seed=0, epoch=0)
    assert sorted(i for b in batches for i in b.indices.tolist()) == list(range(len(encoded)))
    later = list(dataset.batches("train", seed=0, epoch=0, start=2))
    assert all(torch.equal(a.tokens, b.tokens) for a, b in zip(later, batches[2:], strict=True))
    for batch in batches:
        examples = iter(batch.indices.tolist())
        for row in range(len(batch.tokens)):
            segments = batch.segments[row]
            assert (batch.targets[row][segments == -1] == IGNORE).all()
            for number in range(int(segments.max()) + 1):
                own = segments == number
                one = encoded[next(examples)]
                ids = [*one.prompt, *one.answer]
                assert batch.positions[row][own].tolist() == list(range(len(ids) - 1))
                assert batch.tokens[row][own].tolist() == ids[:-1]
                answer = batch.targets[row][own][len(one.prompt) - 1 :]
                assert answer.tolist() == one.answer
    assert max(int(b.segments.max()) for b in batches) > 0
    assert dataset.padding_share("train") < 0.1
    assert next(iter(dataset.batches("val", seed=0, epoch=0))).segments is None
    with pytest.raises(UserError, match="training rows hold several"):
        dataset.evaluation_settings("train")


@pytest.mark.parametrize("kind", ["learned", "rotary", "gpt2", "llama"])
def test_packed_examples_have_the_loss_and_gradients_of_single_ones(
    kind: str, tmp_path: Path
) -> None:
    packed, single = (instructions(tmp_path, packing=packing) for packing in (True, False))
    torch.manual_seed(0)
    model = models(packed.spec, tmp_path)[kind]()
    defaults = find("task", "language_modeling").defaults()
    task = build("task", {"name": "language_modeling", **defaults}, packed.spec)
    assert isinstance(task, LanguageModeling)
    found = []
    for dataset in (packed, single):
        model.zero_grad()
        total, count = 0.0, 0
        for batch in dataset.batches("train", seed=3, epoch=0):
            loss = task.loss(model, batch)
            loss.total.backward()
            total, count = total + float(loss.nll), count + loss.count
        gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        found.append((total, count, gradients))
    (total, count, gradients), (expected, expected_count, expected_gradients) = found
    assert count == expected_count and gradients.keys() == expected_gradients.keys()
    assert total == pytest.approx(expected, rel=1e-5)
    for name, gradient in gradients.items():
        scale = expected_gradients[name].abs().max()
        torch.testing.assert_close(
            gradient, expected_gradients[name], rtol=1e-3, atol=float(1e-4 * scale) + 1e-6
        )


def test_a_recurrent_model_refuses_rows_of_several_examples(tmp_path: Path) -> None:
    dataset = instructions(tmp_path, packing=True)
    defaults = find("task", "language_modeling").defaults()
    task = build("task", {"name": "language_modeling", **defaults}, dataset.spec)
    options = {**find("model", "rnn_lm").defaults(), "d_model": 8}
    model = build("model", {"name": "rnn_lm", **options}, dataset.spec)
    batch = next(iter(dataset.batches("train", seed=0, epoch=0)))
    with pytest.raises(UserError, match="packing=false"):
        task.loss(model, batch)
