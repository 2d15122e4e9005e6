"""Pretrained models of the Hugging Face hub in the form of this project's own models.

A thin module around a model of transformers (``inner``): the task asks it for the last layer's
output and multiplies with the output layer itself, only where there is a target; decoding keeps a
cache that is set aside once. Methods change the layers inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from scratchlab.config.reading import read_json, require
from scratchlab.data.contract import DataContext, Spec
from scratchlab.data.sources.pretrained_files import find_pretrained, quiet_transformers
from scratchlab.errors import UserError
from scratchlab.models.contract import LanguageModel, Model, Writer
from scratchlab.models.layers.linear import linear
from scratchlab.models.layers.token_layers import TokenLayers, distinct
from scratchlab.models.pretrained_cache import SlotCache
from scratchlab.registry import option, register
from scratchlab.run.atomic import write_text

# What models do between their last layer and the output layer, and this wrapper does not.
UNSUPPORTED = ("logit_scale", "final_logit_softcapping", "logits_scaling", "logits_scale")
FOLDER = "pretrained"


def load_inner(
    auto: Any, checkpoint: str, context: DataContext, folder: Path | None, skeleton: bool
) -> tuple[Any, dict[str, str] | None]:
    """A model of transformers and where its weights come from.

    ``skeleton``: architecture only (a checkpoint of the whole model fills it), described in
    ``folder`` if that is a checkpoint of such a model, so that it is loaded alone.
    """
    quiet_transformers()
    described = folder / FOLDER / "config.json" if folder else None
    # Code that a checkpoint may bring is refused everywhere, and nobody is asked about it.
    built = {"attn_implementation": "sdpa", "trust_remote_code": False}
    try:
        if skeleton and described is not None and described.is_file():
            content = require(read_json(described), {"model_type": "str"}, described)
            return auto.from_config(AutoConfig.for_model(**content), **built).float(), None
        found = find_pretrained(checkpoint, context.cache)
        local = {"local_files_only": True, "trust_remote_code": False}
        if skeleton:
            config = AutoConfig.from_pretrained(found.folder, **local)
            return auto.from_config(config, **built).float(), None
        inner = auto.from_pretrained(
            found.folder,
            dtype=torch.float32,
            attn_implementation="sdpa",
            use_safetensors=True,
            **local,
        )
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, RuntimeError) as error:
        if isinstance(error, UserError):
            raise
        text = (str(error).strip().splitlines() or [""])[0][:300]
        raise UserError(f"the checkpoint {checkpoint} cannot be loaded: {text}") from error
    return inner, found.origin()


def save_config(inner: Any, folder: Path) -> None:
    """What a checkpoint needs to build the architecture again."""
    write_text(folder / FOLDER / "config.json", inner.config.to_json_string(use_diff=False))


class PretrainedWriter(Writer):
    """What wrappers of models that write texts have in common: the output layer of ``inner``."""

    inner: Any

    @property
    def output(self) -> Any:
        """The layer that gives the logits, whatever methods made of it."""
        return self.inner.get_output_embeddings()

    @property
    def token_layers(self) -> TokenLayers:
        return TokenLayers(input_embeddings(self.inner), self.output)

    def save_files(self, folder: Path) -> None:
        save_config(self.inner, folder)


@register(
    "model",
    "pretrained_lm",
    tasks=("language_modeling",),
    pretrained=True,
    needs=("transformers",),
    extra="pretrained",
)
class PretrainedLM(PretrainedWriter, LanguageModel):
    """A pretrained causal language model: SmolLM2 from a package, GPT-2, any of the hub."""

    @dataclass(frozen=True)
    class Config:
        checkpoint: str = option(
            "smollm2", "smollm2 (from a package), a folder, or a name of the hub", path="name"
        )
        max_length: int | None = option(
            None, "longest context in tokens; null: what the checkpoint allows", min=1
        )
        dropout: float | None = option(
            None, "dropped share in training; null: as the checkpoint says", min=0, below=1
        )

    block_size: int

    def __init__(
        self,
        config: Config,
        spec: Spec,
        context: DataContext,
        folder: Path | None = None,
        skeleton: bool = False,
    ) -> None:
        super().__init__()
        self.config = config
        self.inner, self.origin = load_inner(
            AutoModelForCausalLM, config.checkpoint, context, folder, skeleton
        )
        settings = self.inner.config
        unusual = [k for k in UNSUPPORTED if getattr(settings, k, None) not in (None, 1.0)]
        if unusual:
            raise UserError(
                f"{config.checkpoint} ({settings.model_type}) changes its logits by {unusual[0]}, "
                "which is not supported"
            )
        allowed = int(getattr(settings, "max_position_embeddings", None) or 1 << 20)
        self.block_size = min(config.max_length or allowed, allowed)
        read = signature(self.inner.base_model.forward).parameters
        self.takes_positions = "position_ids" in read
        check_fit(spec, self.inner, self.block_size, config.checkpoint)
        if config.dropout is not None:
            set_dropout(self.inner, config.dropout)

    def hidden(
        self,
        tokens: Tensor,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        cache: SlotCache | None = None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """tokens [B, T] int64 → [B, T, D], the last layer after its norm."""
        past = 0 if cache is None else cache.length
        self.check_length(past + tokens.shape[1])
        if positions is not None and not self.takes_positions:
            raise UserError(
                f"{self.inner.config.model_type} cannot be told where tokens stand, so several "
                "examples cannot share a row",
                "Set dataset.packing=false.",
            )
        if mask is None and tokens.device.type == "meta":
            mask = whole_mask(tokens)
        more: dict[str, Any] = {"use_cache": False}
        if cache is not None:
            places, mask = cache.extend(tokens, lengths)
            more = {"use_cache": True, "past_key_values": cache.inner}
            if past:
                positions = torch.full_like(tokens, past) if isinstance(places, slice) else places
        if positions is not None:
            more["position_ids"] = positions
        found = self.inner.base_model(input_ids=tokens, attention_mask=mask, **more)
        hidden: Tensor = found.last_hidden_state
        return hidden

    def project(self, hidden: Tensor) -> Tensor:
        """hidden [..., D] → logits [..., V]."""
        weight = self.output_weight
        return super().project(hidden) if weight is None else linear(hidden, weight)

    @torch.no_grad()
    def attention_maps(self, tokens: Tensor) -> Tensor:
        """Attention weights of every layer and head, [layers, B, H, T, T]."""
        self.inner.set_attn_implementation("eager")
        try:
            found = self.inner.base_model(input_ids=tokens, use_cache=False, output_attentions=True)
        finally:
            self.inner.set_attn_implementation("sdpa")
        return torch.stack(list(found.attentions))

    def start_cache(self, batch_size: int, max_length: int) -> SlotCache:
        """An empty cache for texts of at most ``max_length`` tokens."""
        layers = self.inner.config.num_hidden_layers
        return SlotCache(layers, min(max_length, self.block_size))


@register(
    "model",
    "pretrained_encoder",
    tasks=("classification",),
    pretrained=True,
    needs=("transformers",),
    extra="pretrained",
)
class PretrainedEncoder(Model):
    """A pretrained encoder (BERT, MiniLM, any of the hub) with a new linear head."""

    fresh = ("head.",)

    @dataclass(frozen=True)
    class Config:
        checkpoint: str = option(
            "minilm", "minilm (from a package), a folder, or a name of the hub", path="name"
        )
        pooling: str = option(
            "mean",
            "what the head sees: the mean of all tokens, or the first one",
            choices=("mean", "first"),
        )
        dropout: float = option(0.1, "dropped share before the head", min=0, below=1)

    def __init__(
        self,
        config: Config,
        spec: Spec,
        context: DataContext,
        folder: Path | None = None,
        skeleton: bool = False,
    ) -> None:
        super().__init__()
        if spec.n_classes is None:
            raise UserError("pretrained_encoder needs a data set with classes")
        self.config = config
        self.inner, self.origin = load_inner(
            AutoModel, config.checkpoint, context, folder, skeleton
        )
        settings = self.inner.config
        self.block_size = int(getattr(settings, "max_position_embeddings", None) or 1 << 20)
        check_fit(spec, self.inner, self.block_size, config.checkpoint)
        self.pad_id = spec.pad_id
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(int(settings.hidden_size), spec.n_classes)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def encode(self, tokens: Tensor, padding: Tensor | None) -> Tensor:
        """tokens [B, T], padding [B, T] (True where there is no token) → [B, D]."""
        mask = None if padding is None else ~padding
        shown = whole_mask(tokens) if tokens.device.type == "meta" else mask
        hidden = self.inner(input_ids=tokens, attention_mask=shown).last_hidden_state
        if self.config.pooling == "first":
            return hidden[:, 0]
        if mask is None:
            return hidden.mean(1)
        weights = mask[..., None].to(hidden.dtype)
        return (hidden * weights).sum(1) / weights.sum(1)

    def forward(self, tokens: Tensor, padding: Tensor | None = None) -> Tensor:
        """tokens [B, T] → logits [B, classes]; without ``padding``, the padding token tells it."""
        if padding is None and self.pad_id is not None:
            padding = tokens == self.pad_id
        return self.head(self.dropout(self.encode(tokens, padding)))

    @property
    def token_layers(self) -> TokenLayers:
        return TokenLayers(input_embeddings(self.inner))

    def save_files(self, folder: Path) -> None:
        save_config(self.inner, folder)


def input_embeddings(inner: Any) -> tuple[nn.Module, ...]:
    """The layers of a model of transformers that turn ids into vectors: of an encoder-decoder that
    of both sides and the one that they were made from, where these are several modules."""
    sides = [inner]
    if getattr(inner.config, "is_encoder_decoder", False):
        sides += [inner.get_encoder(), inner.get_decoder()]
    return distinct(side.get_input_embeddings() for side in sides)


def whole_mask(tokens: Tensor) -> Tensor:
    """[B, 1, T, T]: a mask that is there, for devices on which none can be made by content."""
    return tokens.new_zeros((len(tokens), 1, tokens.shape[1], tokens.shape[1]), dtype=torch.float32)


def check_fit(spec: Spec, inner: Any, longest: int, checkpoint: str) -> None:
    """UserError if the ids of the data set are not those of the checkpoint, or texts too long."""
    rows = inner.get_input_embeddings().weight.shape[0]
    learned = spec.tokenizer not in (None, "pretrained")
    if spec.vocab_size is None or spec.vocab_size > rows or (learned and spec.vocab_size < rows):
        kind = "" if spec.tokenizer is None else f" of dataset.tokenizer={spec.tokenizer}"
        raise UserError(
            f"the data set has {spec.vocab_size} tokens{kind}, the checkpoint {checkpoint} {rows}",
            f"Take the tokenizer of the checkpoint: dataset.tokenizer=pretrained "
            f"dataset.checkpoint={checkpoint}.",
        )
    if spec.max_length is not None and spec.max_length > longest:
        raise UserError(
            f"the data set's texts of up to {spec.max_length} tokens are longer than the context "
            f"of {checkpoint}, {longest}",
            f"Set dataset.max_length={longest} (dataset.block_size for running text) or less.",
        )


def set_dropout(inner: nn.Module, share: float) -> None:
    """The same dropout everywhere in a model of transformers."""
    for module in inner.modules():
        if isinstance(module, nn.Dropout):
            module.p = share
        for name in ("attention_dropout", "attn_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, share)
