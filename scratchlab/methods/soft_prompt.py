"""Prompt tuning (Lester et al. 2021), from scratch: learned embeddings before the input.

The model stays as it is; a matrix [length, D] of made-up tokens stands before every text. They are
given ids behind the vocabulary, so any model that takes ids reads them, positions and cache
included.
"""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from scratchlab.errors import UserError
from scratchlab.methods.contract import Adapter, Arithmetic, Method, MethodContext, freeze
from scratchlab.methods.finetune import fresh_names
from scratchlab.methods.peft_format import prompt_adapter, trained_modules, write_adapter
from scratchlab.methods.replace import name_of, replace_module
from scratchlab.models.contract import LanguageModel, Model
from scratchlab.models.layers.token_layers import TokenLayers
from scratchlab.registry import option, register


class PromptEmbedding(Adapter):
    """An embedding of V tokens in which ids V … V + length - 1 are the prompt's."""

    def __init__(self, base: nn.Module, vocab_size: int, start: Tensor) -> None:
        super().__init__()
        self.base = base
        self.vocab_size = vocab_size
        self.prompt = nn.Parameter(start)  # [length, D]

    @property
    def weight(self) -> Tensor:
        """That of the vocabulary, for those who ask for its shape."""
        found: Any = self.base.weight
        return found

    def forward(self, ids: Tensor) -> Tensor:
        """ids [B, T] → [B, T, D]."""
        x: Tensor = self.base(ids.clamp(max=self.vocab_size - 1))
        place = (ids - self.vocab_size).clamp(min=0)
        return torch.where((ids >= self.vocab_size)[..., None], self.prompt[place].to(x.dtype), x)


class Prompted(Model):
    """A model that reads the prompt's ids before those of every text."""

    def __init__(self, inner: Any, vocab_size: int, length: int) -> None:
        super().__init__()
        self.inner = inner
        self.length = length
        ids = torch.arange(vocab_size, vocab_size + length)
        self.register_buffer("prompt_ids", ids, persistent=False)
        self.block_size = None if inner.block_size is None else inner.block_size - length
        self.fresh = tuple(f"inner.{name}" for name in inner.fresh)

    @property
    def token_layers(self) -> TokenLayers | None:
        found: TokenLayers | None = self.inner.token_layers
        return found

    def save_files(self, folder: Path) -> None:
        self.inner.save_files(folder)

    def prompted(self, tokens: Tensor) -> Tensor:
        """tokens [B, T] → [B, length + T]."""
        ids: Any = self.prompt_ids
        return torch.cat([ids.to(tokens.device).expand(len(tokens), -1), tokens], 1)


class PromptedEncoder(Prompted):
    """A classifier of texts with a prompt."""

    def forward(self, tokens: Tensor, padding: Tensor | None = None) -> Tensor:
        """tokens [B, T] → logits [B, classes]. Models that are not told of padding find it by its
        token, which no id of the prompt is."""
        if "padding" not in signature(self.inner.forward).parameters:
            found: Tensor = self.inner(self.prompted(tokens))
            return found
        if padding is None and self.inner.pad_id is not None:
            padding = tokens == self.inner.pad_id
        if padding is not None:
            padding = torch.cat([padding.new_zeros(len(tokens), self.length), padding], 1)
        logits: Tensor = self.inner(self.prompted(tokens), padding)
        return logits


