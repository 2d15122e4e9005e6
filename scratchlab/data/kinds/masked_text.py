"""The knowledge task: documents that are read in pretraining, and what is asked of them afterwards.

Both kinds of the task, documents with spans and questions, are made of the tokens of the same
documents, so that a model that was pretrained on the one understands the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from scratchlab.data.contract import DataContext, Provenance
from scratchlab.data.kinds.base import TokenText
from scratchlab.data.sources.locating import Pair
from scratchlab.data.tokenizers.contract import Tokenizer
from scratchlab.data.tokenizers.files import read_text_tokenizer
from scratchlab.data.tokenizers.learned import MASKED_CHARACTERS
from scratchlab.data.tokenizers.learning import learn
from scratchlab.errors import UserError
from scratchlab.registry import option


@dataclass
class Knowledge:
    """Documents, one a string, and the questions of each split with their answers.

    ``places`` [split] names where a split was read, for messages. ``spoken`` is text whose
    tokens belong to the vocabulary although no document may hold them.
    """

    provenance: Provenance
    documents: list[str]
    questions: dict[str, list[Pair]] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    spoken: list[str] = field(default_factory=list)

    @property
    def vocabulary_texts(self) -> list[str]:
        """The texts whose tokens make up the vocabulary."""
        return [*self.documents, *self.spoken]


@dataclass(frozen=True)
class TokenOptions:
    """What the texts of both stages are cut into; a checkpoint brings its own tokens."""

    tokenizer: str | None = option(
        None,
        "char: characters; bpe: pieces of words; word: lower-cased words; whitespace: what stands "
        "between spaces; null: what the checkpoint reads, else char",
        choices=("char", "bpe", "word", "whitespace"),
    )
    vocab_size: int | None = option(
        None, "largest number of tokens, special ones included; null: 8000 pieces, all words", min=5
    )
    block_size: int = option(128, "tokens of an example, padding included", min=8)
    RULES: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "vocab_size is None or tokenizer not in (None, 'char')",
            "vocab_size belongs to tokenizer=bpe and words; characters are all in the vocabulary",
        ),
    )


class MaskedText(TokenText):
    """A kind whose tokens are those of documents, with padding and a mask that ends an answer."""

    def __init__(self, config: Any, context: DataContext) -> None:
        super().__init__(config, context)
        texts = [] if context.vocabulary is not None else self.located.vocabulary_texts
        self.tokenizer = task_tokenizer(config, texts, context)

    @property
    def longest(self) -> int:
        return self.config.block_size

    @property
    def mask_id(self) -> int:
        """The id of the mask; text that is encoded has it for the character ⁇."""
        assert self.tokenizer.mask_id is not None
        return self.tokenizer.mask_id


def task_tokenizer(config: TokenOptions, texts: Iterable[str], context: DataContext) -> Tokenizer:
    """The tokens of lines of text with padding and mask, or those of a given checkpoint."""
    if context.vocabulary is None:

        def read() -> Iterable[str]:
            return (f"{line}\n" for line in texts)

        if config.tokenizer in (None, "char"):
            return learn("char", read, None, 1, special=MASKED_CHARACTERS, lines=True)
        return learn(config.tokenizer, read, config.vocab_size, 1, lines=True, mask=True)
    tokenizer = read_text_tokenizer(context.vocabulary)
    if tokenizer.mask_id is None or tokenizer.pad_id is None:
        raise UserError(
            f"{context.vocabulary}: the checkpoint's vocabulary has no mask",
            "Start from a model that was pretrained on a data set of masked spans.",
        )
    kind, size = tokenizer.kind, len(tokenizer)
    if config.tokenizer not in (None, kind) or size > (config.vocab_size or size):
        asked = f"dataset.tokenizer={config.tokenizer}"
        asked += f" dataset.vocab_size={config.vocab_size}" if config.vocab_size else ""
        raise UserError(
            f"{asked}: the checkpoint ({context.vocabulary}) has {size} tokens of kind {kind}",
            f"Leave both out, or give what it was trained with: dataset.tokenizer={kind}"
            + (f" dataset.vocab_size={size}" if kind != "char" else ""),
        )
    return tokenizer
