"""Tables and images in memory: split, scaled on the training rows, batched for torch.

A subclass says where its raw rows come from (:meth:`RowsDataset.read`). What was learnt from the
training rows (scaling, the names of classes, how cells become numbers) is saved with every
checkpoint, so that a run is evaluated and asked with exactly the features it was trained on.
"""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from scratchlab.config.reading import read_json, require
from scratchlab.data.batching.plans import Plan, Shuffle
from scratchlab.data.contract import ArrayBatch, ArrayDataset, DataContext, Provenance, Spec
from scratchlab.data.kinds.base import Kind
from scratchlab.data.kinds.giveaways import giveaways
from scratchlab.data.kinds.scaling import Scaling, learn_scaling
from scratchlab.data.sources.numerals import Reading
from scratchlab.data.sources.table_lines import read_rows
from scratchlab.data.splits.folds import FoldOptions, deal
from scratchlab.data.splits.rows import grouped_rows, rows_of, split_rows
from scratchlab.errors import UserError, shortened
from scratchlab.registry import option
from scratchlab.run.atomic import write_json

PREPARATION = "preparation.json"
PREPARATION_SCHEMA = {
    "scaling": {"centre": "list[float]", "spread": "list[float]", "fill": "list[float]"},
    "own": "dict[str, Any]",
    "spec": "dict[str, Any]",
}


@dataclass(frozen=True)
class RowOptions(FoldOptions):
    """How rows are split, scaled and batched."""

    scale: str = option(
        "standard",
        "features, learnt on train: mean 0 and deviation 1, 0 to 1, or as they are",
        choices=("standard", "minmax", "none"),
    )
    test_fraction: float = option(
        0.2, "share of all rows to test on", above=0, below=1, when={"folds": None}
    )
    val_fraction: float = option(
        0.1, "share of the other rows to validate on; 0: train on all of them", min=0, below=1
    )
    split_seed: int | None = option(
        0, "seed of the division into splits; null: the run's seed", min=0
    )
    duplicates: str = option(
        "keep",
        "rows with the same features; keep: each is drawn alone, as scikit-learn does; group: all "
        "are in one split",
        choices=("keep", "group"),
    )
    batch_size: int = option(
        32, "rows of a training batch (models in torch)", min=1, auto="the largest that fits"
    )
    eval_batch_size: int = option(256, "rows of an evaluation batch; changes no score", min=1)


@dataclass
class Raw:
    """All rows of a data set as they were read.

    ``X`` [rows, features]; ``y`` [rows], class numbers where ``class_names`` has any, else values.
    ``given`` maps splits that the source itself has to row numbers; what it lacks is split off.
    ``cells`` are the rows as a person reads them (default: the features). ``preparation`` is kept
    in checkpoints beside the scaling.
    """

    X: NDArray[Any]
    y: NDArray[Any]
    feature_names: tuple[str, ...]
    provenance: Provenance
    class_names: tuple[str, ...] = ()
    target_name: str = "target"
    image_shape: tuple[int, int, int] | None = None
    given: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    cells: Sequence[list[str]] | None = None
    columns: tuple[str, ...] = ()
    missing: Mapping[str, int] = field(default_factory=dict)
    preparation: dict[str, Any] = field(default_factory=dict)