class PromptedLanguageModel(Prompted, LanguageModel):
    """A language model with a prompt, every text of which begins anew."""

    def __init__(self, inner: LanguageModel, vocab_size: int, length: int) -> None:
        super().__init__(inner, vocab_size, length)
        vars(self)["adaptive"] = inner.adaptive  # a part of ``inner``, not one more of this module
        self.softcap = inner.softcap

    @property
    def output(self) -> Any:
        return self.inner.output

    @property
    def output_weight(self) -> Tensor | None:
        found: Tensor | None = self.inner.output_weight
        return found

    def project(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.inner.project(hidden)
        return logits

    def hidden(
        self,
        tokens: Tensor,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        cache: Any = None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """tokens [B, T] → [B, T, D]; the prompt's own outputs are left out."""
        if positions is not None or mask is not None:
            raise UserError(
                "a soft prompt stands before a text, and packed rows hold several",
                "Set dataset.packing=false.",
            )
        found: Tensor
        if cache is not None and cache.length:
            found = self.inner.hidden(tokens, cache=cache)
            return found
        lengths = None if lengths is None else lengths + self.length
        found = self.inner.hidden(self.prompted(tokens), cache=cache, lengths=lengths)
        return found[:, self.length :]

    def attention_maps(self, tokens: Tensor) -> Tensor | None:
        """Of the texts alone, [layers, B, H, T, T]."""
        found: Tensor | None = self.inner.attention_maps(self.prompted(tokens))
        return None if found is None else found[..., self.length :, self.length :]

    def start_cache(self, batch_size: int, max_length: int) -> Any:
        return self.inner.start_cache(batch_size, max_length + self.length)


@register("method", "soft_prompt")
class SoftPrompt(Method):
    """Prompt tuning from scratch: learned embeddings before the input, the model frozen."""

    exports: ClassVar[bool] = True

    @dataclass(frozen=True)
    class Config:
        length: int = option(20, "embeddings that are learned", min=1)
        init: str = option(
            "text",
            "where they start: at the embeddings of a text, at those of random tokens, or at noise",
            choices=("text", "tokens", "random"),
        )
        text: str = option(
            "Write a short summary of the text.",
            "init=text: the text, repeated until it fills",
            when={"init": "text"},
        )

        RULES: ClassVar[tuple[tuple[str, str], ...]] = (
            ("init != 'text' or text != ''", "init=text needs a text"),
        )

    config: Config

    def apply(self, model: Model, context: MethodContext) -> Model:
        if context.spec.vocab_size is None:
            raise UserError("soft_prompt needs a model of texts")
        if context.spec.task in ("seq2seq", "masked_lm"):
            what = "encoder-decoders" if context.spec.task == "seq2seq" else "masked words"
            raise UserError(
                f"soft_prompt is for language models and classifiers, not for {what}",
                "Choose lora, peft or finetune.",
            )
        name, base = input_embedding(model)
        if len(model.token_layers.embeddings) > 1:  # type: ignore[union-attr]
            raise UserError(
                "soft_prompt: the model has value embeddings, which a prompt has no rows in",
                "Choose lora, peft or finetune, or a model without them.",
            )
        rows, width = embedding_shape(base)
        length = self.config.length
        room = model.block_size
        if room is not None and length >= room:
            raise UserError(
                f"method.soft_prompt.length={length} fills the model's context of {room} tokens",
                f"Give a length below {room}.",
            )
        longest = context.spec.max_length
        if room is not None and longest is not None and longest + length > room:
            raise UserError(
                f"texts of up to {longest} tokens and a prompt of {length} do not fit into the "
                f"model's context of {room}",
                f"Set model.block_size={longest + length} (a from-scratch model), or shorter texts "
                f"(dataset.max_length={room - length} or dataset.block_size).",
            )
        freeze(model)
        self.layer = PromptEmbedding(base, rows, self._start(base, context, rows, width))
        replace_module(model, name, self.layer)
        for fresh in fresh_names(model):
            model.get_parameter(fresh).requires_grad_(True)
        self.model, self.width, self.origin = model, width, context.origin
        if isinstance(model, LanguageModel):
            return PromptedLanguageModel(model, rows, length)
        return PromptedEncoder(model, rows, length)

    @torch.no_grad()
    def _start(self, base: nn.Module, context: MethodContext, rows: int, width: int) -> Tensor:
        length, config = self.config.length, self.config
        near = next((*base.parameters(), *base.buffers()).__iter__())
        if near.device.type == "meta":
            return torch.empty(length, width, device="meta")
        if config.init == "random":
            return torch.randn(length, width, device=near.device) * 0.02
        ids = torch.randint(0, rows, (length,))
        if config.init == "text":
            if context.encode is None:
                raise UserError("soft_prompt.init=text needs a data set of texts")
            found = context.encode(config.text)
            if not found:
                raise UserError("method.soft_prompt.text has no token")
            ids = torch.tensor([found[i % len(found)] for i in range(length)])
        start: Tensor = base(ids.to(near.device)[None])[0]
        return start.float().clone()

    def export(self, folder: Path) -> None:
        """``adapter/`` in peft's format of prompt tuning."""
        content, tensors = prompt_adapter(self.layer.prompt)
        content["base_model_name_or_path"] = self.origin or None
        write_adapter(folder, content, tensors, self.model, {})

    def unexportable(self) -> str | None:
        beside = trained_modules(self.model)
        return f"prompt tuning has no place for {', '.join(beside)}" if beside else None

    def arithmetic(self) -> list[Arithmetic]:
        n = self.config.length
        rows = [(f"{n}", f"{self.width}", f"{n} · {self.width}", f"{n * self.width:,}")]
        columns = ("prompt tokens", "width", "weights", "trained")
        return [Arithmetic("Soft prompt", columns, rows)]


def input_embedding(model: Model) -> tuple[str, nn.Module]:
    """The layer that turns ids into vectors, and its name."""
    found = model.token_layers
    if found is None:
        raise UserError(
            f"soft_prompt: {type(model).__name__} names no embedding of tokens",
            "A model of one's own says so by token_layers (scratchlab.models.layers.token_layers).",
        )
    return name_of(model, found.embeddings[0]), found.embeddings[0]


def embedding_shape(layer: nn.Module) -> tuple[int, int]:
    """(tokens, width) of an embedding, also of a quantized one."""
    found: Any = layer
    return int(found.num_embeddings), int(found.embedding_dim)
