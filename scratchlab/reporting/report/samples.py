"""Examples side by side: what each run said, and where runs disagree most."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scratchlab.evaluation.contract import Measurement
from scratchlab.formatting import title_of
from scratchlab.reporting.compare.outputs import Outputs, Reader, why_unlike
from scratchlab.reporting.compare.runs import Row

MOST = 300  # examples of a file
BYTES = 1_500_000  # of all examples
LONGEST = 600  # characters of a text
SCORES = 6
# Kept beside scores, and none itself.
NO_SCORES = ("id", "targets", "said", "expected", "given")
FEWEST = 5  # examples of two buckets that are worth a table
LOSSES = ("absolute error", "nats per target", "nats")  # of others more is better
LENGTHS = ((1, 5), (6, 10), (11, 20), (21, 40), (41, None))  # words
COUNTS = ((1, 1), (2, 5), (6, 20), (21, None))  # of the rarest word among these texts


@dataclass(frozen=True)
class Bucket:
    """Examples of one length, or with as rare a word: a row's mean of the first score."""

    kind: str
    name: str
    n: int
    means: list[float | None]


@dataclass(frozen=True)
class Samples:
    """The examples of one file of outputs, those first that the rows disagree most about."""

    file: str
    split: str
    rows: list[str]
    scores: list[str]
    examples: list[dict[str, Any]]
    total: int
    buckets: list[Bucket]
    notes: list[str]

    def as_json(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "rows": self.rows,
            "scores": self.scores,
            "examples": self.examples,
        }


