"""Labelled texts as rows of numbers, so that any estimator learns from them."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from scratchlab.data.contract import ArrayDataset, DataContext, Provenance, Spec
from scratchlab.data.kinds.text_classes import TextClassDataset
from scratchlab.errors import UserError
from scratchlab.regular_files import machine_memory
from scratchlab.representations.contract import (
    Matrix,
    Representation,
    load_representation,
    save_representation,
)

LOGGER = logging.getLogger(__name__)


class Represented(ArrayDataset):
    """A data set of labelled texts under a representation that its training texts were fitted on.

    X of :meth:`rows` is sparse where the representation is; with ``dense`` it is an array, for
    estimators that cannot compute with sparse rows.
    """

    content_name = "texts"

    def __init__(
        self, texts: TextClassDataset, representation: Representation, context: DataContext,
        dense: bool,
    ) -> None:  # fmt: skip
        self.texts, self.representation, self.dense = texts, representation, dense
        self.registered_name = texts.registered_name  # type: ignore[misc]
        self.splits = texts.splits  # type: ignore[misc]
        self._rows: dict[str, Matrix] = {}
        if context.vocabulary is None:
            texts.require_classes()
            y = texts.labels("train")
            self._rows["train"] = representation.fit_transform(texts.texts("train"), y)
        else:
            load_representation(representation, context.vocabulary)
        self.features = len(representation.get_feature_names_out())

    @functools.cached_property
    def spec(self) -> Spec:  # type: ignore[override]
        return Spec(
            task="classification",
            n_classes=len(self.texts.classes),
            class_names=self.texts.class_names,
            n_features=self.features,
            unit="text",
        )

    @property
    def provenance(self) -> Provenance:  # type: ignore[override]
        return self.texts.provenance

    @property
    def notes(self) -> Sequence[str]:
        name = self.representation.registered_name
        return [*self.texts.notes, f"{name}: {self.features:,} features of a text"]

    def size(self, split: str) -> int:
        return self.texts.size(split)

    def contents(self, split: str) -> list[str]:
        return self.texts.contents(split)

    def class_counts(self, split: str) -> Mapping[str, int]:
        return self.texts.class_counts(split)

    def true_split(self, split: str) -> str:
        return self.texts.true_split(split)

    def save_vocabulary(self, folder: Path) -> None:
        self.texts.save_classes(folder)
        save_representation(self.representation, folder)

    def rows(self, split: str) -> tuple[Matrix, NDArray[np.int64]]:
        labels = self.texts.labels(split)
        if split not in self._rows:
            self._rows[split] = self.representation.transform(self.texts.texts(split))
        if self.dense and issparse(self._rows[split]):
            self._require_room()
            self._rows[split] = self._rows[split].toarray()
        return self._rows[split], labels

    def _require_room(self) -> None:
        """UserError if dense rows do not fit: those of all splits, and the estimator's copy."""
        texts = sum(self.texts.size(split) for split in self.splits)
        needed, there = 2 * texts * self.features * 8, machine_memory()
        if needed > there:
            raise UserError(
                f"{texts:,} texts of {self.features:,} features, of which this model needs every "
                f"zero, take {needed / 1e9:,.1f} GB; this machine has {there / 1e9:,.1f} GB",
                "Keep fewer terms (representation.max_features=2000, representation.min_df=5), or "
                "choose a model that computes with sparse rows: logistic, naive_bayes, perceptron.",
            )

    def clean_rows(self, split: str) -> Matrix:
        return self.rows(split)[0]

    def original(self, split: str, index: int) -> dict[str, str]:
        return self.texts.original(split, index)

    def encode(self, line: str) -> Matrix:
        """The row of a text [1, features]; one of which no term is known is said to be so."""
        row = self.representation.transform([line.strip()])
        found = row.nnz if issparse(row) else np.count_nonzero(row)
        if not found:
            LOGGER.warning("nothing of this text is known from training: its row is all zero")
        return row.toarray() if self.dense and issparse(row) else row

    def batches(self, split: str, *, seed: int, epoch: int, start: int = 0) -> Iterator[Any]:
        raise UserError(
            f"representation: {self.representation.registered_name} is for estimators, which learn "
            "from whole splits",
            "Leave representation=null for a model that is trained by gradient descent in torch.",
        )

    def batch_count(self, split: str, *, seed: int, epoch: int) -> int:
        return len(list(self.batches(split, seed=seed, epoch=epoch)))
