"""Exercise: byte-pair encoding."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from scratchlab.exercises.contract import (
    Case,
    Exercise,
    Functions,
    Mistake,
    Replacement,
    Timed,
    unlike,
)
from scratchlab.exercises.looking import case
from scratchlab.registry import register

START = '''\
"""Exercise bpe: byte-pair encoding.

Sennrich, Haddow and Birch 2016, "Neural Machine Translation of Rare Words with Subword Units". A
word begins as its characters. Learning joins the most frequent pair of neighbours in all words, as
often as is wanted; a word is then encoded by the same merges, always the earliest learned first.
"""


def learn(counts, n_merges, min_count=1):
    """counts: {word: how often it occurs} → [(left, right), …], at most n_merges, as learned.

    Each merge is the pair of neighbours that occurs most often, every word weighing as often as it
    occurs; of equally frequent pairs the smallest (as Python compares tuples). It is joined
    everywhere from left to right: "aaa" becomes "aa", "a". Learning ends when no pair is left that
    occurs at least min_count times.
    """
    raise NotImplementedError


def encode(word, merges):
    """word → its pieces, a list of strings that give the word when joined.

    Of the merges that are possible in the word, the one learned first is carried out (from left to
    right), until none is possible.
    """
    raise NotImplementedError
'''

Pair = tuple[str, str]


def joined(symbols: Sequence[str], pair: Pair) -> list[str]:
    """Symbols with every occurrence of a pair in one, from left to right."""
    found: list[str] = []
    place = 0
    while place < len(symbols):
        if tuple(symbols[place : place + 2]) == pair:
            found.append(symbols[place] + symbols[place + 1])
            place += 2
        else:
            found.append(symbols[place])
            place += 1
    return found


def plain_learn(
    wrong: frozenset[str], counts: Mapping[str, int], n_merges: int, min_count: int = 1
) -> list[Pair]:
    """The algorithm, with mistakes in it."""
    words = [(list(word), count) for word, count in counts.items()]
    if "counts of words ignored" in wrong:
        words = [(symbols, 1) for symbols, _ in words]
    merges: list[Pair] = []
    while len(merges) < n_merges:
        pairs: Counter[Pair] = Counter()
        if "pairs across words" in wrong:
            text = [s for symbols, count in words for _ in range(count) for s in symbols]
            pairs.update(pairwise(text))
        else:
            for symbols, count in words:
                for pair in pairwise(symbols):
                    pairs[pair] += count
        if not pairs:
            break
        if "the first of equal pairs" in wrong:
            best = max(pairs, key=pairs.__getitem__)
        elif "the largest of equal pairs" in wrong:
            best = max(pairs, key=lambda p: (pairs[p], p))
        else:
            best = min(pairs, key=lambda p: (-pairs[p], p))
        if pairs[best] < min_count:
            break
        merges.append(best)
        if "joined as text" in wrong:
            words = [(replaced(symbols, best), count) for symbols, count in words]
        elif "pairs of the start only" not in wrong:
            words = [(joined(symbols, best), count) for symbols, count in words]
        else:
            merges = [p for p, n in sorted(pairs.items(), key=lambda i: (-i[1], i[0]))]
            return [p for p in merges if pairs[p] >= min_count][:n_merges]
    return merges


def replaced(symbols: Sequence[str], pair: Pair) -> list[str]:
    """``str.replace`` on the symbols with spaces between, which also joins parts of symbols."""
    return " ".join(symbols).replace(" ".join(pair), "".join(pair)).split(" ")


def plain_encode(wrong: frozenset[str], word: str, merges: Sequence[Pair]) -> list[str]:
    symbols = list(word)
    if "longest piece first" in wrong:
        return longest(word, {a + b for a, b in merges})
    if "one place only" in wrong:
        return one_each(symbols, merges)
    rank = {tuple(pair): number for number, pair in reversed(list(enumerate(merges)))}
    while True:
        possible = [p for p in pairwise(symbols) if p in rank]
        if not possible:
            return symbols
        earliest = min(possible, key=rank.__getitem__)
        symbols = joined(symbols, possible[0] if "leftmost merge first" in wrong else earliest)


def one_each(symbols: list[str], merges: Sequence[Pair]) -> list[str]:
    """Every merge at one place at most."""
    for pair in merges:
        for place, found in enumerate(pairwise(symbols)):
            if found == tuple(pair):
                symbols[place : place + 2] = ["".join(pair)]
                break
    return symbols


def longest(word: str, pieces: set[str]) -> list[str]:
    """From the left, always the longest piece that there is."""
    found = []
    while word:
        size = next((n for n in range(len(word), 1, -1) if word[:n] in pieces), 1)
        found.append(word[:size])
        word = word[size:]
    return found


def brute_learn(counts: Mapping[str, int], n_merges: int, min_count: int = 1) -> list[Pair]:
    """Learning by regular expressions over words with marks between their symbols."""
    words = {"\0" + "\0".join(word) + "\0": count for word, count in counts.items()}
    merges: list[Pair] = []
    for _ in range(n_merges):
        found: dict[Pair, int] = {}
        for word, count in words.items():
            for left, right in re.findall("(?=\0([^\0]+)\0([^\0]+)\0)", word):
                found[left, right] = found.get((left, right), 0) + count
        if not found or max(found.values()) < min_count:
            break
        most = max(found.values())
        left, right = min(pair for pair, count in found.items() if count == most)
        merges.append((left, right))
        pattern = re.compile("\0" + re.escape(left) + "\0" + re.escape(right) + "(?=\0)")
        words = {pattern.sub(lambda _: "\0" + left + right, w): n for w, n in words.items()}  # noqa: B023
    return merges


def library_encode(word: str, merges: Sequence[Pair]) -> list[str]:
    """What the tokenizers library makes of it."""
    from tokenizers import Tokenizer, models

    pieces = dict.fromkeys([*sorted(set(word).union(*map("".join, merges))),
                            *map("".join, merges)])  # fmt: skip
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    kept = list(dict.fromkeys((a, b) for a, b in merges))
    return Tokenizer(models.BPE(vocabulary, kept)).encode(word).tokens if word else []


@register(
    "exercise",
    "bpe",
    paper="Sennrich, Haddow & Birch 2016",
    with_torch=False,
    use="model=transformer_mt dataset.vocab_size=500",
)
class BytePairEncoding(Exercise):
    """Byte-pair encoding: learning merges and applying them."""

    START = START
    HINTS = (
        "Keep each word as a list of its symbols, with its count. Never join it back to a string: "
        "where symbols end must not be lost.",
        "A Counter of pairs, each word adding its count, is made anew for every merge; "
        "min(pairs, key=lambda p: (-pairs[p], p)) is the most frequent, the smallest of equals.",
        "To join a pair, walk through the list and skip two symbols after a match.",
        "To encode, find the possible pairs of neighbours, take the one that comes first in merges "
        "(a dictionary pair → number helps), join it everywhere, begin again.",
    )
    MISTAKES = (
        Mistake(
            "counts of words ignored",
            "learn",
            "every word counts once. A pair counts as often as the words that it stands in.",
        ),
        Mistake(
            "pairs across words",
            "learn",
            "the last symbol of a word is paired with the first of the next.",
        ),
        Mistake(
            "the first of equal pairs",
            "learn",
            "of equally frequent pairs the one met first is taken (max, most_common), so that the "
            "order of the words decides. Take the smallest pair.",
        ),
        Mistake(
            "the largest of equal pairs",
            "learn",
            "of equally frequent pairs the largest is taken. Take the smallest.",
        ),
        Mistake(
            "joined as text",
            "learn",
            "pairs are joined by replacing text, which also joins the end of one symbol with the "
            "next: 'b c' is found in 'ab c'. Compare whole symbols.",
        ),
        Mistake(
            "pairs of the start only",
            "learn",
            "pairs are counted once. Count them anew after every merge.",
        ),
        Mistake(
            "leftmost merge first",
            "encode",
            "merges are carried out as they are met from the left. The one learned first comes "
            "first, wherever it stands.",
        ),
        Mistake(
            "longest piece first",
            "encode",
            "the word is cut into the longest known pieces from the left (that is WordPiece). "
            "Merges are applied in the order in which they were learned.",
        ),
        Mistake(
            "one place only",
            "encode",
            "a merge is carried out at one place of the word only.",
        ),
    )
    LIBRARY = ("tokenizers", "Tokenizer", "BpeTrainer")
    BESIDE = "plain Python"

    def reference(self) -> Functions:
        return {"learn": brute_learn, "encode": library_encode}

    def fast(self) -> Functions:
        return self.plain(frozenset())

    def plain(self, wrong: frozenset[str]) -> Functions:
        return {
            "learn": lambda *a: plain_learn(wrong, *a),
            "encode": lambda *a: plain_encode(wrong, *a),
        }

    def cases(self) -> list[Case]:
        def learning(name: str, counts: dict[str, int], n_merges: int, *least: int) -> Case:
            given = (counts, n_merges, *least)
            names = ("counts", "n_merges", "min_count")[: len(given)]
            return case("learn", name, names, given, results=("the merges",))

        def encoding(name: str, word: str, merges: list[Pair]) -> Case:
            return case("encode", name, ("word", "merges"), (word, merges), results=("the pieces",))

        paper = {"low": 5, "lower": 2, "newest": 6, "widest": 3}
        learned = brute_learn({**paper, "lowest": 1, "new": 2, "wide": 2}, 12)
        return [
            learning("the words of the paper", paper, 10),
            learning("one rare word against many", {"ab": 1, "bab": 1, "cd": 9}, 3),
            learning("equally frequent pairs", {"zy": 2, "ba": 2, "ya": 2, "bz": 2}, 4),
            learning("a letter three and four times", {"aaa": 3, "aaaa": 1, "ba": 2}, 4),
            learning("symbols that end alike", {"abc": 4, "bc": 1, "ab": 9, "xabd": 2}, 5),
            learning("pairs that occur less than twice", {"abc": 1, "abd": 1, "xyz": 1}, 9, 2),
            learning("more merges than there are pairs", {"ab": 1, "c": 2}, 9),
            learning("no merges", paper, 0),
            encoding("a word of the training text", "lowest", learned),
            encoding("a new word", "newer", learned),
            encoding("the first learned stands on the right", "abcd",
                     [("c", "d"), ("b", "c"), ("a", "b")]),
            encoding("merges of merges", "abab", [("a", "b"), ("ab", "ab")]),
            encoding("a letter five times", "aaaaa", [("a", "a"), ("aa", "aa")]),
            encoding("the same merge at three places", "xabyabzab", [("a", "b")]),
            encoding("the longest piece is not the right one", "abcd",
                     [("b", "c"), ("a", "b"), ("c", "d")]),
            encoding("pieces grow around the first merge", "abc",
                     [("b", "c"), ("a", "b"), ("a", "bc")]),
            encoding("characters that no merge has", "qwq", learned),
            encoding("one character", "l", learned),
            encoding("the empty word", "", learned),
        ]  # fmt: skip

    def timed(self) -> Timed:
        words = {f"{a}{b}{c}er": 1 + len(a) for a in ("new", "low", "wid", "tall")
                 for b in ("est", "ing", "s", "x") for c in "abcdefgh"}  # fmt: skip
        return Timed("128 words, 50 merges", lambda f: f["learn"](words, 50))

    def refusal(self, config: Mapping[str, Any]) -> str | None:
        if found := unlike("dataset.tokenizer", ("bpe",), config["dataset"].get("tokenizer")):
            return found
        if config.get("cache_dir"):
            return "what your merges prepare is kept apart from all else; leave cache_dir"
        return None

    def replacements(self, functions: Functions) -> Iterator[Replacement]:
        """Learning and applying merges in this process, which then does all of the work."""
        from scratchlab.data.tokenizers import bpe, learned

        def learn(
            counts: Mapping[str, int], characters: Sequence[str], size: int, min_frequency: int
        ) -> tuple[list[str], list[Pair]]:
            room = max(0, size - len(characters))
            merges = [(a, b) for a, b in functions["learn"](dict(counts), room, min_frequency)]
            pieces = [*characters, *map("".join, merges)]
            return list(dict.fromkeys(pieces)), merges

        def apply(self: bpe.Merges, word: str) -> list[int]:
            pieces = functions["encode"](word, self.pairs)
            return [self._ids.get(piece, self._unknown) for piece in pieces]

        yield Replacement(learned, "learn_merges", learn)
        yield Replacement(bpe.Merges, "apply", apply)
        yield Replacement(learned, "worth_it", lambda texts: (False, iter(texts)))
