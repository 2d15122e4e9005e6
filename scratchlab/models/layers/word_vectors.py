"""Embeddings that begin with word vectors, and are tuned or stay as they are (Kim 2014)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from scratchlab.data.tokenizers.contract import Tokenizer
from scratchlab.errors import UserError
from scratchlab.estimators.embeddings.vectors import WordVectors
from scratchlab.models.contract import Model, Writer
from scratchlab.registry import option

SPECIAL = ("unk_id", "sos_id", "eos_id", "mask_id", "cls_id", "sep_id", "line_end_id")
RANGE = 0.25  # of random vectors: about as far as published ones reach (Kim 2014, section 3.1)


@dataclass(frozen=True)
class EmbeddingOptions:
    """Of models whose embeddings may begin with word vectors (``init_from``)."""

    embedding: str = option(
        "tuned",
        "tuned: the embeddings are trained; frozen: they stay what they begin with, random ones or "
        "the word vectors that init_from names",
        choices=("tuned", "frozen"),
    )


def word_embedding(words: int, width: int, how: str) -> nn.Embedding:
    """Random vectors [words, width], to be trained or not (``how``: tuned, frozen)."""
    made = nn.Embedding(words, width)
    nn.init.uniform_(made.weight, -RANGE, RANGE)
    made.weight.requires_grad_(how == "tuned")
    return made


def begin_with_vectors(
    model: Model, vectors: WordVectors, tokenizer: Tokenizer, origin: str
) -> str:
    """Give the words that have a vector their rows of a fresh model's embedding; says how many.

    The other rows keep what they were drawn as, at the deviation of the vectors (Kim 2014, section
    3.3). In a model that writes, the scale of the embedding belongs to the model, whose output it
    may be as well: there the vectors are scaled to the deviation of the fresh embedding. ``origin``
    names the vectors in messages.

    Raises:
        UserError: the tokens are no words, the width is another, or no word has a vector.
    """
    layers = model.token_layers
    embedding = layers.embeddings[0] if layers else None
    if not isinstance(embedding, nn.Embedding):
        raise UserError(f"{type(model).__name__} has no embedding that could begin with vectors")
    if tokenizer.unit != "word":
        raise UserError(
            f"init_from: the vectors of {origin} are of words, but "
            f"dataset.tokenizer={tokenizer.kind} gives {tokenizer.unit}s",
            "Set dataset.tokenizer=word (or whitespace).",
        )
    width, given = embedding.embedding_dim, vectors.matrix.shape[1]
    if given != width:
        options = getattr(model, "config", None)
        name = "d_embedding" if hasattr(options, "d_embedding") else "d_model"
        raise UserError(
            f"init_from: the vectors of {origin} have {given} dimensions, the embedding of the "
            f"model {width}",
            f"Set model.{name}={given}.",
        )
    special = {getattr(tokenizer, name) for name in SPECIAL}
    rows, found, composed = [], [], 0
    for number, word in enumerate(tokenizer.tokens):
        known = word in vectors.numbers
        if number == tokenizer.pad_id or (number in special and not known):
            continue
        vector = vectors.vector(word)
        if vector is not None:
            rows.append(number)
            found.append(vector)
            composed += not known
    total = len(tokenizer)
    if not rows:
        raise UserError(
            f"init_from: none of the {total:,} words of the data set has a vector in {origin}",
            "Give vectors of the same language and spelling: the words of dataset.tokenizer=word "
            "are lower-cased, those of whitespace are as they stand in the text.",
        )
    given_rows = torch.from_numpy(np.stack(found)).to(embedding.weight)
    share = _fill(embedding.weight, torch.tensor(rows), given_rows, isinstance(model, Writer))
    parts = f" ({composed:,} of them made of n-grams)" if composed else ""
    rest = f", the others with random ones of the same deviation, {share:.3g}"
    return f"{len(rows):,} of {total:,} words begin with their vectors of {origin}{parts}" + (
        rest if len(rows) < total else ""
    )


@torch.no_grad()
def _fill(weight: Tensor, rows: Tensor, vectors: Tensor, scaled: bool) -> float:
    """Put ``vectors`` into their ``rows``; the deviation that all rows then have."""
    fresh, given = weight.std(), vectors.std(correction=0)
    share = fresh if scaled else given
    weight.mul_(share / fresh)
    weight[rows] = vectors * (share / given.clamp(min=1e-30)) if scaled else vectors
    return float(share)
