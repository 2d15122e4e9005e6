"""Texts with classes, as ids of any tokenizer: SST-2, movie reviews, a user's own."""

from __future__ import annotations

import functools
import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from scratchlab.config.reading import read_json
from scratchlab.data.batching.encoded_texts import encoded, learned
from scratchlab.data.batching.plans import Plan, Ragged, Shuffle, plan_batches
from scratchlab.data.contract import ArrayBatch, DataContext, Spec
from scratchlab.data.kinds.base import TextPairs
from scratchlab.data.sources.locating import Located
from scratchlab.data.sources.two_columns import Labelled, class_name
from scratchlab.data.splits.examples import split_off, text_key
from scratchlab.data.splits.folds import FoldOptions, deal
from scratchlab.data.tokenizers.choosing import TokenizerOptions, given_tokenizer
from scratchlab.data.tokenizers.contract import Tokenizer
from scratchlab.data.tokenizers.files import write_text_tokenizer
from scratchlab.errors import UserError, shortened, suggest
from scratchlab.random_streams import SPLIT_STREAM, generator
from scratchlab.registry import option
from scratchlab.run.atomic import write_text

POOL = 2048
CLASSES = "text_classes.json"
TENTHS = {"test": 0.1, "val": 0.1}
TENTH = 10  # one of so many parts


def _read_classes(path: Path) -> list[str]:
    """The names of a checkpoint's classes."""
    names = read_json(path)
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise UserError(f"{path} holds no list of names")
    if not names or len(set(names)) < len(names):
        raise UserError(f"{path}: a class has no name of its own")
    return names


@dataclass(frozen=True)
class TextClassOptions(TokenizerOptions):
    """How labelled texts become batches of ids."""

    tokenizer: str = option(
        "pretrained",
        "pretrained: that of a checkpoint; bpe: pieces of words; word: lower-cased words; "
        "whitespace: what stands between spaces; char: characters",
        choices=("bpe", "word", "whitespace", "char", "pretrained"),
    )
    checkpoint: str | None = option(
        "minilm", "tokenizer=pretrained: the checkpoint (minilm, a folder, a name of the hub)",
        path="name",
    )  # fmt: skip
    max_length: int = option(128, "tokens of a text, special ones included; longer ones are cut",
                             min=3)  # fmt: skip
    batch_tokens: int = option(
        2048, "tokens of a training batch, padding included", min=8, auto="the largest that fits"
    )
    eval_batch_tokens: int = option(8192, "the same of evaluation; changes no score", min=8)
    train_examples: int | None = option(None, "the first ones only; null: all", min=1)
    val_examples: int | None = option(None, "the first ones only; null: all", min=1)


@dataclass(frozen=True)
class PartedOptions(TextClassOptions, FoldOptions):
    """Of texts that are split here."""

    split_seed: int | None = option(
        0, "seed of the division into splits or folds; null: the run's seed", min=0
    )
    duplicates: str = option(
        "group",
        "group: texts that differ in case and punctuation only are in one split; keep: each is "
        "drawn alone",
        choices=("group", "keep"),
    )


def parted(
    rows: Labelled,
    config: PartedOptions,
    context: DataContext,
    shares: Mapping[str, float] = TENTHS,
    keys: Sequence[Hashable] | None = None,
) -> dict[str, Labelled]:
    """``shares`` of the texts for the splits that they name, the rest to train, in random order;
    of folds, the chosen one to test and a tenth of the others to val, classes alike.

    The draw depends on the options alone, and every class is in train. Texts with one of the
    ``keys`` are in one split; without any, and with ``duplicates=group``, those that differ in case
    and punctuation only.
    """
    seed = context.seed if config.split_seed is None else config.split_seed
    if keys is None:
        group = config.duplicates == "group"
        keys = [text_key(text) for text, _ in rows] if group else range(len(rows))
    classes = [label for _, label in rows]
    if config.folds is None:
        chosen = split_off(keys, shares, classes, seed)
    else:
        dealt = deal(keys, classes, config.folds, seed)
        rest = np.flatnonzero(dealt != config.fold)
        left = rest.tolist()
        tenths = deal([keys[i] for i in left], [classes[i] for i in left], TENTH, seed)
        chosen = {
            "train": rest[tenths != TENTH - 1].tolist(),
            "val": rest[tenths == TENTH - 1].tolist(),
            "test": np.flatnonzero(dealt == config.fold).tolist(),
        }
    return {split: [rows[i] for i in numbers] for split, numbers in chosen.items()}


