"""Sentence pairs made ready for a model: tokenised, cached, batched."""

from __future__ import annotations

import copy
import functools
import logging
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from scratchlab.data.batching.bpe_dropout import DropoutEncoder
from scratchlab.data.batching.cache import Arrays, cached, content_key
from scratchlab.data.batching.encoded_texts import content_of, encode_all
from scratchlab.data.batching.plans import (
    Lengths,
    Plan,
    Plans,
    Ragged,
    Shuffle,
    padding_share,
    plan_batches,
)
from scratchlab.data.batching.prepared import Split, json_array, pack_split, read_json, unpack_split
from scratchlab.data.contract import (
    DataContext,
    Seq2SeqBatch,
    Spec,
    TranslationDataset,
)
from scratchlab.data.kinds.base import Kind
from scratchlab.data.sources.locating import Located, Splits
from scratchlab.data.tokenizers.contract import Tokenizer
from scratchlab.data.tokenizers.files import from_json, read_vocabulary, write_vocabulary
from scratchlab.data.tokenizers.learned import Pieces
from scratchlab.data.tokenizers.learning import learn
from scratchlab.data.tokenizers.pretrained import load_pretrained_tokenizer
from scratchlab.errors import UserError
from scratchlab.random_streams import SUBSET_STREAM, generator

log = logging.getLogger(__name__)

# Options that change nothing of what is prepared.
NOT_PREPARED = frozenset(("batch_tokens", "eval_batch_tokens", "pool_size", "bpe_dropout"))


