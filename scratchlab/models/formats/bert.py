"""BERT checkpoints in the Hugging Face format, read into :class:`TextEncoder` and written from it.

Queries, keys and values are three layers there and one here. Old checkpoints call the weights of a
norm gamma and beta. What a checkpoint has on top of the encoder (a pooler, the layers of masked
words, classes) is read where it is there; that of next sentences is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from scratchlab.data.contract import Spec
from scratchlab.errors import UserError, shortened, suggest
from scratchlab.models.formats.hugging_face import (
    checked_options,
    dtype_name,
    read_content,
    read_tensors,
)
from scratchlab.models.text_encoder import TextEncoder
from scratchlab.run.atomic import write_bytes, write_json

PREFIX = "bert."
# What TextEncoder computes; a checkpoint that was made for something else would give wrong numbers.
ASSUMED: dict[str, Any] = {
    "model_type": "bert",
    "is_decoder": False,
    "add_cross_attention": False,
    "position_embedding_type": "absolute",
}
# The options of model=text_encoder → the keys of config.json.
OPTIONS = {
    "d_model": "hidden_size",
    "n_heads": "num_attention_heads",
    "n_layers": "num_hidden_layers",
    "d_ff": "intermediate_size",
    "max_length": "max_position_embeddings",
    "segments": "type_vocab_size",
    "norm_eps": "layer_norm_eps",
}
FIXED = {"norm": "post", "positions": "learned", "embedding_norm": True}
ACTIVATIONS = {
    "gelu": "gelu",
    "relu": "relu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}
EMBEDDINGS = {
    "embedding": "embeddings.word_embeddings",
    "positions": "embeddings.position_embeddings",
    "segments": "embeddings.token_type_embeddings",
    "embedding_norm": "embeddings.LayerNorm",
}
QKV = ("query", "key", "value")
# ours → theirs within a block
LAYERS = {
    "attention.out": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "feed_forward.inner": "intermediate.dense",
    "feed_forward.out": "output.dense",
    "feed_forward_norm": "output.LayerNorm",
}
HEADS = {
    "pooler": "pooler.dense",
    "transform": "cls.predictions.transform.dense",
    "transform_norm": "cls.predictions.transform.LayerNorm",
    "head": "classifier",
}
OUTPUT_BIASES = ("cls.predictions.bias", "cls.predictions.decoder.bias")


def architecture(folder: Path) -> dict[str, Any]:
    """The options of model=text_encoder that a checkpoint folder decides."""
    path = folder / "config.json"
    content = read_content(folder, "text_encoder", ASSUMED)
    activation = content.get("hidden_act", "gelu")
    if activation not in ACTIVATIONS:
        hint = suggest(str(activation), ACTIVATIONS)
        raise UserError(f"{path}: hidden_act is {shortened(activation)}", hint)
    found = {ours: content[theirs] for ours, theirs in OPTIONS.items() if theirs in content}
    found |= {**FIXED, "activation": ACTIVATIONS[activation]}
    checked = checked_options(path, "text_encoder", "BERT", found, OPTIONS, tuple(OPTIONS)[:5])
    return {name: checked[name] for name in (*OPTIONS, *FIXED, "activation")}


def weights(folder: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint folder by the names of :class:`TextEncoder`; UserError where one
    of the encoder is missing."""
    blocks = architecture(folder)["n_layers"]
    theirs: dict[str, Tensor] = {}
    for name, tensor in read_tensors(folder):
        plain = name.removeprefix(PREFIX)
        theirs[plain.replace("LayerNorm.gamma", "LayerNorm.weight")
               .replace("LayerNorm.beta", "LayerNorm.bias")] = tensor  # fmt: skip
    found: dict[str, Tensor] = {}
    for ours, names in encoder_names(blocks):
        for name in names:
            if name not in theirs:
                raise UserError(f"the checkpoint {folder} lacks the tensor {name!r}")
        found[ours] = torch.cat([theirs[name] for name in names])
    if f"encoder.layer.{blocks}.output.dense.weight" in theirs:
        raise UserError(f"the checkpoint {folder} has more than {blocks} blocks")
    for ours, name in HEADS.items():
        for kind in ("weight", "bias"):
            if f"{name}.{kind}" in theirs:
                found[f"{ours}.{kind}"] = theirs[f"{name}.{kind}"]
    bias = next((theirs[name] for name in OUTPUT_BIASES if name in theirs), None)
    return found if bias is None else {**found, "output.bias": bias}


