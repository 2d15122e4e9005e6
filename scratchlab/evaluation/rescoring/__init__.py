"""Figures made again from what was kept of each example, without the model.

A measurement names its file and a statistic (``Measurement.examples``); :func:`statistic` makes it
from the columns of the file. ``examples`` means and shares, ``classes`` of classes and ranks,
``corpus`` BLEU and chrF. A new one is a function of the columns in ``STATISTICS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from scratchlab.errors import UserError, suggest
from scratchlab.evaluation.rescoring import classes, corpus, examples
from scratchlab.evaluation.rescoring.contract import Columns, Statistic

STATISTICS: dict[str, Callable[..., Statistic]] = {
    "share": examples.share,
    "mean": examples.mean,
    "count": examples.count,
    "ratio": examples.ratio,
    "perplexity": examples.perplexity,
    "psnr": examples.psnr,
    "error": examples.error,
    "classes": classes.classes,
    "roc_auc": classes.roc_auc,
    "spearman": classes.spearman,
    "bleu": corpus.bleu,
    "chrf": corpus.chrf,
}
# What ``Measurement.examples`` holds beside the options of the statistic.
OF_THE_FILE = ("file", "sha256", "data", "cut", "of", "statistic")


def statistic(examples: Mapping[str, Any], columns: Columns) -> Statistic:
    """The figure that ``Measurement.examples`` describes, of the columns of its file.

    Raises:
        UserError: the file lacks what it is made of, or nobody knows how it is made.
    """
    name = str(examples.get("statistic"))
    if name not in STATISTICS:
        raise UserError(
            f"is scored by {name!r}, which is not known here", suggest(name, STATISTICS)
        )
    options = {k: v for k, v in examples.items() if k not in OF_THE_FILE}
    try:
        return STATISTICS[name](columns, **options)
    except TypeError as error:  # an option that the statistic does not have
        raise UserError(f"is scored by {name} with options that it does not have") from error
