"""Texts with classes, as ids of any tokenizer: SST-2, movie reviews, a user's own."""

from __future__ import annotations

import functools
import json
import logging
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from scratchlab.config.reading import read_json
from scratchlab.data.batching.encoded_texts import encoded, learned
from scratchlab.data.batching.plans import Plan, Plans, Ragged, Shuffle, plan_batches
from scratchlab.data.contract import ArrayBatch, DataContext, Dataset, Provenance, Spec
from scratchlab.data.sources.class_files import Labelled, class_name, read_labelled
from scratchlab.data.sources.locating import layout_hint, own_file
from scratchlab.data.sources.reading import decoded, find_file, lines_of, read_unpacked, sha256_of
from scratchlab.data.sources.splitting import split_off, text_key
from scratchlab.data.tokenizers.choosing import TokenizerOptions, given_tokenizer
from scratchlab.data.tokenizers.files import write_text_tokenizer
from scratchlab.errors import UserError, shortened, suggest
from scratchlab.random_streams import SPLIT_STREAM, generator
from scratchlab.registry import option, register
from scratchlab.run.atomic import write_text

log = logging.getLogger(__name__)

POOL = 2048
TENTHS = {"test": 0.1, "val": 0.1}
CLASSES = "text_classes.json"
SST2 = ("sst2/train.tsv.gz", "sst2/dev.tsv", "sst2/test.tsv")
MR = {"negative": "mr_polarity/rt-polarity.neg", "positive": "mr_polarity/rt-polarity.pos"}


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
    batch_tokens: int = option(2048, "tokens of a training batch, padding included", min=8)
    eval_batch_tokens: int = option(8192, "the same of evaluation; changes no score", min=8)
    train_examples: int | None = option(None, "the first ones only; null: all", min=1)
    val_examples: int | None = option(None, "the first ones only; null: all", min=1)


@dataclass(frozen=True)
class PartedOptions(TextClassOptions):
    """Of texts that are split here."""

    duplicates: str = option(
        "group",
        "group: texts that differ in case and punctuation only are in one split; keep: each is "
        "drawn alone",
        choices=("group", "keep"),
    )


