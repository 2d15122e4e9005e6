"""Texts of moderate size as ids, made once: kept in the cache under what they are made of.

(Running text, which need not fit into memory, lies in :mod:`.token_shards`.)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scratchlab.data.batching.cache import Arrays, cached, content_key, offsets_of
from scratchlab.data.batching.plans import Ragged
from scratchlab.data.batching.prepared import json_array, read_json
from scratchlab.data.tokenizers.contract import Tokenizer
from scratchlab.data.tokenizers.files import from_json
from scratchlab.data.tokenizers.learned import Learned, OfParts
from scratchlab.data.tokenizers.learning import learn
from scratchlab.data.tokenizers.workers import Workers, lines_together


def content_of(tokenizer: Tokenizer) -> str:
    """A hash of all that a tokenizer does."""
    return hashlib.sha256(json.dumps(tokenizer.to_json(), sort_keys=True).encode()).hexdigest()


def _content_of(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        content = text.encode("utf-8", "surrogatepass")
        digest.update(b"%d " % len(content) + content)
    return digest.hexdigest()


def learned(cache: Path, config: Any, texts: Sequence[str], **layout: Any) -> Tokenizer:
    """A tokenizer learned from texts (``config``: TokenizerOptions; ``layout``: of ``learn``)."""
    asked = (config.tokenizer, config.vocab_size, config.min_frequency)
    key = content_key(learned=asked, layout=layout, texts=_content_of(texts))

    def build() -> Arrays:
        tokenizer = learn(asked[0], lambda: texts, *asked[1:], **layout)
        return {"tokenizer": json_array(tokenizer.to_json())}

    return from_json(read_json(cached(cache, "tokenizer", key, build), "tokenizer"), str(cache))


def encode_all(tokenizer: Tokenizer, texts: Sequence[str]) -> Ragged:
    """The ids of each text, by several processes or threads where there is much of it."""
    if isinstance(tokenizer, OfParts) and (pieces := lines_together(texts)):
        with Workers({"encode_lines": tokenizer.to_json()}) as workers:
            answers = [np.frombuffer(answer, np.int32) for answer in workers.map(pieces)]
        counts = [int(answer[0]) for answer in answers]
        lengths = np.concatenate([a[1 : 1 + n] for a, n in zip(answers, counts, strict=True)])
        values = np.concatenate([a[1 + n :] for a, n in zip(answers, counts, strict=True)])
        return Ragged(values, offsets_of(lengths))
    if isinstance(tokenizer, Learned):
        return Ragged.of(map(tokenizer.encode, texts))
    return Ragged.of(row.tolist() for row in tokenizer.encode_each(texts))


def encoded(cache: Path, tokenizer: Tokenizer, texts: Sequence[str]) -> Ragged:
    """The ids of each text."""
    key = content_key(encoded=content_of(tokenizer), texts=_content_of(texts))

    def build() -> Arrays:
        ids = encode_all(tokenizer, texts)
        return {"ids": ids.values, "offsets": ids.offsets}

    arrays = cached(cache, "texts", key, build)
    return Ragged(arrays["ids"], arrays["offsets"])
