"""Scores of a whole corpus as sacrebleu computes them (Post 2018), with an interval."""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchlab.evaluation.contract import EvaluationContext, Measurement
from scratchlab.evaluation.intervals import FEW, bootstrap, give
from scratchlab.evaluation.outputs.translations import Translations, corpus_settings
from scratchlab.evaluation.rescoring.contract import Sums


def corpus_score(
    metric: Any, found: Translations, context: EvaluationContext, resamplings: int, sums: Any
) -> tuple[Any, Measurement]:
    """What ``metric`` of sacrebleu says of the translations: its score, and that as a measurement.

    ``sums`` makes a statistic of what sacrebleu counts in each sentence, whose interval is the
    score's. With ``resamplings`` the ends are percentiles of the scores of sacrebleu's own (Koehn
    2004), as the signature in the settings says. Of few texts, or where all score alike, there is
    none.
    """
    from sacrebleu.significance import _bootstrap_resample

    # What metric.corpus_score does, which keeps of the resamplings no more than half a width.
    statistics = metric._extract_corpus_statistics(found.hypotheses, [found.references])
    score = metric._aggregate_and_compute(statistics)
    measured = Measurement(
        "", float(score.score), better="higher", n=len(found.sources), split=context.split
    )
    if len(found.sources) >= FEW and not context.quick:
        if resamplings > 1:
            metric.n_bootstrap = resamplings
            metric.seed, drawn = _bootstrap_resample(statistics, metric, resamplings)
            low, high = np.percentile([one.score for one in drawn], (2.5, 97.5)).tolist()
            if low < high:
                measured.low, measured.high = low, high
                measured.interval = bootstrap(resamplings)
        else:
            statistic: Sums = sums(np.array(statistics, dtype=np.float64))
            give(measured, statistic)
    signature = str(metric.get_signature())
    measured.settings = {"signature": signature, **corpus_settings(context, found)}
    return score, measured
