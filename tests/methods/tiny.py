"""Tiny models of four architectures that every method must work on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scratchlab.data.contract import DataContext, Spec
from scratchlab.methods.contract import MethodContext
from scratchlab.models.gpt import GPT
from scratchlab.models.pretrained import PretrainedEncoder, PretrainedLM

VOCABULARY, LENGTH = 61, 24
SPEC = Spec(
    task="language_modeling", vocab_size=VOCABULARY, eos_id=1, pad_id=0, max_length=LENGTH,
    n_classes=3,
)  # fmt: skip


def encode(text: str) -> list[int]:
    return [ord(c) % VOCABULARY for c in text]


CONTEXT = MethodContext(SPEC, encode=encode)


@dataclass(frozen=True)
class Tiny:
    """``build`` makes the same model each time; ``call`` gives its logits."""

    name: str
    build: Callable[[], nn.Module]
    tokens: Tensor

    def call(self, model: nn.Module) -> Tensor:
        return model(self.tokens)

    def loss(self, model: nn.Module) -> Tensor:
        logits = self.call(model)
        return logits.float().log_softmax(-1)[..., 2].neg().mean()


def write_checkpoints(folder: Path) -> None:
    """Folders of tiny GPT-2, Llama and BERT checkpoints with random weights."""
    import transformers as t

    torch.manual_seed(7)
    shared: dict[str, Any] = {"vocab_size": VOCABULARY}
    gpt2 = t.GPT2Config(**shared, n_embd=32, n_layer=2, n_head=2, n_positions=64)
    llama = t.LlamaConfig(
        **shared, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
        tie_word_embeddings=True,
    )  # fmt: skip
    bert = t.BertConfig(
        **shared, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=64, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    models = {
        "gpt2": t.GPT2LMHeadModel(gpt2),
        "llama": t.LlamaForCausalLM(llama),
        "bert": t.BertModel(bert),
    }
    for name, model in models.items():
        for parameter in model.parameters():  # larger than the usual start, so that outputs differ
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.1)
        model.save_pretrained(folder / name)


def tiny_models(folder: Path) -> dict[str, Tiny]:
    """The four, by name; ``folder`` holds the checkpoints."""
    context = DataContext(None, folder / "cache")
    tokens = torch.randint(2, VOCABULARY, (3, 9), generator=torch.Generator().manual_seed(1))

    def scratch() -> nn.Module:
        torch.manual_seed(3)
        config = GPT.Config(d_model=32, n_heads=2, n_layers=2, block_size=64)
        model = GPT(config, SPEC)
        for parameter in model.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.1)
        return model

    def causal(name: str) -> Callable[[], nn.Module]:
        config = PretrainedLM.Config(checkpoint=str(folder / name), dropout=0.0)
        return lambda: PretrainedLM(config, SPEC, context)

    def encoder() -> nn.Module:
        torch.manual_seed(5)
        config = PretrainedEncoder.Config(checkpoint=str(folder / "bert"), dropout=0.0)
        return PretrainedEncoder(config, SPEC, context)

    return {
        "gpt": Tiny("gpt", scratch, tokens),
        "gpt2": Tiny("gpt2", causal("gpt2"), tokens),
        "llama": Tiny("llama", causal("llama"), tokens),
        "bert": Tiny("bert", encoder, tokens),
    }
