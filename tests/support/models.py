"""Tiny models of eight architectures that every method must work on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scratchlab.data.contract import DataContext, Spec
from scratchlab.methods.contract import MethodContext
from scratchlab.models.gpt import GPT
from scratchlab.models.pretrained import PretrainedEncoder, PretrainedLM
from scratchlab.models.pretrained_seq2seq import PretrainedSeq2Seq
from scratchlab.models.text_encoder import TextEncoder
from scratchlab.models.transformer_mt import TransformerMT

VOCABULARY, LENGTH = 61, 24
SPEC = Spec(
    task="language_modeling", vocab_size=VOCABULARY, eos_id=1, pad_id=0, max_length=LENGTH,
    n_classes=3,
)  # fmt: skip


def encode(text: str) -> list[int]:
    return [ord(c) % VOCABULARY for c in text]


CONTEXT = MethodContext(SPEC, encode=encode)
PAIRS = Spec(
    task="seq2seq", vocab_size=VOCABULARY, source_vocab_size=VOCABULARY, shared_vocabulary=True,
    eos_id=1, pad_id=0, sos_id=0, max_length=LENGTH, max_source_length=LENGTH,
)  # fmt: skip


@dataclass(frozen=True)
class Tiny:
    """``build`` makes the same model each time; ``call`` gives its logits."""

    name: str
    build: Callable[[], nn.Module]
    tokens: Tensor
    context: MethodContext = CONTEXT

    def call(self, model: nn.Module) -> Tensor:
        if self.context.spec.task == "seq2seq":
            return model(self.tokens, self.tokens.flip(1)[:, :6])
        return model(self.tokens)

    def loss(self, model: nn.Module) -> Tensor:
        logits = self.call(model)
        return logits.float().log_softmax(-1)[..., 2].neg().mean()


def write_checkpoints(folder: Path) -> None:
    """Folders of tiny GPT-2, Llama, BERT, T5 and BART checkpoints with random weights."""
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
    t5 = t.T5Config(
        **shared, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, dropout_rate=0.0,
        feed_forward_proj="gated-gelu", decoder_start_token_id=0, tie_word_embeddings=True,
    )  # fmt: skip
    bart = t.BartConfig(
        **shared, d_model=32, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=48,
        decoder_ffn_dim=48, encoder_attention_heads=4, decoder_attention_heads=4,
        max_position_embeddings=64, dropout=0.0, pad_token_id=0, bos_token_id=2, eos_token_id=1,
        decoder_start_token_id=1, forced_eos_token_id=1,
    )  # fmt: skip
    models = {
        "t5": t.T5ForConditionalGeneration(t5),
        "bart": t.BartForConditionalGeneration(bart),
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
    """The eight, by name; ``folder`` holds the checkpoints."""
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

    def own_encoder() -> nn.Module:
        torch.manual_seed(6)
        options = {"d_model": 32, "n_heads": 2, "n_layers": 2, "d_ff": 48, "max_length": 64}
        model = TextEncoder(TextEncoder.Config(**options, dropout=0.0), SPEC)
        for parameter in model.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.1)
        return model

    def pair(name: str) -> Tiny:
        config = PretrainedSeq2Seq.Config(checkpoint=str(folder / name), dropout=0.0)
        spec = replace(PAIRS, sos_id=1 if name == "bart" else 0)
        made = MethodContext(spec, encode=encode)
        return Tiny(name, lambda: PretrainedSeq2Seq(config, spec, context), tokens, made)

    def translator() -> nn.Module:
        torch.manual_seed(4)
        config = TransformerMT.Config(
            d_model=32, n_heads=2, encoder_layers=2, decoder_layers=2, d_ff=48, dropout=0.0
        )
        model = TransformerMT(config, PAIRS)
        for parameter in model.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.1)
        return model

    return {
        "transformer_mt": Tiny(
            "transformer_mt", translator, tokens, MethodContext(PAIRS, encode=encode)
        ),
        "t5": pair("t5"),
        "bart": pair("bart"),
        "gpt": Tiny("gpt", scratch, tokens),
        "gpt2": Tiny("gpt2", causal("gpt2"), tokens),
        "llama": Tiny("llama", causal("llama"), tokens),
        "bert": Tiny("bert", encoder, tokens),
        "text_encoder": Tiny("text_encoder", own_encoder, tokens),
    }


def write_tokenizer(folder: Path, prefix: bool) -> None:
    """A tokenizer of words for a tiny checkpoint, framed as T5 or as BART frames texts."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = ("the", "a", "function", "value", "of", "list", "string", "number", "file", "path")
    vocabulary = {w: i for i, w in enumerate(["<pad>", "</s>", "<s>", "<unk>", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["<pad>", "</s>", "<s>"])
    single = "<s> $A </s>" if prefix else "$A </s>"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[("<s>", 2), ("</s>", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
