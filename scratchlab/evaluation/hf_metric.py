"""Any metric of the evaluate library, by its name or from a local folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scratchlab.errors import UserError
from scratchlab.evaluation.answers import answers
from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.registry import option, register


@register("evaluator", "hf_metric", needs=("evaluate",), extra="pretrained")
class HubMetric(Evaluator):
    """A metric of the evaluate library on generated answers or predicted classes.

    The library runs the metric's own script: name only metrics that you trust.
    """

    @dataclass(frozen=True)
    class Config:
        metric: str = option("rouge", "name of the metric, or the path of its script or folder")
        settings: dict[str, Any] = option({}, "further arguments of its compute function")
        better: str = option("higher", "which way it improves", choices=("higher", "lower"))
        new_tokens: int = option(64, "tokens of an answer at most", min=1)
        examples: int | None = option(None, "first examples of the split only; null: all", min=1)

    config: Config

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
        try:
            found = metric.compute(predictions=predicted, references=references, **config.settings)
        except Exception as error:  # metrics raise whatever does not suit them
            raise UserError(f"hf_metric: {config.metric}: {error}") from error
        better: Any = config.better
        return [
            Measurement(
                f"{config.metric.rstrip('/').rpartition('/')[2]}_{name}", float(value), "", better,
                n=len(predicted), split=context.split, settings={"library": "evaluate"},
            )
            for name, value in (found or {}).items()
            if isinstance(value, int | float)
        ]  # fmt: skip

    def _pairs(self, context: EvaluationContext) -> tuple[list[Any], list[Any]]:
        dataset: Any = context.dataset
        if dataset.spec.task == "classification":
            from scratchlab.evaluation.predictions import predictions

            found = predictions(context)
            return found.values.tolist(), found.truth.tolist()
        written = answers(context, self.config.examples, self.config.new_tokens)
        return written, dataset.references(context.split)[: len(written)]
