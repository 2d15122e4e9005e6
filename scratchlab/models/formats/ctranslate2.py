"""Transformers in the format of CTranslate2, an engine that translates and writes on CPU and GPU.

The folder is what its own converters write (TransformerSpec, revision 7, and
TransformerDecoderSpec, revision 8): ``model.bin`` with the variables by that format's names,
``config.json``, and the vocabularies as lists of tokens. Weights are written in fp32; its option
``compute_type="int8"`` makes integers of them as they are read.

``model.bin``, little-endian: its version, name and revision of the specification; the number of
variables, and of each its name, shape, type, size and bytes; the number of other names of the same
contents (tied weights, equal tables), and of each that name and the one it stands for. A string is
its length, the closing zero byte counted, then its bytes and that zero.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scratchlab.data.contract import Dataset, Spec
from scratchlab.errors import UserError
from scratchlab.models.gpt import GPT
from scratchlab.models.layers.block import Block
from scratchlab.models.layers.positions import Positions, sinusoidal_table
from scratchlab.models.transformer_mt import TransformerMT
from scratchlab.run.atomic import replacing, write_json

VERSION = 6
TYPES = {torch.float32: 0, torch.int8: 1, torch.int16: 2, torch.int32: 3}
ACTIVATIONS = {"relu": 0, "gelu_tanh": 1, "gelu": 3}
ROTARY_BASE = 10000.0
# Positions that are sines, or none, have no end here; the format holds a table of them.
POSITIONS = 1024
# Options that the format has a place for, with the values that it can hold (None: any). Another
# option of a model must be at its default, which computes nothing beyond these.
HELD: dict[str, tuple[str, ...] | None] = {
    **dict.fromkeys(("d_model", "n_heads", "n_layers", "encoder_layers", "decoder_layers", "d_ff")),
    **dict.fromkeys(("block_size", "max_length", "dropout", "attention_dropout", "zero_init")),
    **dict.fromkeys(("bias", "tie_embeddings", "logit_softcap", "cutoffs")),
    "norm": ("pre", "post"),
    "activation": tuple(ACTIVATIONS),
    "positions": ("sinusoidal", "learned", "rotary", "none"),
}
Variables = dict[str, Tensor]


def check_convertible(model: GPT | TransformerMT) -> None:
    """UserError if the format has no place for what the model computes."""
    for field in fields(model.config):
        value = getattr(model.config, field.name)
        held = HELD.get(field.name, ())
        made = field.default_factory
        usual = field.default if made is MISSING else made()
        if value != usual and held is not None and value not in held:
            asked, held_one = (f"model.{field.name}={_written(v)}" for v in (value, usual))
            raise UserError(
                f"CTranslate2's format has no place for {asked}", f"Train with {held_one}."
            )


def _written(value: Any) -> str:
    """As a command has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


@torch.no_grad()
def export_ctranslate2(model: GPT | TransformerMT, folder: Path, dataset: Dataset) -> None:
    """Write ``config.json``, ``model.bin`` and the vocabularies.

    UserError if the format has no place for what the model computes.
    """
    check_convertible(model)
    if isinstance(model, GPT):
        name, revision, variables = "TransformerDecoderSpec", 8, _language_model(model)
        tokens = {"vocabulary": _tokens(dataset.tokenizer, len(model.embedding.weight))}
    else:
        name, revision, variables = "TransformerSpec", 7, _translator(model)
        tokens = _vocabularies(model, dataset)
    for vocabulary, listed in tokens.items():
        write_json(folder / f"{vocabulary}.json", listed)
    write_json(folder / "config.json", _config(model, dataset.spec, list(tokens.values())[-1]))
    _write(folder / "model.bin", name, revision, variables)


