"""Texts of moderate size as ids, made once: kept in the cache under what they are made of.

(Running text, which need not fit into memory, lies in :mod:`.token_shards`.)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from scratchlab.data.batching.cache import Arrays, cached, content_key
from scratchlab.data.batching.plans import Ragged
from scratchlab.data.batching.prepared import json_array, read_json
from scratchlab.data.tokenizers.contract import Tokenizer
from scratchlab.data.tokenizers.files import from_json
from scratchlab.data.tokenizers.learned import learn


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


def encoded(cache: Path, tokenizer: Tokenizer, texts: Sequence[str]) -> Ragged:
    """The ids of each text."""
    key = content_key(encoded=content_of(tokenizer), texts=_content_of(texts))

    def build() -> Arrays:
        ids = Ragged.of([row.tolist() for row in tokenizer.encode_each(texts)])
        return {"ids": ids.values, "offsets": ids.offsets}

    arrays = cached(cache, "texts", key, build)
    return Ragged(arrays["ids"], arrays["offsets"])
