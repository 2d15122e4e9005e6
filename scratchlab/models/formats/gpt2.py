"""GPT-2 checkpoints in the Hugging Face format, read into :class:`GPT` and written from it.

Their linear layers are ``Conv1D``: weights [in, out], the transpose of ``nn.Linear``'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from scratchlab.data.contract import Spec
from scratchlab.errors import UserError, shortened
from scratchlab.models.formats.hugging_face import (
    checked_options,
    dtype_name,
    read_content,
    read_tensors,
)
from scratchlab.models.gpt import GPT
from scratchlab.run.atomic import write_bytes, write_json

PREFIX = "transformer."
TANH_GELU = ("gelu_new", "gelu_pytorch_tanh")
# What GPT computes; a checkpoint that was made for something else would give wrong numbers.
ASSUMED: dict[str, Any] = {
    "model_type": "gpt2",
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
    "layer_norm_epsilon": 1e-5,
}
# The options of model=gpt → the keys of config.json.
OPTIONS = {
    "d_model": "n_embd",
    "n_heads": "n_head",
    "n_layers": "n_layer",
    "d_ff": "n_inner",
    "block_size": "n_positions",
    "dropout": "resid_pdrop",
    "attention_dropout": "attn_pdrop",
    "tie_embeddings": "tie_word_embeddings",
}
# What GPT-2 does without.
PLAIN: dict[str, Any] = {
    "activation": "gelu_tanh",
    "qk_norm": False,
    "value_embeddings": False,
    "residual_scalars": False,
    "logit_softcap": None,
}
SIZES = ("d_model", "n_heads", "n_layers", "block_size")
# ours → theirs within a block, and whether it is a Conv1D
LAYERS = {
    "attention_norm": ("ln_1", False),
    "attention.qkv": ("attn.c_attn", True),
    "attention.out": ("attn.c_proj", True),
    "feed_forward_norm": ("ln_2", False),
    "feed_forward.inner": ("mlp.c_fc", True),
    "feed_forward.out": ("mlp.c_proj", True),
}


def read_gpt2_config(folder: Path) -> tuple[GPT.Config, int]:
    """The configuration and vocabulary size of a checkpoint folder; UserError where it differs
    from GPT-2's architecture."""
    path = folder / "config.json"
    content = read_content(folder, "gpt", ASSUMED)
    activation = content.get("activation_function", "gelu_new")
    if activation not in TANH_GELU:
        raise UserError(f"{path}: activation_function is {shortened(activation)}, not gelu_new")
    values = {ours: content[theirs] for ours, theirs in OPTIONS.items() if theirs in content}
    values = {"positions": "learned", "tie_embeddings": True, **values}
    complete = checked_options(path, "gpt", "GPT-2", values, OPTIONS, SIZES)
    return GPT.Config(**complete), content["vocab_size"]


def architecture(folder: Path) -> dict[str, Any]:
    """The options of model=gpt that a checkpoint folder decides."""
    config, _ = read_gpt2_config(folder)
    names = ("d_model", "n_heads", "n_layers", "d_ff", "block_size", "positions", "tie_embeddings")
    found = {name: getattr(config, name) for name in names}
    return found | {"bias": True, "output": "full"} | PLAIN


