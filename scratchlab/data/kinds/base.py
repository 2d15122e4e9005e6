"""What every kind of data set does in the same way: find its records, look a split up, plan an
epoch once, batch what was planned, keep its vocabulary."""

from __future__ import annotations

import functools
import logging
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from scratchlab.data.batching.plans import Plans, Shuffle
from scratchlab.data.contract import DataContext, Dataset, Provenance, Spec, TextDataset
from scratchlab.data.sources.locating import Pair
from scratchlab.data.tokenizers.contract import Tokenizer
from scratchlab.data.tokenizers.files import write_text_tokenizer
from scratchlab.errors import UserError, suggest

log = logging.getLogger(__name__)
T = TypeVar("T")


class Found(Protocol):
    """What was found of the raw records: where they came from, and remarks on them."""

    provenance: Provenance
    notes: list[str]


class Kind(Dataset):
    """A data set of one kind; subclasses in ``sets/`` only say where their records come from.

    ``config`` has the options of the set, ``located`` what was found for them.
    """

    def __init__(self, config: Any, context: DataContext) -> None:
        self.config, self.context = config, context
        self._remarks: list[str] = []
        self._plans = Plans()

    @classmethod
    def locate(cls, config: Any, context: DataContext) -> Any:
        """Find the raw records (UserError if they are not there); reading them comes later."""
        raise NotImplementedError

    @functools.cached_property
    def located(self) -> Any:
        """What was found: it has a provenance and notes (:class:`Found`)."""
        return self.locate(self.config, self.context)

    @property
    def provenance(self) -> Provenance:  # type: ignore[override]
        found: Found = self.located
        return found.provenance

    @property
    def notes(self) -> list[str]:
        return list(self._remarks)

    def remark(self, notes: Sequence[str]) -> None:
        """Keep notes on the splits, and log them."""
        self._remarks += notes
        for note in notes:
            log.info("%s: %s", self.registered_name, note)

    def of_split(self, splits: Mapping[str, T], split: str) -> T:
        """What belongs to a split; a UserError that lists the splits if there is none."""
        if split not in splits:
            raise UserError(
                f"{self.registered_name} has no split {split!r}", suggest(split, splits, "Splits")
            )
        return splits[split]

    # --- batches --------------------------------------------------------------------------------

    def plan(self, split: str, seed: int, epoch: int) -> Any:
        """What :meth:`plan_epoch` gives, made once an epoch however often it is asked for."""
        return self._plans.of(split, seed, epoch, lambda shuffle: self.plan_epoch(split, shuffle))

    def plan_epoch(self, split: str, shuffle: Shuffle) -> Any:
        """A sequence with what :meth:`batch` needs for each batch; ``shuffle`` = (seed, epoch) for
        the training split, else None."""
        raise NotImplementedError

    def batch(self, split: str, planned: Any, *, seed: int, epoch: int) -> Any:
        """One batch of what was planned for it."""
        raise NotImplementedError

    def batch_count(self, split: str, *, seed: int, epoch: int) -> int:
        return len(self.plan(split, seed, epoch))

    def batches(self, split: str, *, seed: int, epoch: int, start: int = 0) -> Iterator[Any]:
        """As the contract says; a batch before ``start`` costs nothing."""
        plan = self.plan(split, seed, epoch)
        for position in range(start, len(plan)):
            yield self.batch(split, plan[position], seed=seed, epoch=epoch)


class TokenText(Kind, TextDataset):
    """A kind of text whose one tokenizer turns it into ids and back."""

    tokenizer: Tokenizer

    @property
    @abstractmethod
    def longest(self) -> int:
        """How many tokens a model must be able to read at once."""

    @functools.cached_property
    def spec(self) -> Spec:  # type: ignore[override]
        tokenizer = self.tokenizer
        return Spec(
            task="language_modeling",
            vocab_size=len(tokenizer),
            unk_id=tokenizer.unk_id,
            pad_id=tokenizer.pad_id,
            eos_id=tokenizer.eos_id,
            max_length=self.longest,
            unit=tokenizer.unit,
            tokenizer=tokenizer.kind,
        )

    def save_vocabulary(self, folder: Path) -> None:
        write_text_tokenizer(folder, self.tokenizer)

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text)

    def decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids)

    def token_labels(self, ids: list[int]) -> list[str]:
        return self.tokenizer.labels(ids)


class TextPairs(Kind):
    """A kind of two texts an example (a text and its answer or class) that are kept in memory;
    ``located.read`` gives them by split."""

    @functools.cached_property
    def pairs(self) -> dict[str, list[Pair]]:
        """The examples of each split, as many of them as the options want."""
        found = self.located.read()
        self.remark(self.located.notes)
        pairs = {split: self.ordered(split, found.get(split, [])) for split in self.splits}
        for split in self.splits:
            pairs[split] = pairs[split][: vars(self.config).get(f"{split}_examples")]
            if not pairs[split]:
                raise UserError(
                    f"{self.registered_name}: the split {split!r} has no {self.content_name}"
                )
        return pairs

    def ordered(self, split: str, pairs: list[Pair]) -> list[Pair]:
        """The examples of a split in the order in which the first ones are taken."""
        return pairs

    def texts(self, split: str) -> list[str]:
        """The texts of a split as read, in the order of its examples."""
        return [text for text, _ in self.of_split(self.pairs, split)]

    def contents(self, split: str) -> list[str]:
        return self.texts(split)

    def size(self, split: str) -> int:
        return len(self.of_split(self.pairs, split))
