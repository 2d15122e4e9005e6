"""Every registered model, alone and with every method that fits it: nothing differs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scratchlab.config.compose import compose
from scratchlab.errors import UserError
from scratchlab.lab.train import train
from scratchlab.registry import Part, parts
from scratchlab.verifying.findings import NO_CASE
from scratchlab.verifying.verify import CHECKS, verify
from tests.conformance.test_fitted_runs import QUICK
from tests.support.models import write_checkpoints, write_tokenizer

PROCESSES = ("kill", "processes")  # each starts some, which takes seconds

# Options that make any model small, wherever it declares them.
SMALL: dict[str, Any] = {
    "d_model": 16, "n_heads": 2, "n_layers": 1, "encoder_layers": 1, "decoder_layers": 1,
    "d_ff": 32, "d_hidden": 16, "d_embedding": 16, "maps": 8, "dense": 16, "code": 8,
    "channels": "[4,8]", "block_size": 64, "max_length": 160,
}  # fmt: skip
PAIRS = [
    *("dataset.train_pairs=300", "dataset.val_pairs=20", "dataset.test_pairs=20"),
    *("dataset.vocab_size=300", "evaluator=[perplexity,bleu]"),
]
EXAMPLES = [
    f"dataset.{split}_examples={n}" for split, n in (("train", 80), ("val", 12), ("test", 12))
]
MAX = "dataset.max_length=40"
# Choices of models that no file of their own name makes: those of other programs, from a folder.
PRETRAINED = {
    "gpt2": ["model=gpt2", *EXAMPLES, MAX],
    "llama": ["model=smollm2", *EXAMPLES, MAX, "dataset.packing=true"],
    "bert": ["model=bert", "dataset=text_classification", "dataset.path=texts.csv", MAX],
    "t5": ["model=t5", MAX, "evaluator=[perplexity]"],
    "bart": ["model=bart", MAX, "evaluator=[perplexity]"],
}
METHODS = {
    "none": [],
    "lora": ["method=lora", "method.lora.rank=2"],
    "finetune": [
        "method=finetune",
        "method.finetune.train=blocks",
        "method.finetune.last_blocks=1",
    ],
    "soft_prompt": ["method=soft_prompt", "method.soft_prompt.length=3"],
    "distill": ["method=distill", "method.distill.teachers=[runs/teacher/one]"],
    "int8": ["method=int8"],
    "bf16": ["method=bf16"],
    "nf4": ["method=nf4"],
    "bitsandbytes": ["method=bitsandbytes"],
    "peft": ["method=peft"],
    "nf4+lora": ["method=[nf4,lora]", "method.lora.rank=2"],
    "lora+int8": ["method=[lora,int8]", "method.lora.rank=2"],
}
# What a method says to a model that it does not fit.
MISFITS = (
    *(
        "distill is for",
        "soft_prompt is for",
        "soft_prompt needs",
        "names no embedding",
        "packed rows",
    ),
    *("matches no", "no linear layer", "no block", "carries its state"),
)


def scratch_words(name: str, part: Part) -> list[str]:
    """A small model on the data that its file brings, or on texts written here."""
    declared = {option.name for option in part.options}
    words = [f"model={name}", *(f"model.{k}={v}" for k, v in SMALL.items() if k in declared)]
    tasks = part.facts.get("tasks", ())
    if "seq2seq" in tasks:
        return [*words, *PAIRS]
    if "classification" in tasks and name not in ("cnn",):
        words += ["dataset=text_classification", "dataset.path=texts.csv"]
        return [*words, "dataset.tokenizer=word", "dataset.checkpoint=null"]
    return [*words, "dataset.block_size=32"] if "language_modeling" in tasks else words


SCRATCH = {
    n: scratch_words(n, p) for n, p in parts("model").items() if not p.facts.get("pretrained")
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with tiny checkpoints and labelled texts, where commands are given."""
    monkeypatch.chdir(tmp_path)
    words = ["the", "a", "function", "value", "of", "list", "string", "number", "file", "path"]
    lines = [
        " ".join(words[(i * 7 + j * (i % 5 + 1)) % 10] for j in range(4 + i % 9))
        + (",good" if i % 3 else ",bad")
        for i in range(60)
    ]
    (tmp_path / "texts.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    return tmp_path


def fits(here: Path, words: list[str], *more: str) -> None:
    """All that applies to a configuration is equal, by all checks but those that start processes,
    and by ``more``."""
    own = [*words, "threads=1", f"output_dir={here / 'runs'}"]
    chosen = [name for name in CHECKS if name not in PROCESSES]
    found = verify(compose(own).config, None, [*chosen, *more])
    assert found.equal, found.remarks()
    checked = {check for check, f in found.findings if f.result != NO_CASE}
    assert {"save", "batch"} & checked and len(checked) >= 3, checked


@pytest.mark.slow
@pytest.mark.parametrize("name", parts("estimator"))
def test_an_estimator(name: str, here: Path) -> None:
    fits(here, [f"model={name}", *QUICK.get(name, [])])


def torch_cases() -> Iterator[Any]:
    for method in METHODS:
        for name in (*SCRATCH, *PRETRAINED):
            yield pytest.param(name, method, id=f"{name}-{method}")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "method"), torch_cases())
def test_a_model_with_a_method(name: str, method: str, here: Path) -> None:
    pytest.importorskip("peft")
    words = SCRATCH.get(name)
    if words is None:
        write_checkpoints(here)
        write_tokenizer(here / name, prefix=name == "bart")
        words = [*PRETRAINED[name], f"model.checkpoint={here / name}"]
    if method == "distill":
        own = ["name=teacher", "run_id=one", "output_dir=runs", "trainer.max_steps=2"]
        config = compose([*words, *own, "evaluate=false", "threads=1", "tracker=[jsonl]"]).config
        train(config, own, own)
    each = ["processes"] if method == "none" or name == "gpt" else []
    try:
        fits(here, [*words, *METHODS[method]], *each)
    except UserError as error:
        if method == "none" or not any(text in str(error) for text in MISFITS):
            raise
        pytest.skip(f"{method} does not fit {name}: {error.message}")


def test_every_registered_method_is_in_this_file() -> None:
    named = {key for keys in METHODS for key in keys.split("+")} - {"none"}
    assert named == set(parts("method"))
