"""What peft reads from an exported adapter computes what the model here computes, or is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from scratchlab.methods.adapted import Adapted
from scratchlab.methods.contract import Method
from scratchlab.methods.finetune import Finetune
from scratchlab.methods.lora import LoRA
from scratchlab.methods.nf4 import NormalFloat4
from scratchlab.methods.peft import Peft
from scratchlab.methods.soft_prompt import SoftPrompt
from tests.support.models import CONTEXT, Tiny

peft = pytest.importorskip("peft")


def trained(tiny: Tiny, *methods: Method) -> Adapted:
    """Every trained number moved, as training would."""
    model = tiny.build()
    torch.manual_seed(1)
    for method in methods:
        model = method.apply(model, CONTEXT)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return Adapted(model.eval(), methods, {"kind": "folder", "checkpoint": "", "sha256": ""})


def loaded_head(tiny: Tiny, folder: Path) -> tuple[Any, Any]:
    """A classifier of one's own around transformers' model, as the README beside the adapter says;
    and the function that gives its logits."""
    base: Any = tiny.build()
    inner = base.inner
    inner.head = nn.Linear(32, 3)
    theirs = peft.PeftModel.from_pretrained(inner, folder / "adapter").eval()
    return theirs, lambda ids: theirs.head(theirs(input_ids=ids).last_hidden_state.mean(1))


ADAPTERS = {
    "lora": lambda: LoRA(LoRA.Config(rank=3)),
    "peft": lambda: Peft(Peft.Config(type="LORA", settings={"r": 3})),
    "ia3": lambda: Peft(Peft.Config(type="IA3", targets=["linear"])),
}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_new_head_of_a_classifier_is_exported_with_its_adapter(
    models: dict[str, Tiny], adapter: str, tmp_path: Path
) -> None:
    tiny = models["bert"]
    adapted = trained(tiny, ADAPTERS[adapter]())
    adapted.save_files(tmp_path)
    content = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert content["modules_to_save"] == ["head"]
    assert (
        "model.head = torch.nn.Linear(in_features=32"
        in (tmp_path / "adapter" / "README.md").read_text()
    )
    _, logits = loaded_head(tiny, tmp_path)
    with torch.no_grad():
        expected = tiny.call(adapted.model)
        torch.testing.assert_close(logits(tiny.tokens), expected, rtol=1e-5, atol=1e-5)
    assert adapted.refusal is None


@pytest.mark.parametrize(
    "also",
    [["ln_f"], ["transformer.h.0.ln_1", "transformer.h.1.ln_2.bias"], ["transformer.wte"],
     ["transformer.wpe"]],
)  # fmt: skip
@pytest.mark.parametrize("adapter", ["lora", "peft"])
def test_weights_that_are_trained_beside_an_adapter_are_exported_with_it(
    models: dict[str, Tiny], adapter: str, also: list[str], tmp_path: Path
) -> None:
    tiny = models["gpt2"]
    methods: list[Method] = [LoRA(LoRA.Config(rank=3, also_train=also))]
    if adapter == "peft":
        methods = [Peft(Peft.Config(settings={"r": 3})), _Named(also)]
    adapted = trained(tiny, *methods)
    adapted.save_files(tmp_path)
    inner: Any = tiny.build()
    theirs = peft.PeftModel.from_pretrained(inner.inner, tmp_path / "adapter").eval()
    with torch.no_grad():
        expected = tiny.call(adapted.model)
        assert (expected - tiny.call(tiny.build().eval())).abs().max() > 0.01
        torch.testing.assert_close(
            theirs(input_ids=tiny.tokens).logits, expected, rtol=1e-5, atol=1e-5
        )


class _Named(Method):
    """Trains weights by name beside what was added before."""

    def __init__(self, patterns: list[str]) -> None:
        super().__init__(None)
        self.patterns = patterns

    def apply(self, model: nn.Module, context: Any) -> nn.Module:
        from scratchlab.methods.finetune import named_by

        for name, parameter in model.named_parameters():
            if any(named_by(name, p) for p in self.patterns):
                parameter.requires_grad_(True)
        return model


def test_weights_that_a_later_method_trains_are_exported_too(
    models: dict[str, Tiny], tmp_path: Path
) -> None:
    tiny = models["gpt2"]
    named = Finetune(Finetune.Config(train="names", patterns=["ln_f"]))
    named.registered_name = "finetune"  # type: ignore[attr-defined]
    adapted = trained(tiny, LoRA(LoRA.Config()), named)
    adapted.save_files(tmp_path)
    content = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert content["modules_to_save"] == ["transformer.ln_f"]


REFUSED = {
    "two adapters": (
        "gpt2",
        lambda: [LoRA(LoRA.Config()), SoftPrompt(SoftPrompt.Config(length=3, init="tokens"))],
        "one adapter, not lora and soft_prompt together",
    ),
    "the weights below": (
        "gpt2",
        lambda: [LoRA(LoRA.Config(also_train=["transformer.h.0.attn.c_attn.base.bias"]))],
        "weights below an adapter are trained (inner.transformer.h.0.attn.c_attn.base)",
    ),
    "a head with a prompt": (
        "bert",
        lambda: [SoftPrompt(SoftPrompt.Config(length=3, init="tokens"))],
        "prompt tuning has no place for head",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_format_has_no_place_for_is_not_written_and_that_is_said(
    models: dict[str, Tiny], case: str, tmp_path: Path
) -> None:
    kind, methods, reason = REFUSED[case]
    adapted = trained(models[kind], *methods())
    adapted.save_files(tmp_path)
    assert not (tmp_path / "adapter").exists()
    assert adapted.notes[-1] == f"checkpoints hold no adapter/ for peft: {reason}" or (
        reason in adapted.notes[-1]
    )


@pytest.mark.parametrize("kind", ["gpt2", "gpt"])
def test_what_shares_its_matrix_or_is_quantized_cannot_be_merged_and_that_is_said(
    models: dict[str, Tiny], kind: str
) -> None:
    target, table = (
        ("lm_head", "inner.transformer.wte") if kind == "gpt2" else ("output", "embedding")
    )
    method = LoRA(LoRA.Config(targets=[target], rank=2))
    trained(models[kind], method)
    assert f"shares its matrix with {table}" in method.notes[0] and not method.mergeable
    below = NormalFloat4(NormalFloat4.Config())
    method = LoRA(LoRA.Config(targets=["attention"], rank=2))
    trained(models[kind], below, method)
    assert not below.mergeable and not method.mergeable


def test_an_adapter_on_a_tied_output_gives_the_same_logits_in_peft(
    models: dict[str, Tiny], tmp_path: Path
) -> None:
    tiny = models["gpt2"]
    adapted = trained(tiny, LoRA(LoRA.Config(targets=["lm_head", "attention"], rank=2)))
    adapted.save_files(tmp_path)
    inner: Any = tiny.build()
    theirs = peft.PeftModel.from_pretrained(inner.inner, tmp_path / "adapter").eval()
    with torch.no_grad():
        torch.testing.assert_close(
            theirs(input_ids=tiny.tokens).logits, tiny.call(adapted.model), rtol=1e-5, atol=1e-5
        )
