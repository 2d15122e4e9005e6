"""Any metric of the evaluate library, by its name or from a local folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchlab.errors import UserError
from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.outputs.answers import answers
from scratchlab.registry import option, register
from scratchlab.regular_files import expanded

TRUSTED = "SCRATCHLAB_TRUSTED_METRICS"


def require_trust(metric: str) -> None:
    """UserError unless the environment names ``metric`` as trusted.

    The library runs the script of a metric, its own metrics included, so which one is loaded must
    be the user's word and never that of a configuration, which may be a stranger's. A folder or
    file is trusted by its path only: one that happens to bear a trusted name is not meant.
    """
    entries = [e.strip() for e in os.environ.get(TRUSTED, "").split(",") if e.strip()]
    paths = {expanded(e).resolve() for e in entries if os.sep in e}
    local = expanded(metric)
    if local.resolve() in paths if local.exists() or os.sep in metric else metric in entries:
        return
    shown = str(local.resolve()) if local.exists() else metric
    raise UserError(
        f"hf_metric: loading the metric {metric!r} runs a script that is not part of scratchlab",
        f"If you trust it, say so in the environment: {TRUSTED}={shown}",
    )


@register("evaluator", "hf_metric", needs=("evaluate",), extra="pretrained", decodes=True)
class HubMetric(Evaluator):
    """A metric of the evaluate library on generated answers or predicted classes.

    The library runs the metric's own script, so the environment must name it as trusted:
    ``SCRATCHLAB_TRUSTED_METRICS=rouge,/path/of/another``.
    """

    @dataclass(frozen=True)
    class Config:
        metric: str = option(
            "rouge", "name of the metric, or the path of its script or folder", path="name"
        )
        settings: dict[str, Any] = option({}, "further arguments of its compute function")
        better: str = option("higher", "which way it improves", choices=("higher", "lower"))
        new_tokens: int = option(64, "tokens of an answer at most", min=1)
        examples: int | None = option(None, "first examples of the split only; null: all", min=1)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        require_trust(config.metric)

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        if context.quick:
            return []
        import evaluate

        config = self.config
        try:
            metric = evaluate.load(config.metric)
        except Exception as error:  # the library raises its own, the hub's and plain errors
            text = (str(error).strip().splitlines() or [""])[0][:200]
            raise UserError(
                f"hf_metric: {config.metric!r} cannot be loaded ({text})",
                "Offline, give the path of the metric's folder: evaluator.hf_metric.metric=PATH.",
            ) from error
        predicted, references = self._pairs(context)
        context.keep("hf_metric", expected=references, said=predicted)
        try:
            found = metric.compute(predictions=predicted, references=references, **config.settings)
        except Exception as error:  # metrics raise whatever does not suit them
            raise UserError(f"hf_metric: {config.metric}: {error}") from error
        better: Any = config.better
        return [
            Measurement(
                f"{Path(config.metric).stem}_{name}", float(value), "", better,
                n=len(predicted), split=context.split, settings={"library": "evaluate"},
            )
            for name, value in (found or {}).items()
            if isinstance(value, int | float)
        ]  # fmt: skip

    def _pairs(self, context: EvaluationContext) -> tuple[list[Any], list[Any]]:
        dataset: Any = context.dataset
        if dataset.spec.task == "classification":
            from scratchlab.evaluation.outputs.predictions import predictions

            found = predictions(context)
            return found.values.tolist(), found.truth.tolist()
        written = answers(context, self.config.examples, self.config.new_tokens)
        return written, dataset.references(context.split)[: len(written)]
