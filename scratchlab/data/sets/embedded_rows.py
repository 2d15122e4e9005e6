"""Small tables that scikit-learn ships: no network, no files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scratchlab.data.contract import Provenance
from scratchlab.data.kinds.rows import Raw, RowOptions, RowsDataset
from scratchlab.registry import register


def read_bunch(loader: str, description: str, target: str, **options: Any) -> Raw:
    """What a loader of ``sklearn.datasets`` returns as raw rows."""
    from sklearn import datasets

    bunch = getattr(datasets, loader)(**options)
    X = np.asarray(bunch.data, dtype=np.float64)
    y = np.asarray(bunch.target)
    digest = hashlib.sha256(X.tobytes() + y.tobytes()).hexdigest()
    classes = tuple(str(name) for name in bunch.get("target_names", ()))
    return Raw(
        X=X,
        y=y.astype(np.int64) if classes else y.astype(np.float64),
        feature_names=tuple(str(name) for name in bunch.feature_names),
        class_names=classes,
        target_name=target,
        provenance=Provenance("embedded", f"{description} (scikit-learn)", {loader: digest}),
    )


@register(
    "dataset", "wine_cultivars", task="classification", sources=("embedded",), holds=("rows",)
)
class WineCultivars(RowsDataset):
    """Chemical analysis of 178 wines from three cultivars (13 features)."""

    @dataclass(frozen=True)
    class Config(RowOptions):
        pass

    def read(self, kept: Mapping[str, Any] | None) -> Raw:
        return read_bunch("load_wine", "178 wines", "cultivar")


@register("dataset", "breast_cancer", task="classification", sources=("embedded",), holds=("rows",))
class BreastCancer(RowsDataset):
    """Breast cancer Wisconsin: 569 cell samples, malignant or benign (30 features)."""

    @dataclass(frozen=True)
    class Config(RowOptions):
        pass

    def read(self, kept: Mapping[str, Any] | None) -> Raw:
        return read_bunch("load_breast_cancer", "569 cell samples", "diagnosis")


@register("dataset", "diabetes", task="regression", sources=("embedded",), holds=("rows",))
class Diabetes(RowsDataset):
    """Diabetes progression of 442 patients after a year (10 features)."""

    @dataclass(frozen=True)
    class Config(RowOptions):
        pass

    def read(self, kept: Mapping[str, Any] | None) -> Raw:
        # In years, kg/m² and so on: the usual scaling would have been learnt on test rows too.
        return read_bunch("load_diabetes", "442 patients", "progression", scaled=False)