@dataclass
class LabelledText:
    """The texts of each split with the names of their classes."""

    provenance: Provenance
    splits: dict[str, Labelled]
    names: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class TextClassDataset(Dataset):
    """Labelled texts; ``inputs`` of a batch are ids [batch, length], padded at the right end."""

    content_name = "texts"

    def __init__(self, config: Any, context: DataContext) -> None:
        self.config, self.context = config, context
        self.notes: list[str] = []
        given = given_tokenizer(config, context)
        if given is None:
            given = learned(context.cache, config, self.texts("train"))
        self.tokenizer = given
        if context.vocabulary is not None:
            self.classes = _read_classes(context.vocabulary / CLASSES)
        else:
            self.classes = sorted({label for _, label in self._found.splits["train"]})
        self._encoded: dict[str, list[list[int]]] = {}
        self._plans = Plans()

    @abstractmethod
    def locate(self) -> LabelledText:
        """Find and read the texts; UserError if they are not there."""

    @functools.cached_property
    def _found(self) -> LabelledText:
        found = self.locate()
        self.notes += found.notes
        for note in found.notes:
            log.info("%s: %s", self.registered_name, note)
        random = generator(SPLIT_STREAM, 0)  # files are often sorted by class
        train = found.splits["train"]
        found.splits["train"] = [train[i] for i in random.permutation(len(train)).tolist()]
        for split in ("train", "val"):
            found.splits[split] = found.splits[split][: getattr(self.config, f"{split}_examples")]
        for split in self.splits:
            if not found.splits[split]:
                raise UserError(f"{self.registered_name}: the split {split!r} has no texts")
        return found

    @functools.cached_property
    def spec(self) -> Spec:  # type: ignore[override]
        names = self._found.names if self.context.vocabulary is None else {}
        return Spec(
            task="classification",
            vocab_size=len(self.tokenizer),
            unk_id=self.tokenizer.unk_id,
            pad_id=self.tokenizer.pad_id,
            unit=self.tokenizer.unit,
            tokenizer=self.tokenizer.kind,
            max_length=self.config.max_length,
            n_classes=len(self.classes),
            class_names=tuple(names.get(c, c) for c in self.classes),
        )

    @property
    def provenance(self) -> Provenance:  # type: ignore[override]
        return self._found.provenance

    def save_vocabulary(self, folder: Path) -> None:
        write_text_tokenizer(folder, self.tokenizer)
        write_text(folder / CLASSES, json.dumps(self.classes))

    def contents(self, split: str) -> list[str]:
        return self.texts(split)

    def labelled(self, split: str) -> Labelled:
        """The texts of a split with the names of their classes."""
        names = self._found.names
        return [(text, names.get(label, label)) for text, label in self._rows(split)]

    def class_counts(self, split: str) -> Mapping[str, int]:
        return Counter(label for _, label in self.labelled(split))

    def texts(self, split: str) -> list[str]:
        """The texts of a split in their order."""
        return [text for text, _ in self._rows(split)]

    def labels(self, split: str) -> NDArray[np.int64]:
        """Class numbers [texts]; UserError names a class that training has not seen."""
        numbers = {name: i for i, name in enumerate(self.classes)}
        for name, number in list(numbers.items()):  # of checkpoints that name them otherwise
            numbers.setdefault(class_name(name), number)
            if name in ("True", "False"):
                numbers.setdefault(name.lower(), number)
        rows = self._rows(split)
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

    def _rows(self, split: str) -> Labelled:
        splits = self._found.splits
        if split not in splits:
            raise UserError(
                f"{self.registered_name} has no split {split!r}", suggest(split, splits, "Splits")
            )
        return splits[split]

    def _ids(self, split: str) -> list[list[int]]:
        if split not in self._encoded:
            ids: Ragged = encoded(self.context.cache, self.tokenizer, self.texts(split))
            self._encoded[split] = [self._with_special(ids[i]) for i in range(len(ids))]
        return self._encoded[split]

    def size(self, split: str) -> int:
        return len(self._rows(split))

    def batch_count(self, split: str, *, seed: int, epoch: int) -> int:
        return len(self._plan(split, seed, epoch))

    def batches(self, split: str, *, seed: int, epoch: int, start: int = 0) -> Iterator[ArrayBatch]:
        import torch

        plan, ids, labels = self._plan(split, seed, epoch), self._ids(split), self.labels(split)
        pad = self.tokenizer.pad_id or 0
        for position in range(start, len(plan)):
            rows = plan[position]
            width = max(len(ids[i]) for i in rows)
            inputs = np.full((len(rows), width), pad, dtype=np.int64)
            for row, i in enumerate(rows.tolist()):
                inputs[row, : len(ids[i])] = ids[i]
            yield ArrayBatch(
                torch.from_numpy(inputs), torch.from_numpy(labels[rows]), torch.from_numpy(rows)
            )

    def _plan(self, split: str, seed: int, epoch: int) -> Plan:
        config = self.config
        tokens = config.batch_tokens if split == "train" else config.eval_batch_tokens

        def plan(shuffle: Shuffle) -> Plan:
            lengths = np.array([len(row) for row in self._ids(split)])
            return plan_batches(
                np.zeros_like(lengths), lengths, batch_tokens=tokens, shuffle=shuffle,
                pool_size=POOL,
            )  # fmt: skip

        return self._plans.of(split, seed, epoch, plan)


@register(
    "dataset",
    "sst2",
    task="classification",
    sources=("files",),
    files=SST2,
    origin="https://gluebenchmark.com (SST-2; test.tsv is its dev set)",
)
class SST2Data(TextClassDataset):
    """Stanford Sentiment Treebank, two classes (Socher et al. 2013), in GLUE's form.

    The test split is GLUE's dev set, 872 sentences. Validation phrases that stand in training, case
    and punctuation aside, are left out (1,553 of 6,735).
    """

    @dataclass(frozen=True)
    class Config(TextClassOptions):
        pass

    def locate(self) -> LabelledText:
        root = self.context.root
        found = [root and find_file(root / name) for name in SST2]
        missing = [n for n, p in zip(SST2, found, strict=True) if p is None]
        if missing:
            raise UserError(
                f"no file {missing[0]}",
                layout_hint(list(SST2), root, "https://gluebenchmark.com (SST-2)"),
            )
        paths = [p for p in found if p is not None]
        notes: list[str] = []
        splits = {
            split: read_labelled(path, "sentence", "label", notes)
            for split, path in zip(("train", "val", "test"), paths, strict=True)
        }
        hashes = {name: sha256_of(path) for name, path in zip(SST2, paths, strict=True)}
        names = {"0": "negative", "1": "positive"}
        trained = {text_key(text) for text, _ in splits["train"]}
        # Phrases are parts of sentences and come back: what was learnt by heart chooses nothing.
        seen = [text_key(text) in trained for text, _ in splits["val"]]
        splits["val"] = [row for row, known in zip(splits["val"], seen, strict=True) if not known]
        if any(seen):
            notes.append(f"{sum(seen):,} phrases of val left out, since they stand in train")
        return LabelledText(Provenance("files", str(root), hashes), splits, names, notes)