class TextClassDataset(TextPairs):
    """Labelled texts; ``inputs`` of a batch are ids [batch, length], padded at the right end."""

    outputs = "classified_texts"
    content_name = "texts"
    class_titles: ClassVar[Mapping[str, str]] = {}  # what a person calls classes that are numbers

    def __init__(self, config: Any, context: DataContext) -> None:
        super().__init__(config, context)
        self._saved = context.vocabulary is not None and context.own and not context.masks
        if self._saved:
            assert context.vocabulary is not None
            self.classes = _read_classes(context.vocabulary / CLASSES)
        else:
            self.classes = sorted({label for _, label in self.pairs["train"]})
        self._encoded: dict[str, list[list[int]]] = {}
        self._labels: dict[str, NDArray[np.int64]] = {}

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        """Made when it is first asked for: a representation does without."""
        given, context = given_tokenizer(self.config, self.context), self.context
        layout = {"mask": True} if context.masks else {}
        return given or learned(context.cache, self.config, self.texts("train"), **layout)

    @classmethod
    @abstractmethod
    def locate(cls, config: Any, context: DataContext) -> Located:
        """Find the texts and their classes; UserError if they are not there."""

    def ordered(self, split: str, pairs: Labelled) -> Labelled:
        if split != "train":
            return pairs
        random = generator(SPLIT_STREAM, 0)  # files are often sorted by class
        return [pairs[i] for i in random.permutation(len(pairs)).tolist()]

    @functools.cached_property
    def spec(self) -> Spec:  # type: ignore[override]
        return Spec(
            task="classification",
            vocab_size=len(self.tokenizer),
            unk_id=self.tokenizer.unk_id,
            pad_id=self.tokenizer.pad_id,
            sos_id=self.tokenizer.cls_id,
            unit=self.tokenizer.unit,
            tokenizer=self.tokenizer.kind,
            max_length=self.config.max_length,
            n_classes=len(self.classes),
            class_names=self.class_names,
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        """What a person calls the classes, in the order of their numbers."""
        titles = {} if self._saved else self.class_titles
        return tuple(titles.get(c, c) for c in self.classes)

    def save_vocabulary(self, folder: Path) -> None:
        write_text_tokenizer(folder, self.tokenizer)
        self.save_classes(folder)

    def save_classes(self, folder: Path) -> None:
        """The part of the vocabulary that does not depend on the tokenizer."""
        write_text(folder / CLASSES, json.dumps(self.classes))

    def labelled(self, split: str) -> Labelled:
        """The texts of a split with the names of their classes."""
        rows = self.of_split(self.pairs, split)
        return [(text, self.class_titles.get(label, label)) for text, label in rows]

    def original(self, split: str, index: int) -> dict[str, str]:
        """One example as a person reads it: its text."""
        return {"text": self.texts(split)[index]}

    def class_counts(self, split: str) -> Mapping[str, int]:
        return Counter(label for _, label in self.labelled(split))

    def labels(self, split: str) -> NDArray[np.int64]:
        """Class numbers [texts]; UserError names a class that training has not seen."""
        if split not in self._labels:
            self._labels[split] = self._numbers(split)
        return self._labels[split]

    def require_classes(self) -> None:
        """UserError, before anything is learnt, if there is one class only, or if another split
        has a class that training has not."""
        if self._saved or self.context.masks:
            return
        if len(self.classes) < 2:
            raise UserError(
                f"{self.registered_name}: all {self.size('train'):,} training texts have the class "
                f"{shortened(self.classes[0])}",
                "A classifier needs texts of at least two classes.",
            )
        for split in self.splits:
            self.labels(split)

    def _numbers(self, split: str) -> NDArray[np.int64]:
        numbers = {name: i for i, name in enumerate(self.classes)}
        for name, number in list(numbers.items()):  # of checkpoints that name them otherwise
            numbers.setdefault(class_name(name), number)
            if name in ("True", "False"):
                numbers.setdefault(name.lower(), number)
        rows = self.of_split(self.pairs, split)
        unknown = next((label for _, label in rows if label not in numbers), None)
        if unknown is not None:
            raise UserError(
                f"{self.registered_name}: the class {shortened(unknown)} of {split} is not in the "
                "training texts",
                suggest(unknown, self.classes, "Classes"),
            )
        return np.array([numbers[label] for _, label in rows], dtype=np.int64)

    def encode(self, text: str) -> list[int]:
        """Ids of a text, with the special tokens that a checkpoint wants; never none at all."""
        return self._with_special(self.tokenizer.encode(text))

    def length(self, text: str) -> int:
        """How many ids the whole text has, special ones included, before it is cut."""
        special = (self.tokenizer.cls_id, self.tokenizer.sep_id)
        return len(self.tokenizer.encode(text)) + sum(i is not None for i in special)

    def _with_special(self, ids: list[int]) -> list[int]:
        first, last = self.tokenizer.cls_id, self.tokenizer.sep_id
        room = self.config.max_length - (first is not None) - (last is not None)
        head = [] if first is None else [first]
        found = [*head, *ids[:room], *([] if last is None else [last])]
        return found or [self.tokenizer.unk_id or 0]

    def _ids(self, split: str) -> list[list[int]]:
        if split not in self._encoded:
            ids: Ragged = encoded(self.context.cache, self.tokenizer, self.texts(split))
            self._encoded[split] = [self._with_special(ids[i]) for i in range(len(ids))]
        return self._encoded[split]

    def batch(self, split: str, planned: Any, *, seed: int, epoch: int) -> ArrayBatch:
        import torch

        ids, labels = self._ids(split), self.labels(split)
        chosen = Ragged.of([ids[i] for i in planned.tolist()])
        inputs = chosen.padded(self.tokenizer.pad_id or 0)
        return ArrayBatch(
            torch.from_numpy(inputs), torch.from_numpy(labels[planned]), torch.from_numpy(planned)
        )

    def plan_epoch(self, split: str, shuffle: Shuffle) -> Plan:
        if split == "train":
            self.require_classes()
        config = self.config
        tokens = config.batch_tokens if split == "train" else config.eval_batch_tokens
        lengths = np.array([len(row) for row in self._ids(split)])
        return plan_batches(
            np.zeros_like(lengths), lengths, batch_tokens=tokens, shuffle=shuffle, pool_size=POOL
        )
