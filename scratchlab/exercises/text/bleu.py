"""Exercise: BLEU."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from sacrebleu.metrics.bleu import BLEU

from scratchlab.exercises.contract import Case, Exercise, Functions, Mistake, Timed
from scratchlab.exercises.looking import case
from scratchlab.registry import register

START = '''\
"""Exercise bleu: BLEU of a corpus.

Papineni et al. 2002, "BLEU: a Method for Automatic Evaluation of Machine Translation". For n = 1 to
4, p_n is the share of the n-grams of all hypotheses that occur in their references, each n-gram at
most as often as in the reference of its sentence. With c and r, the words of all hypotheses and of
all references,

    BLEU = 100 · BP · exp((ln p_1 + ln p_2 + ln p_3 + ln p_4) / 4),    BP = min(1, exp(1 - r / c))

Numerators and denominators are added up over all sentences before they are divided.
"""


def corpus_bleu(hypotheses, references):
    """hypotheses, references: lists of lists of words, one reference a sentence → a number, 0 to
    100. It is 0 where some p_n is 0 or there are no n-grams at all."""
    raise NotImplementedError
'''

Texts = Sequence[Sequence[str]]


def grams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def plain(wrong: frozenset[str], hypotheses: Texts, references: Texts) -> float:
    """The score, with mistakes in it."""
    if "mean of the sentences" in wrong:
        single = wrong - {"mean of the sentences"}
        each = [plain(single, [h], [r]) for h, r in zip(hypotheses, references)]
        return sum(each) / len(each)
    logs, shares = 0.0, []
    for n in range(1, 4 if "three orders" in wrong else 5):
        right = total = 0
        for h, r in zip(hypotheses, references):
            own, other = grams(h, n), grams(r, n)
            if "not clipped" in wrong:
                right += sum(count for gram, count in own.items() if gram in other)
            else:
                right += (own & other).total()
            total += (other if "recall" in wrong else own).total()
        shares.append(right / total if total else 0.0)
    c, reference = sum(map(len, hypotheses)), sum(map(len, references))
    if "arithmetic mean" in wrong:
        mean = sum(shares) / len(shares)
    elif min(shares) == 0:
        return 0.0
    else:
        logs = sum(map(math.log, shares)) / len(shares)
        mean = math.exp(logs)
    brevity = 1.0
    if "long ones punished" in wrong:
        brevity = math.exp(1 - c / reference) if c > reference and reference else 1.0
    elif "no brevity penalty" not in wrong and c < reference:
        brevity = math.exp(1 - reference / c) if c else 0.0
        if "ratio as penalty" in wrong:
            brevity = c / reference
    return (1 if "from 0 to 1" in wrong else 100) * brevity * mean


def sacrebleus(hypotheses: Texts, references: Texts) -> float:
    metric = BLEU(tokenize="none", smooth_method="none", force=True)
    lines = [[" ".join(words) for words in side] for side in (hypotheses, references)]
    return float(metric.corpus_score(lines[0], [lines[1]]).score)


@register(
    "exercise",
    "bleu",
    paper="Papineni et al. 2002",
    with_torch=False,
    unused="BLEU is always sacrebleu's here, so that figures can be compared",
)
class CorpusBleu(Exercise):
    """BLEU of a corpus."""

    START = START
    HINTS = (
        "Counter(tuple(words[i : i + n]) for i in …) counts the n-grams of a sentence.",
        "The clipped matches of a sentence are (own & other).total(): & of two Counters takes the "
        "smaller of both counts.",
        "Add up matches and n-grams over all sentences for each n, then divide, then take "
        "logarithms. Stop with 0 before you take that of 0.",
    )
    MISTAKES = (
        Mistake(
            "mean of the sentences",
            "corpus_bleu",
            "it is the mean of the scores of single sentences. Matches and n-grams are added up "
            "over the corpus first.",
        ),
        Mistake(
            "not clipped",
            "corpus_bleu",
            "an n-gram counts as often as it occurs in the hypothesis, so 'the the the' is all "
            "right. It counts at most as often as in the reference.",
        ),
        Mistake(
            "no brevity penalty",
            "corpus_bleu",
            "hypotheses that are too short are not punished: multiply by BP.",
        ),
        Mistake(
            "long ones punished",
            "corpus_bleu",
            "the penalty works the wrong way round: hypotheses longer than their references are "
            "punished. r / c, where c < r.",
        ),
        Mistake("ratio as penalty", "corpus_bleu", "BP is c / r. It is exp(1 - r / c)."),
        Mistake(
            "arithmetic mean",
            "corpus_bleu",
            "the four p_n are added and divided by 4. Their geometric mean is wanted: exp of the "
            "mean of their logarithms.",
        ),
        Mistake(
            "recall",
            "corpus_bleu",
            "matches are divided by the n-grams of the references. p_n is a precision: divide by "
            "those of the hypotheses.",
        ),
        Mistake("three orders", "corpus_bleu", "n runs from 1 to 3. It runs to 4."),
        Mistake("from 0 to 1", "corpus_bleu", "the score is not multiplied by 100."),
    )
    LIBRARY = ("corpus_score", "corpus_bleu_score", "sentence_bleu", "sacrebleu")
    BESIDE = "sacrebleu's"

    def reference(self) -> Functions:
        return {"corpus_bleu": sacrebleus}

    def plain(self, wrong: frozenset[str]) -> Functions:
        return {"corpus_bleu": lambda *a: plain(wrong, *a)}

    def cases(self) -> list[Case]:
        def made(name: str, *pairs: tuple[str, str]) -> Case:
            given = [[pair[side].split() for pair in pairs] for side in (0, 1)]
            names = ("hypotheses", "references")
            return case("corpus_bleu", name, names, given, results=("the score",))

        good = ("the cat sat on the red mat today", "the cat sat on the mat today")
        short = ("she reads a good book", "she reads a good book every night before bed")
        long = ("we all went down to the river bank again and again", "we went down to the river")
        return [
            made("two sentences", good, ("a dog runs in the park now", "a dog runs in the park")),
            made("a perfect translation", (short[1], short[1])),
            made("hypotheses that are too short", short, good),
            made("hypotheses that are too long", long, good),
            made("a word said again and again",
                 ("the the the the cat sat on the mat the", "the cat sat on the mat here"), short),
            made("one sentence without any four-gram that is right", short,
                 ("he is not at home", "nobody was home at noon")),
            made("no four-gram is right", ("it rains today a lot", "today it rains a lot here")),
            made("nothing is right", ("one two three four", "five six seven eight")),
            made("sentences of fewer than four words", ("a b", "a b"), ("c", "c")),
            made("an empty hypothesis", ("", "a b c d e"), (short[1], short[1])),
        ]  # fmt: skip

    def timed(self) -> Timed:
        hypotheses = [[f"w{(i * j) % 17}" for j in range(20)] for i in range(200)]
        references = [[f"w{(i * j) % 17}" for j in range(2, 23)] for i in range(200)]
        return Timed("200 sentences", lambda f: f["corpus_bleu"](hypotheses, references))