class PairDataset(Kind, TranslationDataset):
    """A :class:`TranslationDataset` whose subclasses only say where their pairs come from.

    ``config`` has the options of ``TextOptions`` (:mod:`scratchlab.data.sets.translation`). With
    ``context.vocabulary`` the text is not read before it is asked for, so a checkpoint translates
    where its data set is not.

    Lengths count as the model sees them: a source with ``<eos>``, a target with ``<sos>`` or
    ``<eos>``; neither is ever longer than ``max_length``. Training pairs that are longer are
    dropped or shortened (option ``too_long``); pairs of other splits are always shortened. What was
    done stands in ``notes`` and in the log.
    """

    content_name = "source sentences"

    def __init__(self, config: Any, context: DataContext) -> None:
        super().__init__(config, context)
        self._dropout: tuple[DropoutEncoder, DropoutEncoder] | None = None
        self._dropped_out: tuple[tuple[int, int], Ragged, Ragged] | None = None
        if context.vocabulary is not None:
            stored = read_vocabulary(context.vocabulary)
            self.source_tokenizer, self.target_tokenizer = stored.source, stored.target
            self.max_length = stored.max_length
        else:
            self.max_length = config.max_length
            self.source_tokenizer, self.target_tokenizer = self._prepared[1:]

    @classmethod
    @abstractmethod
    def locate(cls, config: Any, context: DataContext) -> Located:
        """Find the raw data (UserError if it is not there); hash it, but do not parse it yet."""

    # --- what models and checkpoints need -------------------------------------------------------

    @property
    def shared_vocabulary(self) -> bool:
        return self.source_tokenizer is self.target_tokenizer

    @property
    def lower_cased(self) -> bool:
        """Whether outputs are lower-cased, so that scores must compare lower-cased text."""
        return self.target_tokenizer.lower_case

    @functools.cached_property
    def spec(self) -> Spec:  # type: ignore[override]
        return Spec(
            task="seq2seq",
            vocab_size=len(self.target_tokenizer),
            source_vocab_size=len(self.source_tokenizer),
            shared_vocabulary=self.shared_vocabulary,
            unk_id=self.target_tokenizer.unk_id,
            pad_id=self.target_tokenizer.pad_id,
            sos_id=self.target_tokenizer.sos_id,
            eos_id=self.target_tokenizer.eos_id,
            max_length=self.max_length,
            max_source_length=self.max_length,
            unit=self.target_tokenizer.unit,
            tokenizer=self.target_tokenizer.kind,
        )

    def save_vocabulary(self, folder: Path) -> None:
        write_vocabulary(folder, self.source_tokenizer, self.target_tokenizer, self.max_length)

    # --- text -----------------------------------------------------------------------------------

    def contents(self, split: str) -> list[str] | None:
        return self.sources(split) if self.has(split) else None

    def sources(self, split: str) -> list[str]:
        return self.of_split(self._prepared[0], split).sources

    def references(self, split: str) -> list[str]:
        return self.of_split(self._prepared[0], split).references

    def encode_source(self, text: str) -> list[int]:
        """As the contract says; a text too long for the model loses its end, with a warning."""
        ids = self.source_tokenizer.encode(text)
        if len(ids) >= self.max_length:
            log.warning(
                "a text of %d tokens is cut to %d (dataset.max_length): its end is not read",
                len(ids) + 1, self.max_length,
            )  # fmt: skip
        return [*ids[: self.max_length - 1], self.source_tokenizer.frame[2]]

    def encode_target(self, text: str) -> list[int]:
        return self.target_tokenizer.encode(text)

    def decode_target(self, ids: list[int]) -> str:
        return self.target_tokenizer.decode(ids)

    def source_tokens(self, ids: list[int]) -> list[str]:
        return self.source_tokenizer.labels(ids)

    def target_tokens(self, ids: list[int]) -> list[str]:
        return self.target_tokenizer.labels(ids)

    # --- batches --------------------------------------------------------------------------------

    def has(self, split: str) -> bool:
        """Whether there is such a split."""
        return split in self._prepared[0]

    def ids(self, split: str) -> tuple[Ragged, Ragged]:
        """Ids of sources and targets without padding and sentence ends, without BPE-dropout."""
        found = self.of_split(self._prepared[0], split)
        return found.source, found.target

    def size(self, split: str) -> int:
        return len(self.of_split(self._prepared[0], split).source)

    def batch(self, split: str, planned: Any, *, seed: int, epoch: int) -> Seq2SeqBatch:
        source, target = self._ids(split, seed, epoch)
        return _batch(source, target, planned, *self.target_tokenizer.frame)

    def padding_share(self, split: str, *, seed: int = 0, epoch: int = 0) -> float:
        """The share of padding in the batches of one epoch, source and target together, 0 to 1."""
        plan = self.plan(split, seed, epoch)
        return padding_share(plan, *_lengths(*self._ids(split, seed, epoch)))

    def lengths(self, split: str) -> tuple[Lengths, Lengths]:
        """Lengths [n] of sources and targets as the model sees them, without BPE-dropout."""
        return _lengths(*self.ids(split))

    def plan_epoch(self, split: str, shuffle: Shuffle) -> Plan:
        config = self.config
        tokens = config.batch_tokens
        if split != "train" and config.eval_batch_tokens is not None:
            tokens = config.eval_batch_tokens
        lengths = _lengths(*self._ids(split, *(shuffle or (0, 0))))
        return plan_batches(
            *lengths, batch_tokens=tokens, shuffle=shuffle, pool_size=config.pool_size
        )

    def _ids(self, split: str, seed: int, epoch: int) -> tuple[Ragged, Ragged]:
        found = self.of_split(self._prepared[0], split)
        if split != "train" or self.config.bpe_dropout == 0:
            return found.source, found.target
        if self._dropped_out is None or self._dropped_out[0] != (seed, epoch):
            source, target = (
                encoder.encode(seed, epoch, side).shortened(self.max_length - 1)
                for side, encoder in enumerate(self._dropout_encoders(found))
            )
            self._dropped_out = ((seed, epoch), source, target)
        return self._dropped_out[1:]

    def _dropout_encoders(self, train: Split) -> tuple[DropoutEncoder, DropoutEncoder]:
        if self._dropout is None:
            source, target = self.source_tokenizer, self.target_tokenizer
            if not isinstance(source, Pieces) or not isinstance(target, Pieces):
                raise UserError(
                    f"bpe_dropout needs BPE tokens, but the vocabulary holds {target.kind} tokens",
                    "Set dataset.bpe_dropout=0.",
                )
            probability = self.config.bpe_dropout
            self._dropout = (
                DropoutEncoder(source, train.sources, probability),
                DropoutEncoder(target, train.references, probability),
            )
        return self._dropout

    # --- other targets --------------------------------------------------------------------------

    def with_targets(self, split: str, texts: Sequence[str], keep: bool = False) -> PairDataset:
        """This data set with ``texts`` as the targets of a split, tokenized with its vocabulary;
        ``keep``: beside those that are there, so that each source is there twice."""
        splits, *tokenizers = self._prepared
        old = self.of_split(splits, split)
        ids = [self.target_tokenizer.encode(text)[: self.max_length - 1] for text in texts]
        new = Split(old.source, Ragged.of(ids), lambda: (old.sources, list(texts)))
        found = copy.copy(self)
        together = old.joined(new) if keep else new
        found.__dict__["_prepared"] = ({**splits, split: together}, *tokenizers)
        found._remarks, found._plans = list(self._remarks), Plans()
        found._dropout = found._dropped_out = None
        return found

    # --- preparation ----------------------------------------------------------------------------

    @functools.cached_property
    def _prepared(self) -> tuple[dict[str, Split], Tokenizer, Tokenizer]:
        located = self.located
        options = {k: v for k, v in asdict(self.config).items() if k not in NOT_PREPARED}
        given = self.context.vocabulary
        key = content_key(
            options=options,
            data=located.provenance.sha256,
            vocabulary=read_vocabulary(given).sha256 if given else None,
            **self._checkpoint_key(),
        )
        arrays = cached(self.context.cache, self.registered_name, key, self._build)
        splits = {name: unpack_split(arrays, name) for name in read_json(arrays, "splits")}
        self.remark(read_json(arrays, "notes"))
        if given is not None:
            return splits, self.source_tokenizer, self.target_tokenizer
        described = read_json(arrays, "tokenizers")
        read = [from_json(d, self.registered_name) for d in described]
        return splits, read[0], read[-1]

    def _checkpoint_key(self) -> dict[str, str]:
        """What a tokenizer of a checkpoint adds to the key: its content, whatever its name."""
        if self.context.vocabulary is not None or self._given_tokenizer is None:
            return {}
        return {"checkpoint": content_of(self._given_tokenizer)}

    def _build(self) -> Arrays:
        config, located = self.config, self.located
        splits, notes = self._selected(located.read())
        notes = [*located.notes, *notes]
        if self.context.vocabulary is not None:
            source_tokenizer, target_tokenizer = self.source_tokenizer, self.target_tokenizer
        else:
            source_tokenizer, target_tokenizer = self._train_tokenizers(splits)
        arrays: Arrays = {}
        for name, pairs in splits.items():
            sources, references = [p[0] for p in pairs], [p[1] for p in pairs]
            source = encode_all(source_tokenizer, sources)
            target = encode_all(target_tokenizer, references)
            longest = self.max_length - 1
            fits = np.maximum(source.lengths, target.lengths) <= longest
            long = int((~fits).sum())
            if long and name == "train" and config.too_long == "drop":
                notes.append(f"{long:,} of {len(pairs):,} training pairs dropped as too long")
                if not fits.any():
                    raise UserError(
                        f"no training pair fits into max_length={self.max_length}",
                        "Raise dataset.max_length.",
                    )
                sources, references = (list(compress(t, fits)) for t in (sources, references))
                source, target = source.where(fits), target.where(fits)
            elif long:
                notes.append(f"{long:,} of {len(pairs):,} pairs of {name} shortened as too long")
                source, target = source.shortened(longest), target.shortened(longest)
            arrays |= pack_split(name, sources, references, source, target)
        arrays["splits"] = json_array(list(splits))
        arrays["notes"] = json_array(notes)
        tokenizers = [source_tokenizer, target_tokenizer]
        if source_tokenizer is target_tokenizer:
            tokenizers.pop()
        arrays["tokenizers"] = json_array([t.to_json() for t in tokenizers])
        return arrays

    def _selected(self, raw: Splits) -> tuple[Splits, list[str]]:
        """The splits in order, turned round and reduced as the options say."""
        config, notes = self.config, []
        chosen: Splits = {}
        for name in self.splits:
            if name not in raw:
                continue
            pairs = raw[name]
            limit = vars(config)[f"max_{name}_examples"]
            if limit is not None and limit < len(pairs):
                notes.append(f"{limit:,} of {len(pairs):,} pairs of {name} taken by chance")
                random = generator(SUBSET_STREAM)
                pairs = [pairs[i] for i in sorted(random.permutation(len(pairs))[:limit].tolist())]
            chosen[name] = [(t, s) for s, t in pairs] if config.reverse else pairs
        if "train" not in chosen and self.context.vocabulary is None:
            raise UserError(
                f"{self.registered_name} has no training split", "It is needed for a vocabulary."
            )
        return chosen, notes

    @functools.cached_property
    def _given_tokenizer(self) -> Tokenizer | None:
        """That of a checkpoint, where the options ask for it."""
        if self.config.tokenizer != "pretrained":
            return None
        return load_pretrained_tokenizer(self.config.checkpoint, self.context.cache, decoder=True)

    def _train_tokenizers(self, splits: Splits) -> tuple[Tokenizer, Tokenizer]:
        config = self.config
        if self._given_tokenizer is not None:
            return self._given_tokenizer, self._given_tokenizer
        source = [s for s, _ in splits["train"]]
        target = [t for _, t in splits["train"]]

        def learned(texts: list[str]) -> Tokenizer:
            return learn(config.tokenizer, lambda: texts, config.vocab_size, config.min_frequency)

        if config.shared_vocabulary:
            both = learned([*source, *target])
            return both, both
        return learned(source), learned(target)


def _batch(
    source: Ragged, target: Ragged, rows: Any, pad: int, start: int, end: int
) -> Seq2SeqBatch:
    """The pairs of ``rows``; padding, start and end are the same ids on both sides."""
    import torch  # needed for batches only: describing a data set goes without

    chosen_source, chosen_target = source.take(rows), target.take(rows)
    return Seq2SeqBatch(
        source=torch.from_numpy(chosen_source.padded(pad, last=end)),
        target_in=torch.from_numpy(chosen_target.padded(pad, first=start)),
        target_out=torch.from_numpy(chosen_target.padded(pad, last=end)),
        indices=torch.from_numpy(rows.copy()),
    )


def _lengths(source: Ragged, target: Ragged) -> tuple[Lengths, Lengths]:
    """Lengths with the one special token that each side has."""
    return source.lengths + 1, target.lengths + 1
