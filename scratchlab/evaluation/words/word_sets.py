"""Files of word pairs with judgements and of analogies, and the small sets that need no file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from scratchlab.data.contract import Dataset
from scratchlab.data.kinds.running_text import RunningText
from scratchlab.data.sources.locating import own_file
from scratchlab.data.sources.reading import lines_of, read_whole
from scratchlab.errors import UserError, shortened
from scratchlab.estimators.embeddings.base import WordEstimator
from scratchlab.estimators.embeddings.vectors import WordVectors
from scratchlab.evaluation.contract import EvaluationContext
from scratchlab.evaluation.outputs.word_arithmetic import WordArithmetic

UNKNOWN = ("skip", "zero")

# Words of Python's documentation, judged by hand from 0 (nothing in common) to 10 (the same).
PAIRS = """
list lists 9 / list tuple 7 / string strings 9 / string bytes 6 / file directory 6 / file path 7
read write 7 / open close 7 / true false 8 / none null 7 / function method 8 / class instance 7
integer float 7 / integer number 8 / key value 7 / dictionary mapping 8 / error exception 9
raised raises 9 / raise exception 6 / import module 7 / package module 8 / thread process 7
thread threads 9 / lock semaphore 7 / socket connection 7 / server client 7 / date time 7
day month 8 / hour minute 9 / first last 6 / left right 8 / start end 7 / begin start 8
returns return 9 / returned returns 8 / argument parameter 9 / argument arguments 9
optional required 6 / default optional 5 / byte bit 7 / unicode character 6 / encoding decoding 8
sequence iterable 7 / iterator generator 7 / loop iteration 7 / line newline 6 / name names 9
input output 7 / stdin stdout 8 / parent child 8 / tree node 7 / minimum maximum 8 / max min 8
add remove 6 / remove delete 8 / set frozenset 8 / equal identical 7 / less greater 8
thread month 0 / tuple server 0 / bytes parent 1 / exception day 0 / encoding child 0
socket integer 1 / lock string 1 / month key 1 / node minute 0 / class hour 0 / path maximum 1
import less 1 / date dictionary 1 / newline semaphore 0 / client float 0 / left module 0
"""

# Two forms of words of Python's documentation: the first is to the second as in the other pairs.
FORMS = {
    "plural": "list lists / string strings / object objects / function functions / "
    "argument arguments / module modules / file files / method methods / value values / "
    "class classes / attribute attributes / element elements / key keys / line lines",
    "third person": "return returns / raise raises / call calls / contain contains / "
    "read reads / write writes / create creates / use uses / take takes / convert converts",
    "past participle": "return returned / raise raised / call called / use used / "
    "specify specified / create created / define defined / pass passed / support supported",
    "present participle": "return returning / use using / call calling / read reading / "
    "write writing / create creating / pass passing / run running / parse parsing",
}


@dataclass(frozen=True)
class Pair:
    """Two words, and how alike people find them."""

    first: str
    second: str
    judged: float


@dataclass
class Section:
    """Analogies of one kind: a is to b as c is to d."""

    name: str
    questions: list[tuple[str, str, str, str]] = field(default_factory=list)


def vectors_of(context: EvaluationContext) -> WordVectors:
    """The word vectors of the model that is measured."""
    model = context.model
    if not isinstance(model, WordEstimator):
        raise UserError(f"{type(model).__name__} has no word vectors", "See model=skipgram.")
    return WordArithmetic().of_split(context)


def find_set(dataset: Dataset, path: str) -> Path:
    """An evaluation file: from the current folder, or in the folder of data files."""
    return own_file(path, dataset.context.root if isinstance(dataset, RunningText) else None)


def form_in(vectors: WordVectors, word: str) -> str:
    """A word as the vectors have it: as it is written, else lower-cased."""
    return word if word in vectors.numbers else word.lower()


def embedded_pairs() -> list[Pair]:
    """The small set of pairs from Python's documentation."""
    found = []
    for entry in PAIRS.replace("\n", " / ").split(" / "):
        if entry.strip():
            first, second, judged = entry.split()
            found.append(Pair(first, second, float(judged)))
    return found


def embedded_analogies() -> list[Section]:
    """Every two pairs of a kind of word forms, as a question each way."""
    sections = []
    for name, text in FORMS.items():
        forms = [entry.split() for entry in text.split(" / ")]
        questions = [(a, b, c, d) for a, b in forms for c, d in forms if a != c]
        sections.append(Section(name, questions))
    return sections


def read_pairs(path: Path) -> list[Pair]:
    """Lines of two words and a number, parted by tabs, commas, semicolons or spaces.

    The first line may name the columns; lines that are empty or begin with # are passed over.

    Raises:
        UserError: a line is something else (with its number), or there is none.
    """
    found: list[Pair] = []
    for number, line in enumerate(lines_of(path, read_whole(path)), 1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = [c.strip() for c in re.split(r"[\t,;]" if re.search(r"[\t,;]", line) else r" +",
                                             line.strip())]  # fmt: skip
        try:
            found.append(Pair(cells[0], cells[1], float(cells[2])))
        except (IndexError, ValueError):
            if number == 1 and len(cells) >= 3:
                continue
            raise UserError(
                f"{path}, line {number}: {shortened(line)} is not two words and a number",
                "Write WORD<tab>WORD<tab>NUMBER.",
            ) from None
    if not found:
        raise UserError(f"{path} holds no pairs of words")
    return found


def read_analogies(path: Path) -> list[Section]:
    """Lines ``: name`` that begin a section, and lines of four words (``questions-words.txt``)."""
    sections: list[Section] = []
    for number, line in enumerate(lines_of(path, read_whole(path)), 1):
        words = line.split()
        if not words:
            continue
        if words[0] == ":" or (words[0].startswith(":") and len(words[0]) > 1):
            sections.append(Section(" ".join(words).removeprefix(":").strip()))
        elif len(words) == 4:
            if not sections:
                sections.append(Section("all"))
            sections[-1].questions.append((words[0], words[1], words[2], words[3]))
        else:
            raise UserError(
                f"{path}, line {number}: {shortened(line)} is not four words",
                "Write A B C D (A is to B as C is to D), or : NAME for a section.",
            )
    if not any(s.questions for s in sections):
        raise UserError(f"{path} holds no analogies")
    return sections