def encoder_names(blocks: int) -> Iterator[tuple[str, list[str]]]:
    """Each tensor of the encoder: our name, and those that are put together for it there."""
    for ours, theirs in EMBEDDINGS.items():
        yield f"{ours}.weight", [f"{theirs}.weight"]
    yield "embedding_norm.bias", [f"{EMBEDDINGS['embedding_norm']}.bias"]
    for number in range(blocks):
        here, there = f"blocks.{number}", f"encoder.layer.{number}"
        for kind in ("weight", "bias"):
            yield (
                f"{here}.attention.qkv.{kind}",
                [f"{there}.attention.self.{part}.{kind}" for part in QKV],
            )
            for ours, theirs in LAYERS.items():
                yield f"{here}.{ours}.{kind}", [f"{there}.{theirs}.{kind}"]


def check_convertible(model: TextEncoder) -> None:
    """UserError if BERT's format has no place for what the model computes."""
    for name, value in FIXED.items():
        if (own := getattr(model.config, name)) != value:
            raise UserError(
                f"BERT's format has model.{name}={value}, not {own}",
                f"Train with model.{name}={value}.",
            )


def kind_of(model: TextEncoder) -> str:
    """The class of transformers that gives the outputs of the model: of one whose classes are told
    from the mean of all tokens there is none, so BertModel gives its hidden states."""
    if model.output is not None:
        return "BertForMaskedLM"
    whole = model.config.pooling == "cls" and model.pooler is not None
    return "BertForSequenceClassification" if whole else "BertModel"


@torch.no_grad()
def export_bert(model: TextEncoder, folder: Path, spec: Spec) -> str:
    """Write ``config.json`` and ``model.safetensors``; the class of transformers that reads them.

    UserError if BERT's format has no place for what the model computes.
    """
    check_convertible(model)
    kind, own = kind_of(model), {n: t.detach().cpu() for n, t in model.state_dict().items()}
    if "segments.weight" not in own:  # one kind of text: nothing is added
        own["segments.weight"] = torch.zeros(1, model.config.d_model)
    prefix = "" if kind == "BertModel" else PREFIX
    tensors: dict[str, Tensor] = {}
    for ours, names in encoder_names(len(model.blocks)):
        for name, part in zip(names, own[ours].chunk(len(names)), strict=True):
            tensors[prefix + name] = part.contiguous()
    for ours, name in HEADS.items():
        if f"{ours}.weight" in own and not (ours == "head" and kind == "BertModel"):
            at = prefix if ours == "pooler" else ""
            tensors |= {f"{at}{name}.{k}": own[f"{ours}.{k}"] for k in ("weight", "bias")}
    if kind == "BertForMaskedLM":
        tensors[OUTPUT_BIASES[0]] = own["output.bias"]
    write_bytes(folder / "model.safetensors", save(tensors, metadata={"format": "pt"}))
    write_json(folder / "config.json", {"architectures": [kind], **_content(model, spec)})
    return kind


def _content(model: TextEncoder, spec: Spec) -> dict[str, Any]:
    config, names = model.config, spec.class_names
    classes = {
        "id2label": {str(i): name for i, name in enumerate(names)},
        "label2id": {name: i for i, name in enumerate(names)},
    }
    return {
        **ASSUMED,
        **{theirs: getattr(config, ours) for ours, theirs in OPTIONS.items()},
        "intermediate_size": config.d_ff or 4 * config.d_model,
        "max_position_embeddings": model.block_size,
        "type_vocab_size": max(1, config.segments),
        "vocab_size": model.embedding.num_embeddings,
        "hidden_act": {v: k for k, v in reversed(ACTIVATIONS.items())}[config.activation],
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.attention_dropout,
        "classifier_dropout": config.dropout,
        "initializer_range": 0.02,
        "pad_token_id": spec.pad_id,
        "tie_word_embeddings": True,
        **(classes if names else {}),
        "dtype": dtype_name(model.embedding.weight),
    }