def weights(folder: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint folder by the names of :class:`GPT`."""
    return load_gpt2(folder).state_dict()


def load_gpt2(folder: Path) -> GPT:
    """A new model with the architecture and the weights of a checkpoint folder."""
    config, vocab_size = read_gpt2_config(folder)
    model = GPT(config, Spec(task="language_modeling", vocab_size=vocab_size))
    load_gpt2_weights(model, folder)
    return model


@torch.no_grad()
def load_gpt2_weights(model: GPT, folder: Path) -> None:
    """Copy the weights of a checkpoint folder into ``model``.

    UserError where the shapes or the kinds of parameter do not fit; the model is changed only if
    everything fits.
    """
    check_convertible(model)
    read_gpt2_config(folder)
    tensors = {name.removeprefix(PREFIX): t for name, t in read_tensors(folder)}
    found: list[tuple[Tensor, Tensor]] = []
    for parameter, name, transposed in _pairs(model):
        tensor = tensors.get(name)
        if tensor is None:
            raise UserError(f"the checkpoint {folder} lacks the tensor {name!r}")
        tensor = tensor.t() if transposed else tensor
        if parameter is None:
            raise UserError(
                f"the checkpoint {folder} has biases ({name}), this model has none",
                "Set model.bias=true.",
            )
        if tensor.shape != parameter.shape:
            raise UserError(
                f"{name} is {list(tensor.shape)} in the checkpoint {folder}, "
                f"{list(parameter.shape)} in this model",
                "d_model, n_layers, block_size and the vocabulary must be those of the checkpoint.",
            )
        found.append((parameter, tensor))
    beyond = f"h.{len(model.blocks)}."
    if any(name.startswith(beyond) for name in tensors):
        raise UserError(f"the checkpoint {folder} has more than {len(model.blocks)} blocks")
    for parameter, tensor in found:
        parameter.copy_(tensor)


@torch.no_grad()
def export_gpt2(
    model: GPT, folder: Path, bos_id: int | None = None, eos_id: int | None = None
) -> None:
    """Write ``config.json`` and ``model.safetensors`` for ``GPT2LMHeadModel.from_pretrained``.

    A model without biases is written with biases of zero. UserError if GPT-2's format has no place
    for what the model computes.
    """
    check_convertible(model)
    config = model.config
    tensors: dict[str, Tensor] = {}
    for parameter, name, transposed in _pairs(model):
        if parameter is None:
            weight = tensors[PREFIX + name.removesuffix("bias") + "weight"]
            parameter = weight.new_zeros(weight.shape[-1])
        tensor = parameter.detach().cpu()
        key = name if name == "lm_head.weight" else PREFIX + name
        tensors[key] = (tensor.t() if transposed else tensor).contiguous()
    write_bytes(folder / "model.safetensors", save(tensors, metadata={"format": "pt"}))
    write_json(
        folder / "config.json",
        {
            "architectures": ["GPT2LMHeadModel"],
            **ASSUMED,
            "activation_function": "gelu_new",
            "vocab_size": model.embedding.num_embeddings,
            "n_positions": model.block_size,
            "n_ctx": model.block_size,
            "n_embd": config.d_model,
            "n_layer": config.n_layers,
            "n_head": config.n_heads,
            "n_inner": config.d_ff,
            "resid_pdrop": config.dropout,
            "embd_pdrop": config.dropout,
            "attn_pdrop": config.attention_dropout,
            "initializer_range": 0.02,
            "bos_token_id": bos_id,
            "eos_token_id": eos_id,
            "tie_word_embeddings": config.tie_embeddings,
            "dtype": dtype_name(model.embedding.weight),
        },
    )


def check_convertible(model: GPT) -> None:
    """UserError if GPT-2's format has no place for what the model computes."""
    config = model.config
    if config.positions != "learned":
        raise UserError(
            f"GPT-2's format holds learned positions, not {config.positions} ones",
            "Train with model.positions=learned.",
        )
    if config.output != "full":
        raise UserError(
            "GPT-2's format holds a full softmax, not an adaptive one",
            "Train with model.output=full.",
        )
    for name, plain in PLAIN.items():
        if (value := getattr(config, name)) != plain:
            usual = "null" if plain is None else str(plain).lower()
            raise UserError(
                f"GPT-2's format has no place for model.{name}={str(value).lower()}",
                f"Train with model.{name}={usual}.",
            )


def _pairs(model: GPT) -> Iterator[tuple[Tensor | None, str, bool]]:
    """Each of our parameters (None: a bias that this model does without), its name in the format
    (without prefix), and whether it is transposed there. Weights come before their biases."""
    yield model.embedding.weight, "wte.weight", False
    yield model.positions.weight, "wpe.weight", False
    for number, block in enumerate(model.blocks):
        for ours, (theirs, transposed) in LAYERS.items():
            module: Any = block.get_submodule(ours)
            yield module.weight, f"h.{number}.{theirs}.weight", transposed
            yield module.bias, f"h.{number}.{theirs}.bias", False
    yield model.norm.weight, "ln_f.weight", False
    yield model.norm.bias, "ln_f.bias", False
    if not model.config.tie_embeddings:
        yield model.output.weight, "lm_head.weight", False