def samples_of(rows: Sequence[Row], base: Row, reader: Reader) -> list[Samples]:
    """The files that the first row kept, each with the rows that answered the same examples."""
    found = []
    files = _files(base, base)
    for file, figure in files.items():
        together: list[tuple[Row, Outputs]] = []
        notes = []
        asked = reader.outputs(*figure)
        for row in rows:
            other = _files(row, base).get(file)
            if other is None:
                notes.append(f"{row.label} has no {file}")
                continue
            said = reader.outputs(*other)
            if why := why_unlike((figure[1], asked), (other[1], said)):
                notes.append(f"{row.label} is not shown: {why}")
                continue
            together.append((row, said))
        found.append(_samples(file, figure[1].split, together, notes, BYTES // len(files)))
    return found


def _files(row: Row, base: Row) -> dict[str, tuple[Any, Measurement]]:
    """A figure of each file of outputs, of the run with the seed and the fold of the base's first,
    else with its fold."""
    seed, fold = base.runs[0].repeat
    run = min(row.runs, key=lambda r: (r.repeat[1] != fold, r.repeat[0] != seed))
    found: dict[str, tuple[Any, Measurement]] = {}
    for figure in run.figures.values():
        if figure[1].examples.get("file"):
            found.setdefault(str(figure[1].examples["file"]), figure)
    return found


def _samples(
    file: str, split: str, together: list[tuple[Row, Outputs]], notes: list[str], room: int
) -> Samples:
    first = together[0][1]
    scored = [scores_of(said.columns) for _, said in together]
    names = [name for name in scored[0] if all(name in one for one in scored)][:SCORES]
    total = len(first.ids)
    texts = [_words(first.columns, i) for i in range(total)]
    seen = Counter(word for words in texts for word in words)
    rarest = [min((seen[word] for word in words), default=0) for words in texts]

    def unlike(i: int) -> tuple[float, ...]:
        apart = [_spread([one[name][i] for one in scored]) for name in names]
        said = {repr(o.columns["said"][i]) for _, o in together if "said" in o.columns}
        values = [v for one in scored for name in names[:1] if (v := one[name][i]) is not None]
        worst = sum(values) if not names or names[0] not in LOSSES else -sum(values)
        return (*(-a for a in apart[:1]), -len(said), *(-a for a in apart[1:]), worst)

    order = sorted(range(total), key=unlike)
    chosen = order if total <= MOST else order[:MOST]
    examples: list[dict[str, Any]] = []
    for i in chosen:
        example = {
            "id": first.ids[i],
            "given": _shown(first.columns, "given", i),
            "expected": _shown(first.columns, "expected", i),
            "words": len(texts[i]),
            "rarest": rarest[i],
            "apart": [_rounded(_spread([one[name][i] for one in scored])) for name in names],
            "said": [_shown(said.columns, "said", i) for _, said in together],
            "scores": [[_rounded(one[name][i]) for name in names] for one in scored],
        }
        room -= len(json.dumps(example))
        if room < 0 and len(examples) >= 10:
            break
        examples.append(example)
    if len(examples) < total:
        notes.append(
            f"the {len(examples):,} of {total:,} examples that the runs disagree most about are "
            f"here; all are in each run's {file}"
        )
    score = [one[names[0]] for one in scored] if names else []
    buckets = _buckets("words", LENGTHS, [len(words) for words in texts], score)
    buckets += _buckets("rarest word seen", COUNTS, rarest, score)
    labels = [row.label for row, _ in together]
    return Samples(file, split, labels, names, examples, total, buckets, notes)


def scores_of(columns: Mapping[str, Any]) -> dict[str, list[float | None]]:
    """The scores of each example: those that were kept, and what can be said of them by sight."""
    found: dict[str, list[float | None]] = {}
    said, expected = columns.get("said"), columns.get("expected")
    if said is not None and expected is not None:
        pairs = list(zip(said, expected))
        kinds = {type(one) for pair in pairs for one in pair}
        if kinds <= {int, float} and float in kinds:
            found["absolute error"] = [abs(a - b) for a, b in pairs]
        elif kinds == {str} and sum(len(b.split()) for _, b in pairs) > 3 * len(pairs):
            found["word F1"] = [word_f1(a, b) for a, b in pairs]
        elif kinds <= {str, int}:
            found["right"] = [float(a == b) for a, b in pairs]
    nats, targets = columns.get("nats"), columns.get("targets")
    if nats is not None and targets is not None:
        found["nats per target"] = [
            n / t if _number(n) and _number(t) and t else None
            for n, t in zip(nats, targets, strict=True)
        ]
    for name, values in columns.items():
        numbers = name not in NO_SCORES and all(v is None or _number(v) for v in values)
        if numbers and not (name == "nats" and targets is not None):
            found[title_of(name)] = [None if v is None else float(v) for v in values]
    return found


def word_f1(said: str, expected: str) -> float:
    """How many words two texts share, as F1 of their counts (Rajpurkar et al. 2016)."""
    ours, theirs = said.casefold().split(), expected.casefold().split()
    if not ours or not theirs:
        return float(ours == theirs)
    shared = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * shared / (len(ours) + len(theirs))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _words(columns: Mapping[str, Any], i: int) -> list[str]:
    text = next((columns[c][i] for c in ("given", "expected") if c in columns), "")
    return text.casefold().split() if isinstance(text, str) else []


def _spread(values: Sequence[float | None]) -> float:
    known = [v for v in values if v is not None and math.isfinite(v)]
    return max(known) - min(known) if len(known) > 1 else 0.0


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")


def _shown(columns: Mapping[str, Any], name: str, i: int) -> str | None:
    if name not in columns:
        return None
    value = columns[name][i]
    value = float(f"{value:.6g}") if isinstance(value, float) and math.isfinite(value) else value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _buckets(
    kind: str,
    bounds: Sequence[tuple[int, int | None]],
    measured: Sequence[int],
    score: Sequence[Sequence[float | None]],
) -> list[Bucket]:
    """Means of a score by a whole number of each example; none where almost all fall into one."""
    found = []
    for low, high in bounds:
        places = [i for i, v in enumerate(measured) if low <= v and (high is None or v <= high)]
        if not places or not score:
            continue
        name = f"{low:,} or more" if high is None else f"{low}" if low == high else f"{low}–{high}"
        known = [[v for i in places if (v := row[i]) is not None] for row in score]
        means = [_rounded(statistics.fmean(part)) if part else None for part in known]
        found.append(Bucket(kind, name, len(places), means))
    sizes = sorted(bucket.n for bucket in found)
    return found if len(found) > 1 and sizes[-2] >= FEWEST else []
