"""Every registered method on every kind of model: apply, train, save, load, same output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from scratchlab.errors import UserError
from scratchlab.methods.adapted import Adapted
from scratchlab.methods.finetune import Finetune, fresh_names
from scratchlab.registry import build, find, parts
from scratchlab.verifying.findings import BIT_EQUAL, WRONG, rounding
from scratchlab.verifying.subject import multiply_plainly, products
from scratchlab.verifying.writing import cached_logits, cached_texts
from tests.support.models import CONTEXT, Tiny

pytest.importorskip("transformers")

MODELS = ("gpt", "gpt2", "llama", "bert", "t5", "bart", "transformer_mt", "text_encoder")
# Options that differ from the defaults; the name before the colon is the method.
CHOICES: dict[str, dict[str, Any]] = {
    "lora": {},
    "lora:mlp": {"targets": ["mlp"], "rank": 2, "orthogonality": 0.1},
    "finetune": {},
    "finetune:blocks": {"train": "blocks", "last_blocks": 1},
    "distill": {"teachers": ["a run"]},  # (tests/lab/test_teachers.py has some)
    "soft_prompt": {"length": 5},
    "int8": {"path": "integer"},  # auto may take another path for one row than for many
    "int8:zero_point": {"scheme": "zero_point", "per": "tensor", "path": "reference"},
    "int8:mlp": {"targets": ["mlp"], "embedding": False, "path": "integer"},
    "bf16": {},
    "bf16:mlp": {"targets": ["mlp"], "embedding": False},
    "nf4": {"double": False},
    "nf4:double": {"double": True},
    "bitsandbytes": {"kind": "nf4", "double": True},
    "bitsandbytes:int8": {"kind": "int8"},
    "peft": {},
    "peft:ia3": {"type": "IA3"},
}
STACKS = {
    **{key: [(key.partition(":")[0], options)] for key, options in CHOICES.items()},
    "nf4+lora": [("nf4", {}), ("lora", {})],
    "int8+lora": [("int8", {}), ("lora", {})],
    "bf16+lora": [("bf16", {}), ("lora", {})],
    "lora+soft_prompt": [("lora", {}), ("soft_prompt", {"length": 3})],
    "lora+int8": [("lora", {}), ("int8", {})],
}


def test_every_registered_method_is_in_this_file() -> None:
    assert {name for stack in STACKS.values() for name, _ in stack} == set(parts("method"))


def adapt(tiny: Tiny, stack: list[tuple[str, dict[str, Any]]], seed: int = 0) -> Adapted:
    methods = []
    model = tiny.build()
    for name, options in stack:
        part = find("method", name)
        method = build("method", {"name": name, **part.defaults(), **options})
        torch.manual_seed(seed)
        model = method.apply(model, tiny.context)
        methods.append(method)
    return Adapted(model, methods, {"kind": "folder", "checkpoint": tiny.name, "sha256": ""})


def base_tensors(tiny: Tiny) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in tiny.build().named_parameters()}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("stack", STACKS)
def test_a_method_trains_saves_and_loads_with_the_same_output(
    models: dict[str, Tiny], kind: str, stack: str, tmp_path: Path
) -> None:
    tiny = models[kind]
    if tiny.context.spec.task == "seq2seq" and "soft_prompt" in stack:
        with pytest.raises(UserError, match="not for encoder-decoders"):
            adapt(tiny, STACKS[stack])
        return
    adapted = adapt(tiny, STACKS[stack])
    model = adapted.model
    trained = [p for p in model.parameters() if p.requires_grad]
    frozen = {n: p.detach().clone() for n, p in model.named_parameters() if not p.requires_grad}
    quantizes = any(m.quantizes for m in adapted.methods)
    if not trained:
        assert quantizes
    if trained:
        optimizer = torch.optim.SGD(trained, lr=0.1)
        before = float(tiny.loss(model.train()).detach())
        for _ in range(3):
            penalty = adapted.penalty()
            loss = tiny.loss(model)
            (loss if penalty is None else loss + penalty).backward()
            optimizer.step()
            optimizer.zero_grad()
        model.eval()
        assert float(tiny.loss(model).detach()) < before
        after = dict(model.named_parameters())
        assert all(torch.equal(after[n], value) for n, value in frozen.items())
    model.eval()
    with torch.no_grad():
        expected = tiny.call(model)
    state = {n: t.clone() for n, t in adapted.state().items()}
    adapted.save_files(tmp_path)
    again = adapt(tiny, STACKS[stack], seed=99)
    again.load(state, tmp_path)
    again.model.eval()
    with torch.no_grad():
        found = tiny.call(again.model)
    assert torch.equal(found, expected)
    if quantizes and not trained:
        plain = tiny.build().eval()
        with torch.no_grad():
            distance = (found - tiny.call(plain)).norm() / tiny.call(plain).norm()
        # bitsandbytes' 4-bit layers are less exact where rows are no multiple of 64 weights
        limit = (
            0.1 if "int8" in stack or "bf16" in stack else 0.6 if "bitsandbytes" in stack else 0.35
        )
        assert distance < limit


@pytest.mark.parametrize("kind", MODELS[:4])
@pytest.mark.parametrize("stack", ["lora", "soft_prompt", "nf4+lora", "peft"])
def test_the_checkpoint_of_an_adapter_holds_no_base_weights(
    models: dict[str, Tiny], kind: str, stack: str
) -> None:
    adapted = adapt(models[kind], STACKS[stack])
    base = {n.rpartition(".")[2] for n in base_tensors(models[kind]) if not n.startswith("head.")}
    names = [n for n in adapted.state() if not n.endswith(("head.weight", "head.bias"))]
    assert names
    assert adapted.record() is not None
    total = sum(p.numel() for p in models[kind].build().parameters())
    assert sum(t.numel() for t in adapted.state().values()) < 0.5 * total
    assert not [n for n in names if n.endswith(("embedding.weight", "wte.weight"))] and base


@pytest.mark.parametrize("kind", ["gpt", "gpt2", "llama"])
@pytest.mark.parametrize("stack", ["lora", "soft_prompt", "int8", "bf16", "nf4", "nf4+lora"])
def test_generation_with_a_cache_agrees_with_generation_without_one(
    models: dict[str, Tiny], kind: str, stack: str
) -> None:
    model = adapt(models[kind], STACKS[stack]).model.eval()
    multiply_plainly(model)
    prompts = [[5, 9, 14], [7, 3, 8, 8, 20, 31]]
    texts = cached_texts(model, prompts, CONTEXT.spec)
    logits = cached_logits(model, prompts, rounding(products(model)))
    assert texts.result == BIT_EQUAL and logits.result not in WRONG, (texts, logits)


def test_finetune_none_freezes_all_weights_new_heads_too(models: dict[str, Tiny]) -> None:
    for name in ("gpt", "bert"):
        model = Finetune(Finetune.Config(train="none")).apply(models[name].build(), CONTEXT)
        assert not any(p.requires_grad for p in model.parameters())


def test_a_new_head_trains_with_the_last_blocks(models: dict[str, Tiny]) -> None:
    method = Finetune(Finetune.Config(train="blocks", last_blocks=1))
    model = method.apply(models["bert"].build(), CONTEXT)
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    fresh = set(fresh_names(model))
    assert fresh and fresh < trained