def remarks(model: GPT | TransformerMT) -> list[str]:
    """What a person should know of what was exported."""
    reader = "Generator" if isinstance(model, GPT) else "Translator"
    found = [f"ctranslate2.{reader} reads it, with compute_type='int8' as integers"]
    if isinstance(model, TransformerMT) and model.config.positions in ("sinusoidal", "none"):
        length = len(_table(model.target_positions))
        found.append(f"it holds {length:,} positions: longer texts are refused there")
    return found


def _vocabularies(model: TransformerMT, dataset: Any) -> dict[str, list[str]]:
    source = _tokens(dataset.source_tokenizer, model.source_embedding.num_embeddings)
    target = _tokens(dataset.target_tokenizer, model.target_embedding.num_embeddings)
    if source == target:
        return {"shared_vocabulary": target}
    return {"source_vocabulary": source, "target_vocabulary": target}


def _tokens(tokenizer: Any, count: int) -> list[str]:
    """The token of each row of an embedding, which may have more rows than there are tokens."""
    known = list(tokenizer.tokens)
    return known + [f"<unused {i}>" for i in range(len(known), count)]


def _config(model: GPT | TransformerMT, spec: Spec, tokens: list[str]) -> dict[str, Any]:
    """What ``config.json`` says; a data set without a start has its texts begin after an end."""
    end = "</s>" if spec.eos_id is None else tokens[spec.eos_id]
    start = end if spec.sos_id is None else tokens[spec.sos_id]
    more: dict[str, Any] = {}
    if isinstance(model, TransformerMT):
        more = {"add_source_bos": False, "add_source_eos": True, "decoder_start_token": start}
    found = {
        **more,
        "bos_token": start,
        "eos_token": end,
        "layer_norm_epsilon": 1e-5,
        "multi_query_attention": False,
        "unk_token": end if spec.unk_id is None else tokens[spec.unk_id],
    }
    return {key: found[key] for key in sorted(found)}


def _translator(model: TransformerMT) -> Variables:
    found: Variables = {}
    stacks = (
        ("encoder", model.source_embedding, model.source_positions, model.encoder),
        ("decoder", model.target_embedding, model.target_positions, model.decoder),
    )
    for part, embedding, positions, blocks in stacks:
        where = "embeddings_0" if part == "encoder" else "embeddings"
        found[f"{part}/{where}/weight"] = embedding.weight
        norm = getattr(model, f"{part}_norm")
        final = norm if model.config.norm == "pre" else None
        activation = ACTIVATIONS[model.config.activation]
        found |= _stack(part, model, positions, blocks, final, activation, scaled=True)
    found["encoder/embeddings_merge"] = _number(0)
    found["encoder/multi_query_attention"] = _number(0)
    return found | _decoder(model)


def _language_model(model: GPT) -> Variables:
    found = {"decoder/embeddings/weight": model.embedding.weight}
    activation, scaled = ACTIVATIONS[model.config.activation], model.scale != 1
    found |= _stack("decoder", model, model.positions, model.blocks, model.norm, activation, scaled)
    return found | _decoder(model)


def _decoder(model: GPT | TransformerMT) -> Variables:
    """What a decoder has on top of its stack."""
    no = ("alibi", "alibi_use_positive_positions", "scale_alibi", "start_from_zero_embedding")
    found = {f"decoder/{name}": _number(0) for name in no}
    found["decoder/alignment_heads"] = _number(1, torch.int16)
    found["decoder/alignment_layer"] = _number(-1, torch.int16)
    found["decoder/projection/weight"] = model.output.weight
    if (cap := model.config.logit_softcap) is not None:
        found["decoder/final_logit_softcapping"] = _number(cap, torch.float32)
    return found


