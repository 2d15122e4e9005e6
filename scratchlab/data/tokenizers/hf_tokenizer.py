"""Tokenizers of this project in the form that ``AutoTokenizer.from_pretrained`` reads.

The folder gets ``tokenizer.json`` (of the tokenizers library) and ``tokenizer_config.json``; the
ids are those of :meth:`Tokenizer.encode`, the end of a line included. What the library cannot
follow is said (:func:`unwritable`). Pieces of words are written with these differences:

- A character without an id is spelled as its code point, as here. No step computes one, so that
  is for ``LISTED`` only; the others, which Unicode has given to nobody, are ``<unk>``.
- The library knows an older Unicode: characters that were new in the last years may be cut apart.
- Padding has no name, as in GPT-2, so that no text can mean it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from io import StringIO
from itertools import groupby, product
from pathlib import Path
from typing import Any

from scratchlab.data.tokenizers.contract import Tokenizer
from scratchlab.data.tokenizers.learned import (
    END,
    UNKNOWN,
    Characters,
    Pieces,
    Words,
)
from scratchlab.data.tokenizers.words import (
    ESCAPE,
    HEX_DIGITS,
    JOINER,
    START,
    marked_pattern,
    plain_pattern,
)
from scratchlab.errors import shortened
from scratchlab.run.atomic import write_text

SPACE = r"[\s\x1c-\x1f]+"  # where Python's str.split() cuts


def unwritable(tokenizer: Tokenizer, sample: str = "") -> str | None:
    """Why transformers cannot read this tokenizer to the ids of ``sample``; None if it can."""
    if tokenizer.kind == "pretrained":
        return None
    advice = (
        ": use the folder's text_tokenizer.json with scratchlab, or train with "
        "dataset.tokenizer=char or pretrained"
    )
    if isinstance(tokenizer, Pieces) and tokenizer.mask_id is not None:
        return "the tokenizers library cannot leave out the spaces beside a mask" + advice
    if not isinstance(tokenizer, (Characters, Words, Pieces)):
        return f"{tokenizer.kind} is unknown to the tokenizers library" + advice
    theirs = _library_tokenizer(tokenizer)
    for line in StringIO(sample, newline="\n"):
        if theirs.encode(line).ids != tokenizer.encode(line):
            return f"the tokenizers library cuts {shortened(line)} in another way" + advice
    return None


def write_hf_tokenizer(
    tokenizer: Tokenizer, folder: Path, longest: int, *, framed: bool = False
) -> None:
    """Write both files; ``longest``: the context of the model. ``framed``: the library puts the
    tokens of an encoder before and behind a text, where the tokenizer has them."""
    cls_id, sep_id = (tokenizer.cls_id, tokenizer.sep_id) if framed else (None, None)
    if tokenizer.kind == "pretrained":
        stored: Any = tokenizer.to_json()["tokenizer"]
        text = json.dumps(stored, ensure_ascii=False)
    else:
        made = _library_tokenizer(tokenizer)
        if cls_id is not None and sep_id is not None:
            made.post_processor = _frame(made, cls_id, sep_id)
        text = made.to_str()
    # A name in a text means the token; <unk> and <pad> in a text should be words like others.
    unnamed = {"word": ("unk",), "bpe": ("unk", "pad")}.get(tokenizer.kind, ())
    numbers = {
        "eos": tokenizer.eos_id if sep_id is None else sep_id,
        "unk": tokenizer.unk_id,
        "pad": tokenizer.pad_id,
        "mask": tokenizer.mask_id,
        "cls": cls_id,
        "sep": sep_id,
    }
    special = {
        f"{name}_token": tokenizer.tokens[number]
        for name, number in numbers.items()
        if name not in unnamed and number is not None
    }
    if tokenizer.kind == "bpe":
        special["eos_token"] = "\n"
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": longest,
        "clean_up_tokenization_spaces": False,
        "add_prefix_space": False,
        **special,
    }
    write_text(folder / "tokenizer.json", text)
    write_text(folder / "tokenizer_config.json", json.dumps(settings, ensure_ascii=False, indent=2))


def _frame(made: Any, first: int, last: int) -> Any:
    from tokenizers import processors

    ends = [(made.id_to_token(number), number) for number in (first, last)]
    return processors.TemplateProcessing(
        single=f"{ends[0][0]}:0 $A:0 {ends[1][0]}:0", special_tokens=ends
    )


def _library_tokenizer(tokenizer: Tokenizer) -> Any:
    from tokenizers import AddedToken, Regex, decoders, models, normalizers
    from tokenizers import Tokenizer as Library
    from tokenizers import pre_tokenizers as cuts

    vocabulary = {token: number for number, token in enumerate(tokenizer.tokens)}
    if isinstance(tokenizer, Characters):
        made = Library(
            models.WordLevel(vocabulary, unk_token="" if tokenizer.unk_id is None else UNKNOWN)
        )
        made.pre_tokenizer = cuts.Split(Regex(r"[\s\S]"), "isolated")
        made.decoder = decoders.Fuse()
        return made
    if isinstance(tokenizer, Pieces):
        return _library_pieces(tokenizer, vocabulary)
    assert isinstance(tokenizer, Words)
    made = Library(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    steps: list[Any] = [normalizers.Replace("\n", END)]
    if tokenizer.kind == "word":
        steps.insert(0, normalizers.Lowercase())
        pattern = Regex(_in_oniguruma(plain_pattern(tokenizer.pattern)))
        made.pre_tokenizer = cuts.Split(pattern, "removed", invert=True)
    else:
        made.pre_tokenizer = cuts.Split(Regex(SPACE), "removed")
    made.normalizer = normalizers.Sequence(steps)
    made.add_special_tokens([AddedToken(END, normalized=True, special=True)])
    return made


# Characters that can be spelled as code points (no "\n", no surrogates).
LISTED = (*range(10), *range(11, 0xD800), *range(0xE000, 0x33480), *range(0xE0000, 0xE0200))
# Never in a text: no characters, by Unicode, and 256 that nobody has been given.
CUT, MARK, JOIN, FOUR, THREE = "\ufdd0", "\ufdd1", "\ufdd2", "\ufdd3", "\ufdd4"
BYTES = 0x50000
ALNUM, COMBINING = r"[\p{L}\p{N}]", r"[\p{M}\x{200c}\x{200d}]"


def _library_pieces(tokenizer: Pieces, vocabulary: dict[str, int]) -> Any:
    """The steps of :func:`mark_words` as replacements within a line, and those of ``unmark``.

    The end of a line is a token by its own name, so each line is marked by itself.
    """
    from tokenizers import AddedToken, Regex, decoders, models, normalizers
    from tokenizers import Tokenizer as Library
    from tokenizers import pre_tokenizers as cuts

    vocabulary["\n"] = vocabulary.pop(END)
    made = Library(models.BPE(vocabulary, tokenizer.merges.pairs, unk_token=UNKNOWN))
    marking = [
        (_in_oniguruma(marked_pattern(tokenizer.pattern)) + r"\K", CUT),  # after each word
        (rf"\A (?!{CUT})", f" {JOIN}{MARK}"),  # a space in front of the first word
        (rf"{CUT} (?!{CUT})", MARK),  # a space between two words
        (rf"{CUT}\z", ""),
        (rf"{ALNUM}{COMBINING}*+\K{CUT}", MARK + JOIN),
        (rf"{CUT}(?={ALNUM})", JOIN + MARK),
        (CUT, MARK + JOIN),
        *_spelling(set(vocabulary) - {ESCAPE, JOINER, START} | {CUT, MARK, JOIN}),
        (MARK, START),
        (JOIN, JOINER),
    ]
    made.normalizer = normalizers.Sequence(
        [*(normalizers.Replace(Regex(a), b) for a, b in marking), normalizers.Prepend(START)]
    )
    made.pre_tokenizer = cuts.Split(START, "merged_with_next")
    hidden = {c for c in {*"".join(vocabulary), " "} if not "!" <= c <= "~"}
    unmarking = [
        (f"{START}{JOINER}|{JOINER}{START}", ""),
        (JOINER, ""),
        (rf"(?<![^\n]){START}", ""),
        (START, " "),
        (rf"{ESCAPE}[{HEX_DIGITS}]{{1,6}}\K{ESCAPE}", CUT),
        (rf"{ESCAPE}(?![{HEX_DIGITS}]+{CUT})", ""),  # half an escape
        *_bytes_of_escapes(),
        *((re.escape(c), _as_bytes(c)) for c in sorted(hidden)),
        *((chr(BYTES + b), c) for b, c in _byte_alphabet().items()),
    ]
    steps = (decoders.Replace(Regex(a), b) for a, b in unmarking)
    made.decoder = decoders.Sequence([decoders.Fuse(), *steps, decoders.ByteLevel()])
    made.add_special_tokens([AddedToken("\n", normalized=False, special=True)])
    return made


def _spelling(known: set[str]) -> Iterator[tuple[str, str]]:
    """Replacements that write characters as their code points, digit by digit."""
    spelled = [c for c in LISTED if chr(c) not in known]
    having: dict[tuple[int, int], list[int]] = {}  # those with a digit at a place
    for c in spelled:
        for place in range(len(f"{c:X}")):
            having.setdefault((-place, c >> 4 * place & 15), []).append(c)
    yield f"(?={_class(spelled)})", CUT
    for (_, digit), these in sorted(having.items()):
        yield f"(?={_class(these)})", HEX_DIGITS[digit]
    yield _class(spelled), CUT
    yield CUT, ESCAPE


def _bytes_of_escapes() -> Iterator[tuple[str, str]]:
    """Replacements that turn code points, written as digits, into bytes of UTF-8.

    A byte has six bits of the number or less: those of a digit and two of that beside it.
    """
    digits = HEX_DIGITS
    high = [f"[{digits[4 * i : 4 * i + 4]}]" for i in range(4)]  # digits by their upper two bits
    low = [f"[{digits[i::4]}]" for i in range(4)]
    for length in range(1, 6):  # to six digits
        yield rf"{ESCAPE}(?=[{digits}]{{{length}}}{CUT})", ESCAPE + "0" * (6 - length)
    yield rf"{ESCAPE}(?:00D[89A-F]|1[1-9A-F]..|[2-9A-F]...)[{digits}]{{2}}{CUT}", ""
    for code in range(128):
        yield f"{ESCAPE}{code:06X}{CUT}", chr(code) if 0x20 < code < 0x7F else chr(BYTES + code)
    for top, (i, follows) in product(range(8), enumerate(high)):
        yield f"{ESCAPE}000{top}(?={follows})", chr(BYTES + (0xC0 | top << 2 | i))
    for i, digit in enumerate(digits):
        yield f"{ESCAPE}00{digit}", chr(BYTES + (0xE0 | i)) + THREE
    for top, (i, follows) in product(range(2), enumerate(high)):
        yield f"{ESCAPE}{top}(?={follows})", chr(BYTES + (0xF0 | top << 2 | i)) + FOUR
    after = [(i, chr(BYTES + (0x80 | i))) for i in range(64)]
    for i, byte in after:
        yield f"{FOUR}{low[i >> 4]}{digits[i & 15]}", byte + THREE
    for i, byte in after:
        yield f"{THREE}{digits[i >> 2]}(?={high[i & 3]})", byte
    for i, byte in after:
        yield f"{low[i >> 4]}{digits[i & 15]}{CUT}", byte


def _as_bytes(text: str) -> str:
    return "".join(chr(BYTES + b) for b in text.encode())


def _byte_alphabet() -> dict[int, str]:
    """How the tokenizers library writes those bytes that are no visible ASCII (as GPT-2 does)."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [b for b in range(256) if b not in visible]
    written = {b: chr(b) for b in visible} | {b: chr(256 + i) for i, b in enumerate(hidden)}
    return {b: c for b, c in sorted(written.items()) if not 0x21 <= b < 0x7F}


def _class(characters: list[int]) -> str:
    """The regular expression for one of these ascending characters."""
    ranges = []
    for _, group in groupby(enumerate(characters), lambda pair: pair[1] - pair[0]):
        run = [f"\\x{{{c:x}}}" if c < 128 else chr(c) for _, c in group]
        ranges.append(run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}")
    several = (ranges[i : i + 5000] for i in range(0, len(ranges), 5000))  # at most 10,000 in one
    return "(?:" + "|".join(f"[{''.join(some)}]" for some in several) + ")"


def _in_oniguruma(pattern: str) -> str:
    """A regular expression of Python as the tokenizers library reads it."""
    pattern = pattern.replace("(?s:.)", r"[\s\S]")
    return re.sub(r"\\[uU]([0-9a-f]{8}|[0-9a-f]{4})", r"\\x{\1}", pattern)
