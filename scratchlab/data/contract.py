"""What a data set promises to the rest of the house."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from scratchlab.config.reading import require
from scratchlab.errors import UserError


@dataclass(frozen=True)
class Spec:
    """All that a model needs to know of a data set in order to be built.

    Sizes that do not apply to a task stay ``None``. ``source_*`` belong to the input side of a
    sequence-to-sequence task; with a shared vocabulary both sides have the same ids.
    """

    task: str
    vocab_size: int | None = None
    source_vocab_size: int | None = None
    shared_vocabulary: bool = False
    unk_id: int | None = None
    pad_id: int | None = None
    sos_id: int | None = None
    eos_id: int | None = None
    max_length: int | None = None
    max_source_length: int | None = None
    n_classes: int | None = None
    class_names: tuple[str, ...] = ()
    n_features: int | None = None
    feature_names: tuple[str, ...] = ()
    image_shape: tuple[int, int, int] | None = None
    unit: str = "token"
    tokenizer: str | None = None  # which kind the ids come from; None: not told

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: Any, where: str | Path) -> Spec:
        """What :meth:`as_dict` gave, read again from a file."""
        lists = {"tuple[str, ...]": "list[str]", "tuple[int, int, int] | None": "list[int] | None"}
        types = {f"{f.name}?": lists.get(str(f.type), str(f.type)) for f in fields(cls)}
        found = require(content, {**types, "task": "str"}, where, ("spec",))
        known: dict[str, Any] = {k: found[k] for k in cls.__dataclass_fields__ if k in found}
        known = {k: tuple(v) if isinstance(v, list) else v for k, v in known.items()}
        return cls(**known)


@dataclass
class Provenance:
    """Where the data of a run came from: ``kind`` is embedded, files or hub."""

    kind: str
    description: str
    sha256: dict[str, str] = field(default_factory=dict)

    @classmethod
    def generated(
        cls, generator: str, version: int, description: str, *surroundings: str
    ) -> Provenance:
        """Of data that is made here, by a generator whose version is raised when it makes other
        data of the same options; ``surroundings`` is what it depends on besides (Python's)."""
        made_by = json.dumps([generator, version, *surroundings])
        described = description if version == 1 else f"{description} (version {version})"
        return cls("embedded", described, {generator: hashlib.sha256(made_by.encode()).hexdigest()})


@dataclass(frozen=True)
class DataContext:
    """What a data set gets from its surroundings.

    ``root``: the folder of data files ($SCRATCHLAB_DATA) or None; ``cache``: where prepared data
    is kept; ``vocabulary``: a checkpoint's folder whose vocabulary is used instead of a new one,
    ``own``: it is one of this very run, so that the classes are those of then, too; ``masks``: a
    vocabulary that is learned has a mask; ``seed``: the run's; ``runs``: where other runs lie;
    ``representation``: what turns texts into rows of numbers
    (:mod:`scratchlab.representations.contract`), where one is chosen.
    """

    root: Path | None
    cache: Path
    vocabulary: Path | None = None
    seed: int = 0
    runs: Path = Path("outputs")
    representation: Any = None
    own: bool = True
    masks: bool = False


@dataclass(frozen=True)
class Examples:
    """A whole split: learnt by ``fit(*arguments, **options)``, scored by ``evaluate(*arguments)``.

    Tables and images give X [rows, features] and y [rows]; running text gives its tokens [n] and
    the bounds [lines + 1] of the lines in them.
    """

    arguments: tuple[Any, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


class Dataset(ABC):
    """A data set that was read, split, tokenised and is ready to be batched.

    Registered as ``@register("dataset", NAME, task=…)``; built as ``cls(config, context)``.
    """

    spec: Spec
    provenance: Provenance
    registered_name: ClassVar[str]
    registered_facts: ClassVar[dict[str, Any]]
    splits: ClassVar[tuple[str, ...]] = ("train", "val", "test")
    content_name: ClassVar[str] = "examples"
    outputs: ClassVar[str] = ""  # who makes what a model says to it (scratchlab.evaluation.outputs)
    # Of a text: what turns it into ids (scratchlab.data.tokenizers.contract.Tokenizer).
    tokenizer: Any = None

    @property
    def lower_cased(self) -> bool:
        """Whether outputs are lower-cased, so that scores must compare lower-cased text."""
        return self.tokenizer is not None and bool(self.tokenizer.lower_case)

    @property
    def notes(self) -> Sequence[str]:
        """What a person should know of how the splits came about."""
        return ()

    @property
    def unmeasured(self) -> str:
        """Why nothing can be measured on it, where it is for use only; "" otherwise."""
        return ""

    @classmethod
    def fetch(cls, config: Any, root: Path) -> list[Path]:
        """Write the hub's copy into the layout of the files below ``root``; what was written."""
        raise UserError(f"{cls.registered_name} has no copy on the hub to get")

    @abstractmethod
    def size(self, split: str) -> int:
        """Number of examples of a split; a UserError that lists the splits if there is none."""

    @abstractmethod
    def batches(self, split: str, *, seed: int, epoch: int, start: int = 0) -> Iterator[Any]:
        """The batches of one epoch from position ``start`` on.

        A pure function of its arguments: the same batches in the same order, so that any position
        can be reached again. The split ``train`` is shuffled by (seed, epoch); others keep one
        fixed order whatever seed and epoch are.
        """

    @abstractmethod
    def batch_count(self, split: str, *, seed: int, epoch: int) -> int:
        """Number of batches that ``batches`` yields from position 0."""

    @abstractmethod
    def save_vocabulary(self, folder: Path) -> None:
        """Write what turns text into ids and back, for a checkpoint that works alone."""

    def contents(self, split: str) -> Iterable[str | bytes] | None:
        """What a learner is shown of each example of a split, its target aside: a text, or the
        bytes of its values. Two examples with the same content are copies. None: not told."""
        return None

    def class_counts(self, split: str) -> Mapping[str, int]:
        """How often each class occurs in a split; none where there are no classes."""
        return {}

    def true_split(self, split: str) -> str:
        """The split under its true name: "val" for a test that is the validation split."""
        return split

    def examples(self, split: str) -> Examples:
        """The split as estimators learn it and are scored on it; the same at every call."""
        raise UserError(
            f"{type(self).__name__} gives batches only, and an estimator learns from whole splits",
            "Choose a model that is trained by gradient descent.",
        )


@dataclass
class Seq2SeqBatch:
    """Padded index batches of sentence pairs (``pad_id`` fills the right end).

    ``source`` [batch, source_length]; ``target_in`` [batch, target_length] starts with ``<sos>``;
    ``target_out`` is the same sentence one step ahead, ending in ``<eos>``. ``indices`` [batch] are
    the positions of the examples in their split. All int64 torch tensors.
    """

    source: Any
    target_in: Any
    target_out: Any
    indices: Any

    def to(self, device: Any) -> Seq2SeqBatch:
        return Seq2SeqBatch(
            self.source.to(device),
            self.target_in.to(device),
            self.target_out.to(device),
            self.indices.to(device),
        )


class TranslationDataset(Dataset):
    """Sentence pairs; also gives the text itself, which evaluators and ``predict`` need."""

    outputs: ClassVar[str] = "translations"

    @abstractmethod
    def sources(self, split: str) -> list[str]:
        """The source sentences as read (true case), in the order of ``Seq2SeqBatch.indices``."""

    @abstractmethod
    def references(self, split: str) -> list[str]:
        """The target sentences as read (true case), in the same order."""

    @abstractmethod
    def encode_source(self, text: str) -> list[int]:
        """Token ids of a source sentence, with ``<eos>`` at its end."""

    @abstractmethod
    def encode_target(self, text: str) -> list[int]:
        """Token ids of a target sentence, without ``<sos>`` and ``<eos>``."""

    @abstractmethod
    def decode_target(self, ids: list[int]) -> str:
        """The text of target ids; ``<sos>``, ``<eos>`` and ``<pad>`` are left out."""

    @abstractmethod
    def source_tokens(self, ids: list[int]) -> list[str]:
        """One printable label for each source id (for pictures)."""

    @abstractmethod
    def target_tokens(self, ids: list[int]) -> list[str]:
        """One printable label for each target id (for pictures)."""


IGNORE = -100
"""The target id of positions that are not predicted."""


@dataclass
class TokenBatch:
    """Token sequences and what is to be predicted at each position.

    ``tokens`` [batch, length]; ``targets`` [batch, length] holds the id that follows, or ``IGNORE``
    where nothing is to be predicted (padding, a prompt). ``starts`` [batch] is True for rows that
    begin a new text: a recurrent model that carries its state from batch to batch starts anew there
    (None: every row does). ``indices`` [batch]: positions of the examples in their split.

    Rows of several examples say which token belongs to which (``segments`` [batch, length]) and
    where it stands in its example (``positions`` [batch, length]); ``indices`` then has all
    examples of all rows.
    """

    tokens: Any
    targets: Any
    indices: Any
    starts: Any = None
    positions: Any = None
    segments: Any = None

    def to(self, device: Any) -> TokenBatch:
        return TokenBatch(
            self.tokens.to(device),
            self.targets.to(device),
            self.indices.to(device),
            *(
                None if more is None else more.to(device)
                for more in (self.starts, self.positions, self.segments)
            ),
        )


class TextDataset(Dataset):
    """Text for language models; also turns text into ids and back, for ``predict`` and samples."""

    outputs: ClassVar[str] = "continuations"

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Token ids of a text; a UserError names characters that the vocabulary lacks."""

    @abstractmethod
    def decode(self, ids: list[int]) -> str:
        """The text of token ids."""

    @abstractmethod
    def token_labels(self, ids: list[int]) -> list[str]:
        """One printable label for each id (for pictures)."""


@dataclass
class ArrayBatch:
    """Rows of a table, or images.

    ``inputs`` [batch, features] or [batch, channels, height, width], float32; ``targets`` [batch],
    int64 class numbers or float32 values; ``indices`` [batch]: positions of the examples in their
    split. ``clean``: the inputs without the noise that was added, where there is some.
    """

    inputs: Any
    targets: Any
    indices: Any
    clean: Any = None

    def to(self, device: Any) -> ArrayBatch:
        return ArrayBatch(
            self.inputs.to(device),
            self.targets.to(device),
            self.indices.to(device),
            None if self.clean is None else self.clean.to(device),
        )


class ArrayDataset(Dataset):
    """Tables and images: the same rows for NumPy estimators (``rows``) and torch (``batches``)."""

    outputs: ClassVar[str] = "predictions"

    @abstractmethod
    def rows(self, split: str) -> tuple[Any, Any]:
        """X [rows, features] as models see it (scaled; images flattened) and y [rows]."""

    @abstractmethod
    def clean_rows(self, split: str) -> Any:
        """X without the noise that the data set adds; ``rows(split)[0]`` where it adds none."""

    @abstractmethod
    def original(self, split: str, index: int) -> dict[str, str]:
        """One example as a person reads it: column names and cells (images: none)."""

    @abstractmethod
    def encode(self, line: str) -> Any:
        """X [1, features] of one line that a user gives: CSV cells, or the path of an image."""

    def encode_lines(self, lines: Iterator[str]) -> Iterator[Any]:
        """Of each row that a user gives :meth:`encode`'s X, None for an empty one, or the UserError
        that costs this row only. Lines of tables may begin with one that names their columns."""
        for line in lines:
            try:
                yield self.encode(line) if line.strip() else None
            except UserError as error:
                yield error

    def examples(self, split: str) -> Examples:
        return Examples(self.rows(split))