@register(
    "dataset",
    "mr",
    task="classification",
    sources=("files",),
    files=("mr_polarity/rt-polarity.neg", "mr_polarity/rt-polarity.pos"),
    origin="https://www.cs.cornell.edu/people/pabo/movie-review-data (rt-polaritydata)",
)
class MovieReviews(TextClassDataset):
    """10,662 sentences of movie reviews, half of them positive (Pang & Lee 2005), split 8:1:1."""

    @dataclass(frozen=True)
    class Config(PartedOptions):
        pass

    def locate(self) -> LabelledText:
        root = self.context.root
        rows: Labelled = []
        hashes: dict[str, str] = {}
        notes: list[str] = []
        for label, name in MR.items():
            path = root and find_file(root / name)
            if path is None:
                raise UserError(
                    f"no file {name}",
                    layout_hint(list(MR.values()), root, "Cornell's movie review data"),
                )
            hashes[name] = sha256_of(path)
            rows += [(line.strip(), label) for line in review_lines(path, notes) if line.strip()]
        splits = parted(rows, group=self.config.duplicates == "group")
        return LabelledText(Provenance("files", str(root), hashes), splits, notes=notes)


def review_lines(path: Path, notes: list[str]) -> list[str]:
    """The lines of a file that Cornell distributes in latin-1 and others in UTF-8."""
    content = read_unpacked(path)
    beyond_ascii = [line for line in content.split(b"\n") if not line.isascii()]
    if beyond_ascii and not any(map(_is_utf8, beyond_ascii)) and b"\0" not in content:
        notes.append(f"{path.name}: read as latin-1, since none of its accents is UTF-8")
        return lines_of(path, content.decode("latin-1"))
    return lines_of(path, decoded(path, content))


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def parted(
    rows: Labelled, shares: Mapping[str, float] = TENTHS, *, group: bool = True
) -> dict[str, Labelled]:
    """``shares`` of the texts for the splits that they name, the rest to train, in random order.

    Always the same draw, with every class in train. With ``group`` texts that differ in case and
    punctuation only are in one split.
    """
    keys = [text_key(text) for text, _ in rows] if group else range(len(rows))
    chosen = split_off(keys, shares, [label for _, label in rows])
    return {split: [rows[i] for i in numbers] for split, numbers in chosen.items()}


@register("dataset", "text_classification", task="classification", sources=("files",))
class OwnTextClasses(TextClassDataset):
    """Your own labelled texts: CSV, TSV or JSONL with a column of text and one of classes.

    Whole numbers are one class however they are written (1, 1.0); true and false must not stand
    beside other classes. Rows without text are left out and counted, those without a class refused.
    """

    @dataclass(frozen=True)
    class Config(PartedOptions):
        path: str | None = option(
            None, "file to train on (split 8:1:1 without the others)", path="data"
        )
        val_path: str | None = option(None, "file to validate on", path="data")
        test_path: str | None = option(None, "file to test on; null: a tenth of path", path="data")
        text_column: str = option("text", "column that holds the text")
        label_column: str = option("label", "column that holds the class")

        RULES: ClassVar[tuple[tuple[str, str], ...]] = (
            ("test_path is None or val_path is not None", "test_path needs val_path as well"),
        )

    def locate(self) -> LabelledText:
        config, root = self.config, self.context.root
        if config.path is None:
            raise UserError(
                "text_classification needs to know your texts",
                "Give dataset.path=FILE (CSV, TSV or JSONL).",
            )
        named = {"train": config.path, "val": config.val_path, "test": config.test_path}
        paths = {s: own_file(p, root) for s, p in named.items() if p is not None}
        notes: list[str] = []
        of_file = {
            p: read_labelled(p, config.text_column, config.label_column, notes)
            for p in dict.fromkeys(paths.values())
        }
        read = {s: list(of_file[p]) for s, p in paths.items()}
        shares = {split: share for split, share in TENTHS.items() if split not in read}
        if shares:
            group = config.duplicates == "group"
            read |= parted(read["train"], shares, group=group)
        hashes = {str(p): sha256_of(p) for p in paths.values()}
        return LabelledText(Provenance("files", "your files", hashes), read, notes=notes)
