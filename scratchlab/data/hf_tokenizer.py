"""Tokenizers of this project in the form that ``AutoTokenizer.from_pretrained`` reads.

The folder gets ``tokenizer.json`` (of the tokenizers library) and ``tokenizer_config.json``; the
ids are those of :meth:`TextTokenizer.encode`, the end of a line included. Words and pieces with
marks cut a text by rules of their own; what the library cannot follow is said (:func:`unwritable`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scratchlab.data.text_tokenizers import Characters, TextTokenizer, Words
from scratchlab.data.words import plain_pattern
from scratchlab.run.atomic import write_text

SPACE = r"[\s\x1c-\x1f]+"  # where Python's str.split() cuts


def unwritable(tokenizer: Any) -> str | None:
    """Why transformers cannot read a tokenizer of this kind; None if it can."""
    if getattr(tokenizer, "kind", None) in ("char", "word", "whitespace", "pretrained"):
        return None
    kind = getattr(tokenizer, "kind", type(tokenizer).__name__)
    return (
        f"{kind} marks its words in a way that the tokenizers library cannot follow: use the "
        "folder's text_tokenizer.json with scratchlab, or train with dataset.tokenizer=word, char "
        "or pretrained"
    )


def write_hf_tokenizer(tokenizer: TextTokenizer, folder: Path, longest: int) -> None:
    """Write both files; ``longest``: the context of the model."""
    if tokenizer.kind == "pretrained":
        stored: Any = tokenizer.to_json()["tokenizer"]
        text = json.dumps(stored, ensure_ascii=False)
    else:
        text = _library_tokenizer(tokenizer).to_str()
    special = {
        f"{name}_token": tokenizer.tokens[number]
        for name in ("eos", "unk", "pad", "mask")
        if not (name == "unk" and tokenizer.kind == "word")  # <unk> in a text is no unknown word
        if (number := getattr(tokenizer, f"{name}_id")) is not None
    }
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": longest,
        "clean_up_tokenization_spaces": False,
        "add_prefix_space": False,
        **special,
    }
    write_text(folder / "tokenizer.json", text)
    write_text(folder / "tokenizer_config.json", json.dumps(settings, ensure_ascii=False, indent=2))


def _library_tokenizer(tokenizer: TextTokenizer) -> Any:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
    from tokenizers import pre_tokenizers as cuts

    vocabulary = {token: number for number, token in enumerate(tokenizer.tokens)}
    if isinstance(tokenizer, Characters):
        made = Tokenizer(models.WordLevel(vocabulary, unk_token=""))
        made.pre_tokenizer = cuts.Split(Regex(r"[\s\S]"), "isolated")
        made.decoder = decoders.Fuse()
        return made
    assert isinstance(tokenizer, Words)
    unknown, line_end = Words.SPECIAL
    made = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    steps: list[Any] = [normalizers.Replace("\n", line_end)]
    if tokenizer.kind == "word":
        steps.insert(0, normalizers.Lowercase())
        pattern = Regex(plain_pattern(tokenizer.pattern).replace("(?s:.)", r"[\s\S]"))
        made.pre_tokenizer = cuts.Split(pattern, "removed", invert=True)
    else:
        made.pre_tokenizer = cuts.Split(Regex(SPACE), "removed")
    made.normalizer = normalizers.Sequence(steps)
    made.add_special_tokens([AddedToken(line_end, normalized=True, special=True)])
    return made
