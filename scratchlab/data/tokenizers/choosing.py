"""Which tokenizer a data set of text reads with: the options, and those that are not learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from scratchlab.data.contract import DataContext
from scratchlab.data.tokenizers.contract import Tokenizer
from scratchlab.data.tokenizers.files import read_text_tokenizer
from scratchlab.data.tokenizers.pretrained import load_pretrained_tokenizer
from scratchlab.registry import option


@dataclass(frozen=True)
class TokenizerOptions:
    """What texts are cut into, whatever they are for; kinds of data sets have other defaults."""

    tokenizer: str = option(
        "bpe",
        "bpe: pieces of words; word: lower-cased words; whitespace: what stands between spaces; "
        "char: characters; pretrained: that of a checkpoint",
        choices=("bpe", "word", "whitespace", "char", "pretrained"),
    )
    checkpoint: str | None = option(
        None,
        "tokenizer=pretrained: the checkpoint (smollm2, a folder, a name of the hub)",
        path="name",
        when={"tokenizer": "pretrained"},
    )
    vocab_size: int | None = option(
        None,
        "largest number of tokens, special ones included; null: 8000 pieces, all words and "
        "characters",
        min=5,
        when={"tokenizer": ("bpe", "word", "whitespace", "char")},
    )
    min_frequency: int = option(1, "rarer words, characters or merges get no token", min=1)
    RULES: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "tokenizer != 'pretrained' or checkpoint is not None",
            "tokenizer=pretrained needs the checkpoint",
        ),
    )


def given_tokenizer(config: Any, context: DataContext) -> Tokenizer | None:
    """That of the run's checkpoint, or of a pretrained one (``config``: :class:`TokenizerOptions`).

    None: it is to be learned from the training text.
    """
    if context.vocabulary is not None:
        return read_text_tokenizer(context.vocabulary)
    if config.tokenizer == "pretrained":
        return load_pretrained_tokenizer(config.checkpoint, context.cache)
    return None
