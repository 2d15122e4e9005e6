"""Folders of tiny checkpoints with tokenizers of words, as transformers writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def write_tokenizer(folder: Path, words: Sequence[str], names: Sequence[str]) -> int:
    """A tokenizer of words, whose special tokens have these ``names``; how many tokens it has."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    special = SPECIAL[: len(names)]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys([*special, *words]))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    tokenizer.save(str(folder / "tokenizer.json"))
    content = json.dumps(dict(zip(names, special, strict=True)))
    (folder / "special_tokens_map.json").write_text(content)
    return len(vocabulary)


def write_bert(folder: Path, words: Sequence[str], **options: Any) -> str:
    """A tiny BERT."""
    import torch
    import transformers

    folder.mkdir(parents=True)
    names = ("pad_token", "unk_token", "cls_token", "sep_token")
    size = write_tokenizer(folder, words, names)
    config = transformers.BertConfig(
        vocab_size=size, hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=32, **options,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(folder)
    return str(folder)


def write_llama(folder: Path, words: Sequence[str]) -> str:
    """A tiny causal language model."""
    import torch
    import transformers

    folder.mkdir(parents=True)
    size = write_tokenizer(folder, words, ("pad_token", "unk_token", "eos_token"))
    config = transformers.LlamaConfig(
        vocab_size=size, hidden_size=16, intermediate_size=24, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=256,
        pad_token_id=0, eos_token_id=2, bos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)
