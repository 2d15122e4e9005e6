"""Docstrings with the packages that they are of: labelled texts on every machine."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from scratchlab.data.batching.cache import Arrays, cached, content_key, pack_text, unpack_text
from scratchlab.data.contract import DataContext, Provenance
from scratchlab.data.kinds.text_classes import PartedOptions, TextClassDataset, parted
from scratchlab.data.sources.hub import fingerprint
from scratchlab.data.sources.locating import Located, Splits
from scratchlab.data.splits.folds import deal
from scratchlab.registry import register


@register(
    "dataset",
    "docstring_topics",
    task="classification",
    also=("masked_lm",),
    sources=("embedded",),
    holds=("texts",),
)
class DocstringTopics(TextClassDataset):
    """Which of twenty packages a docstring is of: Python, NumPy, SciPy, scikit-learn; built in.

    The docstrings' prose up to the first example, without the libraries' names. Near copies,
    which share three tenths of their runs of five words, are in one split.
    """

    @dataclass(frozen=True)
    class Config(PartedOptions):
        pass

    @classmethod
    def locate(cls, config: Any, context: DataContext) -> Located:
        from scratchlab.data.generated.docstring_topics import LIBRARIES, VERSION

        versions = {name: version(name) for name in LIBRARIES}
        key = content_key(topics=VERSION, python=sys.version, **versions)
        arrays = cached(context.cache, "docstring_topics", key, _topic_arrays)
        texts, packages = (
            unpack_text(arrays[name], arrays[f"{name}_offsets"]) for name in ("texts", "packages")
        )
        rows = list(zip(texts, packages, strict=True))
        group = config.duplicates == "group"
        keys = arrays["groups"].tolist() if group else list(range(len(rows)))
        described = f"docstrings of Python {sys.version.split()[0]}, NumPy, SciPy and scikit-learn"
        provenance = Provenance("embedded", described, {"texts": fingerprint(rows)})

        def read() -> Splits:
            if config.folds is not None:
                return parted(rows, config, context, keys=keys)
            # Some packages are small: classes alike many, which a random draw does not give.
            seed = context.seed if config.split_seed is None else config.split_seed
            dealt = deal(keys, packages, 10, seed).tolist()
            homes = {8: "val", 9: "test"}
            splits: Splits = {"train": [], "val": [], "test": []}
            for row, tenth in zip(rows, dealt, strict=True):
                splits[homes.get(tenth, "train")].append(row)
            return splits

        return Located(provenance, read)


def _topic_arrays() -> Arrays:
    """Texts, packages and groups of near copies, as they are kept between runs."""
    from scratchlab.data.generated.docstring_topics import docstring_topics

    texts, packages, groups = zip(*docstring_topics(), strict=True)
    arrays: Arrays = {"groups": np.array(groups, dtype=np.int64)}
    for name, side in (("texts", texts), ("packages", packages)):
        arrays[name], arrays[f"{name}_offsets"] = pack_text(side)
    return arrays
