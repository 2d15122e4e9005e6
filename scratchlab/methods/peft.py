"""Any adapter of the peft library by its name: LoRA, DoRA, IA3, prefix tuning and others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from scratchlab.errors import UserError, suggest
from scratchlab.methods.contract import Adapter, Arithmetic, Method, MethodContext
from scratchlab.methods.finetune import fresh_names
from scratchlab.methods.peft_format import (
    library_adapter,
    trained_modules,
    unsaveable,
    write_adapter,
)
from scratchlab.methods.replace import find_layers
from scratchlab.models.contract import LanguageModel, Model
from scratchlab.models.layers.token_layers import TokenLayers
from scratchlab.models.pretrained import PretrainedLM
from scratchlab.registry import option, register

# Kinds that stand before the input instead of inside layers.
PROMPTS = ("PROMPT_TUNING", "PREFIX_TUNING", "P_TUNING")


@register("method", "peft", needs=("peft",), extra="pretrained")
class Peft(Method):
    """An adapter of the peft library, named by its type; ``settings`` are the library's own."""

    exports: ClassVar[bool] = True

    @dataclass(frozen=True)
    class Config:
        type: str = option("LORA", "peft's type: LORA, IA3, ADALORA, LOHA, LOKR, VERA, OFT …")
        settings: dict[str, Any] = option({}, "options of the library's configuration")
        targets: list[str] = option(
            ["attention"], "layers: attention, mlp, linear (both), names or patterns"
        )

    config: Config

    def apply(self, model: Model, context: MethodContext) -> Model:
        from peft import inject_adapter_in_model
        from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
        from peft.utils import PeftType

        config, self.origin = self.config, context.origin
        known = {str(k.value): c for k, c in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
        kind = config.type.upper()
        if kind not in known:
            raise UserError(f"method.peft.type: {config.type!r}", suggest(kind, known, "Types"))
        if PeftType(kind) in {PeftType(name) for name in PROMPTS}:
            return self._prompted(model, known[kind], context)
        names = find_layers(model, config.targets, "method.peft.targets")
        settings = dict(config.settings)
        if kind == "IA3":
            settings.setdefault("feedforward_modules", [n for n in names if "mlp" in n])
        self.library_config = _library_config(known[kind], target_modules=names, **settings)
        try:
            inject_adapter_in_model(self.library_config, model, adapter_name="default")
        except (ValueError, TypeError, RuntimeError) as error:
            raise UserError(f"method.peft: {str(error).splitlines()[0]}") from error
        self.trained = [n for n, p in model.named_parameters() if p.requires_grad]
        for name in fresh_names(model):
            model.get_parameter(name).requires_grad_(True)
        self.model = model
        return model

    def _prompted(self, model: Model, cls: Any, context: MethodContext) -> Model:
        from peft import get_peft_model

        if not isinstance(model, PretrainedLM):
            raise UserError(f"method.peft: {self.config.type} needs a pretrained language model")
        self.library_config = _library_config(cls, task_type="CAUSAL_LM", **self.config.settings)
        wrapped = get_peft_model(model.inner, self.library_config)
        self.trained = [n for n, p in wrapped.named_parameters() if p.requires_grad]
        self.model = wrapped
        return PeftPrompted(model, wrapped)

    def export(self, folder: Path) -> None:
        """``adapter/`` as the library saves it."""
        from peft import get_peft_model_state_dict

        found = get_peft_model_state_dict(self.model, adapter_name="default")
        content, tensors = library_adapter(self.library_config.to_dict(), found)
        content["base_model_name_or_path"] = self.origin or None
        write_adapter(folder, content, tensors, self.model, self._trained_beside())

    def unexportable(self) -> str | None:
        beside = self._trained_beside()
        if beside and "modules_to_save" not in self.library_config.to_dict():
            return f"peft's {self.config.type} has no place for {', '.join(beside)}"
        return unsaveable(beside, self.model)

    def _trained_beside(self) -> dict[str, nn.Module]:
        return trained_modules(self.model, set(self.trained))

    def arithmetic(self) -> list[Arithmetic]:
        rows = [(n, " × ".join(map(str, self.model_shape(n)))) for n in self.trained[:20]]
        title = f"peft {self.config.type}: {len(self.trained)} tensors are trained"
        return [Arithmetic(title, ("weights", "shape"), rows)]

    def model_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.model.get_parameter(name).shape)


class PeftPrompted(Adapter, LanguageModel):
    """A language model with peft's virtual tokens, read without a cache."""

    output_weight = None  # what methods made of the output has a say: ask ``project``

    def __init__(self, base: LanguageModel, wrapped: Any) -> None:
        super().__init__()
        self.inner = wrapped
        self.plain = [base]  # in a list: its weights are those inside ``wrapped``
        self.block_size = base.block_size

    @property
    def output(self) -> Any:
        return self.plain[0].output

    @property
    def token_layers(self) -> TokenLayers | None:
        return self.plain[0].token_layers

    def save_files(self, folder: Path) -> None:
        self.plain[0].save_files(folder)

    def project(self, hidden: Tensor) -> Tensor:
        return self.plain[0].project(hidden)

    def hidden(
        self,
        tokens: Tensor,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        cache: Any = None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """tokens [B, T] → [B, T, D]."""
        if positions is not None or mask is not None:
            raise UserError("virtual tokens cannot be put before packed texts")
        found = self.inner(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            output_hidden_states=True,
        )
        hidden: Tensor = found.hidden_states[-1]
        return hidden[:, -tokens.shape[1] :]


def _library_config(cls: Any, **settings: Any) -> Any:
    try:
        return cls(**settings)
    except (TypeError, ValueError) as error:
        raise UserError(f"method.peft.settings: {str(error).splitlines()[0]}") from error