class RowsDataset(Kind, ArrayDataset):
    """An :class:`ArrayDataset` whose subclasses only read; ``config`` has ``RowOptions``."""

    drops_columns: ClassVar[bool] = False  # whether the option `drop` leaves columns out

    def __init__(self, config: Any, context: DataContext) -> None:
        super().__init__(config, context)
        self._kept = _read_preparation(context.vocabulary) if context.vocabulary else None

    @abstractmethod
    def read(self, kept: Mapping[str, Any] | None) -> Raw:
        """All rows; ``kept`` is the ``preparation`` of the checkpoint in use, to be followed."""

    # --- what was read --------------------------------------------------------------------------

    @functools.cached_property
    def raw(self) -> Raw:
        raw = self.read(self._kept["own"] if self._kept else None)
        if len(raw.X) == 0:
            raise UserError(f"{self.registered_name}: there are no rows")
        names = raw.class_names
        if names and len(np.unique(raw.y)) < 2 and self._kept is None:
            raise UserError(
                f"{self.registered_name}: all rows have the class {names[int(raw.y[0])]!r}",
                f"A classifier needs at least two classes in {raw.target_name!r}.",
            )
        if self._kept and len(self._kept["scaling"]["centre"]) != raw.X.shape[1]:
            raise UserError(
                f"{self.registered_name} has {raw.X.shape[1]} features, but the run was trained "
                f"with {len(self._kept['scaling']['centre'])}",
                "Evaluate on data of the same columns.",
            )
        return raw

    @functools.cached_property
    def row_numbers(self) -> dict[str, NDArray[np.int64]]:
        """The rows of each split."""
        found = self._divide()
        return {**found, "train": found["train"][: self.train_rows]}

    @property
    def train_rows(self) -> int | None:
        """How many of the training rows are used; None: all."""
        return None

    def _divide(self) -> dict[str, NDArray[np.int64]]:
        raw, config = self.raw, self.config
        strata = raw.y if raw.class_names else None
        given = dict(raw.given)
        if config.folds is not None:
            return self._divide_into_folds(strata)
        if {"train", "val", "test"} <= set(given):
            return given
        test = 0.0 if "test" in given else config.test_fraction
        pool = given.get("train", np.arange(len(raw.X)))
        found = split_rows(
            None if strata is None else strata[pool],
            len(pool),
            0.0 if "val" in given else config.val_fraction,
            test,
            self._split_seed,
        )
        if config.duplicates == "group":
            keys = [hash(content) for content in rows_of(raw.X[pool])]
            found = grouped_rows(found, keys, None if strata is None else strata[pool])
        return {s: given[s] if s in given and s != "train" else pool[found[s]] for s in found}

    def _divide_into_folds(self, strata: NDArray[Any] | None) -> dict[str, NDArray[np.int64]]:
        config, X = self.config, self.raw.X
        if self.raw.given:
            raise UserError(
                f"dataset.folds: {self.registered_name} has splits of its own "
                f"({', '.join(self.raw.given)}), which folds would mix",
                "Leave dataset.folds=null, or give all rows as one file.",
            )
        keys = [hash(content) for content in rows_of(X)] if config.duplicates == "group" else None
        classes = None if strata is None else strata.tolist()
        dealt = deal(
            range(len(X)) if keys is None else keys, classes, config.folds, self._split_seed
        )
        rest = np.flatnonzero(dealt != config.fold)
        of_rest = None if strata is None else strata[rest]
        found = split_rows(of_rest, len(rest), config.val_fraction, 0.0, self._split_seed)
        if keys is not None:
            found = grouped_rows(found, [keys[row] for row in rest.tolist()], of_rest)
        test = np.flatnonzero(dealt == config.fold)
        return {"train": rest[found["train"]], "val": rest[found["val"]], "test": test}

    @property
    def _split_seed(self) -> int:
        seed: int | None = self.config.split_seed
        return self.context.seed % 2**32 if seed is None else seed

    @functools.cached_property
    def scaling(self) -> Scaling:
        if self._kept is not None:
            return Scaling.from_json(self._kept["scaling"])
        return self.learn_scaling(self.raw.X[self.row_numbers["train"]])

    def learn_scaling(self, X: NDArray[Any]) -> Scaling:
        """The scaling of the training rows X [rows, features]."""
        return learn_scaling(X, self.config.scale)

    @property
    def own_preparation(self) -> dict[str, Any]:
        """What ``read`` learnt, of the checkpoint in use if there is one."""
        return dict(self._kept["own"]) if self._kept is not None else self.raw.preparation

    # --- the contract ---------------------------------------------------------------------------

    @functools.cached_property
    def spec(self) -> Spec:  # type: ignore[override]
        if self._kept is not None:
            return self._kept["spec"]
        raw = self.raw
        return Spec(
            task="classification" if raw.class_names else "regression",
            n_classes=len(raw.class_names) or None,
            class_names=raw.class_names,
            n_features=raw.X.shape[1],
            feature_names=raw.feature_names,
            image_shape=raw.image_shape,
            unit="image" if raw.image_shape else "row",
        )

    @property
    def located(self) -> Raw:
        return self.raw

    @property
    def notes(self) -> list[str]:
        return [*self.raw.notes, *self._giveaways]

    @functools.cached_property
    def _giveaways(self) -> list[str]:
        """Notes on features that alone tell the target."""
        raw, numbers = self.raw, self.row_numbers
        if raw.image_shape is not None:
            return []
        held_out = np.concatenate([numbers["val"], numbers["test"]])
        found = giveaways(
            self.columns(), raw.y, numbers["train"], held_out, classes=bool(raw.class_names)
        )
        advice = f": dataset.drop=[{','.join(found)}]" if self.drops_columns else ""
        return [
            f"{name} alone tells {raw.target_name} of all held-out rows: is it known beforehand? "
            f"If not, leave it out{advice}"
            for name in found
        ]

    def columns(self) -> Mapping[str, NDArray[Any]]:
        """Each column of the source as numbers [rows]; of a category, its place in their order."""
        return dict(zip(self.raw.feature_names, self.raw.X.T, strict=True))

    def size(self, split: str) -> int:
        return len(self._rows_of(split))

    def rows(self, split: str) -> tuple[NDArray[Any], NDArray[Any]]:
        if split not in self._scaled:
            numbers = self._rows_of(split)
            self._scaled[split] = (self.scaling.apply(self.inputs(split)), self.raw.y[numbers])
        return self._scaled[split]

    def inputs(self, split: str) -> NDArray[Any]:
        """X [rows, features] of a split before scaling (what a data set with noise overrides)."""
        return self.raw.X[self._rows_of(split)]

    @property
    def content_name(self) -> str:  # type: ignore[override]
        return f"{self.spec.unit}s"

    def class_counts(self, split: str) -> Mapping[str, int]:
        names, numbers = self.raw.class_names, self.raw.y[self._rows_of(split)]
        counts = np.bincount(numbers, minlength=len(names)).tolist() if names else []
        return {name: count for name, count in zip(names, counts, strict=True) if count}

    def contents(self, split: str) -> Iterable[bytes]:
        """Features as read: no noise, no scaling."""
        return rows_of(self.raw.X[self._rows_of(split)])

    def clean_rows(self, split: str) -> NDArray[Any]:
        return self.rows(split)[0]

    def original(self, split: str, index: int) -> dict[str, str]:
        raw, number = self.raw, int(self._rows_of(split)[index])
        if raw.cells is not None:
            return dict(zip(raw.columns, raw.cells[number], strict=True))
        if raw.image_shape is not None:
            return {}
        values = raw.X[number]
        return {n: f"{v:.6g}" for n, v in zip(raw.feature_names, values, strict=True)}

    def encode(self, line: str) -> NDArray[Any]:
        """One line without a header."""
        (found,) = self.encode_lines(iter([line]))
        if isinstance(found, UserError):
            raise found
        return found

    def encode_lines(self, lines: Iterator[str]) -> Iterator[Any]:
        names = self.spec.feature_names
        for row in read_rows(lines, names):
            if row is None or isinstance(row, UserError):
                yield row
                continue
            values = [Reading().number(cell) for cell in row.cells]
            if None in values:
                place = values.index(None)
                where = f"{row.where}, column {names[place]!r}"
                yield UserError(f"{where}: {shortened(row.cells[place])} is no number")
                continue
            yield self.scaling.apply(np.array([values], dtype=np.float64))

    def batch_count(self, split: str, *, seed: int, epoch: int) -> int:
        size = self.config.batch_size if split == "train" else self.config.eval_batch_size
        return -(-self.size(split) // size)

    def plan_epoch(self, split: str, shuffle: Shuffle) -> Plan:
        order = np.arange(self.size(split))
        if shuffle is not None:
            np.random.default_rng(shuffle).shuffle(order)
        size = self.config.batch_size if split == "train" else self.config.eval_batch_size
        return Plan(order, [(i, min(i + size, len(order))) for i in range(0, len(order), size)])

    def batch(self, split: str, planned: NDArray[np.int64], *, seed: int, epoch: int) -> ArrayBatch:
        """The rows of a split with these numbers as tensors."""
        X, y = self.rows(split)
        return self.to_batch(X[planned], y[planned], planned)

    def to_batch(
        self,
        X: NDArray[Any],
        y: NDArray[Any],
        rows: NDArray[np.int64],
        clean: NDArray[Any] | None = None,
    ) -> ArrayBatch:
        """X and ``clean`` [n, features], y [n] as the tensors that models and tasks read."""
        import torch

        shape = self.spec.image_shape or (X.shape[1],)

        def tensor(values: NDArray[Any]) -> Any:
            return torch.from_numpy(values.astype(np.float32)).view(len(values), *shape)

        targets = y.astype(np.int64) if self.spec.n_classes else y.astype(np.float32)
        return ArrayBatch(
            inputs=tensor(X),
            targets=torch.from_numpy(targets),
            indices=torch.from_numpy(np.asarray(rows, dtype=np.int64)),
            clean=None if clean is None else tensor(clean),
        )

    def save_vocabulary(self, folder: Path) -> None:
        content = {
            "scaling": self.scaling.to_json(),
            "own": self.own_preparation,
            "spec": self.spec.as_dict(),
        }
        write_json(folder / PREPARATION, content)

    @functools.cached_property
    def _scaled(self) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
        return {}

    def _rows_of(self, split: str) -> NDArray[np.int64]:
        return self.of_split(self.row_numbers, split)


def _read_preparation(folder: Path) -> dict[str, Any] | None:
    path = folder / PREPARATION
    if not path.exists():
        hint = "Only a run on a table or on images has it."
        raise UserError(f"{path} is missing", hint)
    content = require(read_json(path), PREPARATION_SCHEMA, path)
    columns = {len(numbers) for numbers in content["scaling"].values()}
    if len(columns) != 1:
        raise UserError(f"{path}: scaling: the lists are not of one length")
    for name, numbers in content["scaling"].items():
        least = 0 if name == "spread" else -math.inf
        wrong = [n for n in numbers if not least < n < math.inf]
        if wrong:
            raise UserError(f"{path}: scaling.{name}: {wrong[0]} cannot be")
    content["spec"] = Spec.from_json(content["spec"], path)
    return content
