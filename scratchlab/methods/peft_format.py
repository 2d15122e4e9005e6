"""Adapters in the format of the peft library: what every method that writes one has in common.

``PeftModel.from_pretrained(base, FOLDER)`` has to give the logits of the model here. So the names
are those of the model that transformers loads, and what was trained beside the adapter (a new head,
weights that were named) goes in as peft's ``modules_to_save``: modules that stand in for those of
the base. What has no place in the format is refused with a reason (:func:`unsaveable`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from scratchlab.methods.contract import Adapter, adapter_names
from scratchlab.methods.replace import is_conv1d, sharers
from scratchlab.models.contract import Model
from scratchlab.run.atomic import write_bytes, write_text

HEAD_CARD = """\
The adapter of a model of transformers with a head of its own ({names}), which transformers does not
know. Before `PeftModel.from_pretrained(model, THIS_FOLDER)` give the model such modules:

{lines}

The adapter fills them; what they are applied to is said by the run's config.yaml
(model.pooling: the mean of all tokens, or the first).
"""


def library_name(name: str) -> str:
    """The name of a layer in the model that transformers loads: without this project's wrapper."""
    steps = [s for s in name.split(".") if s not in ("base", "base_layer")]
    while steps and steps[0] == "inner":
        steps = steps[1:]
    return ".".join(steps)


def lora_adapter(
    layers: Mapping[str, Any], rank: int, alpha: float, dropout: float
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The configuration and the tensors of :class:`~scratchlab.methods.lora.LoRALinear` layers."""
    tensors = {
        f"base_model.model.{library_name(name)}.{key}.weight": matrix
        for name, layer in layers.items()
        for key, matrix in (("lora_A", layer.lora_a), ("lora_B", layer.lora_b))
    }
    content = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": dropout,
        "target_modules": [library_name(name) for name in layers],
        "fan_in_fan_out": any(is_conv1d(layer.base) for layer in layers.values()),
        "bias": "none",
        "init_lora_weights": True,
        "use_rslora": False,
        "use_dora": False,
        "task_type": None,
    }
    return content, tensors


def prompt_adapter(prompt: Tensor) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The configuration and the tensor of a soft prompt [length, D]."""
    content = {
        "peft_type": "PROMPT_TUNING",
        "task_type": "CAUSAL_LM",
        "num_virtual_tokens": len(prompt),
        "token_dim": prompt.shape[1],
        "num_transformer_submodules": 1,
        "prompt_tuning_init": "RANDOM",
    }
    return content, {"prompt_embeddings": prompt}


def library_adapter(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """An adapter of the library itself: its configuration as JSON holds it, names as it saves."""
    content = {key: _plain(value) for key, value in config.items()}
    for key in ("target_modules", "feedforward_modules"):
        if isinstance(content.get(key), list):
            content[key] = [library_name(name) for name in content[key]]
    return content, {_parameter_name(name): tensor for name, tensor in tensors.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, set | tuple):
        return sorted(value)
    return value.value if isinstance(value, Enum) else value


def _parameter_name(name: str) -> str:
    """A parameter's name in a file that ``PeftModel.from_pretrained`` reads."""
    plain = name.removeprefix("inner.").replace(".modules_to_save", "").replace(".default", "")
    return plain if plain.startswith(("base_model.", "prompt")) else f"base_model.model.{plain}"


def trained_modules(model: nn.Module, adapter: set[str] | None = None) -> dict[str, nn.Module]:
    """The modules of the base of which something is trained, where a weight is tied all that share
    it; ``adapter`` names the parameters that a method added (default: those in an adapter)."""
    found: dict[str, nn.Module] = {}
    if adapter is None:
        adapter = set(adapter_names(model))
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and name not in adapter:
            for owner in sharers(model, parameter):
                found[owner] = model.get_submodule(owner)
    return found


def unsaveable(modules: Mapping[str, nn.Module], model: nn.Module) -> str | None:
    """Why peft's format has no place for what is trained beside an adapter; None if it has."""
    for name, module in modules.items():
        parent = model.get_submodule(name.rpartition(".")[0])
        if isinstance(parent, Adapter) or name.rpartition(".")[2] == "base_layer":
            return f"weights below an adapter are trained ({name})"
        if not name or next(module.children(), None) is not None:
            return f"single weights of a larger module are trained ({name or 'the model itself'})"
    return None


def saved_tensors(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """All tensors of ``modules_to_save``, by peft's names."""
    return {
        f"base_model.model.{library_name(name)}.{key}": tensor
        for name, module in modules.items()
        for key, tensor in module.state_dict().items()
    }


def write_adapter(
    checkpoint: Path, content: Mapping[str, Any], tensors: Mapping[str, Tensor], model: nn.Module,
    modules: Mapping[str, nn.Module],
) -> None:  # fmt: skip
    """``adapter/`` in a checkpoint: ``adapter_config.json`` and ``adapter_model.safetensors``, and
    where the base lacks a module a README.md that says how to give it one."""
    from safetensors.torch import save

    folder = checkpoint / "adapter"
    folder.mkdir(parents=True, exist_ok=True)
    everything = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in {**tensors, **saved_tensors(modules)}.items()
    }
    write_bytes(folder / "adapter_model.safetensors", save(everything, metadata={"format": "pt"}))
    names = [*(content.get("modules_to_save") or []), *map(library_name, modules)]
    full = {**content, "inference_mode": True, "modules_to_save": names or None}
    write_text(folder / "adapter_config.json", json.dumps(full, indent=2) + "\n")
    fresh = tuple(model.fresh) if isinstance(model, Model) else ()
    heads = {n: m for n, m in modules.items() if fresh and f"{n}.".startswith(fresh)}
    if heads:
        lines = [f"    model.{library_name(n)} = torch.nn.{m}" for n, m in heads.items()]
        text = HEAD_CARD.format(names=", ".join(heads), lines="\n".join(lines))
        write_text(folder / "README.md", text)