def _stack(
    part: str,
    model: Any,
    positions: Positions,
    blocks: Any,
    final: Any,
    activation: int,
    scaled: bool,
) -> Variables:
    """The layers of an encoder or a decoder, and what holds for all of them."""
    config = model.config
    found = {
        f"{part}/num_heads": _number(config.n_heads, torch.int16),
        f"{part}/pre_norm": _number(final is not None),
        f"{part}/activation": _number(activation),
        f"{part}/scale_embeddings": _number(scaled),
    }
    if final is not None:
        found |= dict(_norm(f"{part}/layer_norm", final))
    if positions.kind != "rotary":
        found[f"{part}/position_encodings/encodings"] = _table(positions)
    for number, block in enumerate(blocks):
        layer = f"{part}/layer_{number}"
        found |= dict(_block(layer, block))
        if positions.kind == "rotary":
            at = f"{layer}/self_attention/rotary"
            found[f"{at}_dim"] = _number(0, torch.int32)  # the whole of a head
            found[f"{at}_interleave"] = _number(0)
            found[f"{at}_base"] = _number(ROTARY_BASE, torch.float32)
    return found


def _table(positions: Positions) -> Tensor:
    """What is added to the token at each position, [positions, D]."""
    if positions.kind == "learned":
        return positions.weight
    length = max(POSITIONS, positions.max_length)
    if positions.kind == "sinusoidal":
        return sinusoidal_table(length, positions.d_model).float()
    return torch.zeros(length, positions.d_model)


def _block(layer: str, block: Block) -> Iterator[tuple[str, Tensor]]:
    own = f"{layer}/self_attention"
    yield from _norm(f"{own}/layer_norm", block.attention_norm)
    yield from _linear(f"{own}/linear_0", block.attention.qkv)
    yield from _linear(f"{own}/linear_1", block.attention.out)
    if hasattr(block, "cross"):
        other = f"{layer}/attention"
        yield from _norm(f"{other}/layer_norm", block.cross_norm)
        for number, linear in enumerate((block.cross.q, block.cross.kv, block.cross.out)):
            yield from _linear(f"{other}/linear_{number}", linear)
    yield from _norm(f"{layer}/ffn/layer_norm", block.feed_forward_norm)
    yield from _linear(f"{layer}/ffn/linear_0", block.feed_forward.inner)
    yield from _linear(f"{layer}/ffn/linear_1", block.feed_forward.out)


def _linear(name: str, linear: Any) -> Iterator[tuple[str, Tensor]]:
    yield f"{name}/weight", linear.weight
    if linear.bias is not None:
        yield f"{name}/bias", linear.bias


def _norm(name: str, norm: Any) -> Iterator[tuple[str, Tensor]]:
    yield f"{name}/gamma", norm.weight
    yield f"{name}/beta", torch.zeros_like(norm.weight) if norm.bias is None else norm.bias


def _number(value: float, dtype: torch.dtype = torch.int8) -> Tensor:
    return torch.tensor(value, dtype=dtype)


def _write(path: Path, name: str, revision: int, variables: Variables) -> None:
    """Write ``model.bin``; of variables of the same contents only the first by name."""
    first: dict[tuple[Any, ...], str] = {}
    others: dict[str, str] = {}
    written: dict[str, Any] = {}
    for key in sorted(variables):
        tensor = variables[key].detach().cpu()
        tensor = tensor.float() if tensor.is_floating_point() else tensor
        array = tensor.contiguous().numpy()
        content = (array.dtype, array.shape, hashlib.sha256(array.tobytes()).digest())
        if array.shape and (known := first.setdefault(content, key)) != key:
            others[key] = known
        else:
            written[key] = (array, TYPES[tensor.dtype])
    with replacing(path) as file:
        file.write(struct.pack("<I", VERSION) + _string(name) + struct.pack("<I", revision))
        file.write(struct.pack("<I", len(written)))
        for key, (array, kind) in written.items():
            file.write(_string(key) + struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape))
            file.write(struct.pack("<BI", kind, array.nbytes))
            file.write(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
        file.write(struct.pack("<I", len(others)))
        for key, known in others.items():
            file.write(_string(key) + _string(known))


def _string(text: str) -> bytes:
    content = text.encode()
    return struct.pack("<H", len(content) + 1) + content + b"\0"
