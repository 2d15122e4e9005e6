"""Metrics of the evaluate library run scripts: only where the user says so, not a configuration."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from scratchlab.errors import UserError
from scratchlab.evaluation.text.hf_metric import TRUSTED, HubMetric

SCRIPT = """
import pathlib

import datasets
import evaluate

pathlib.Path({mark!r}).touch()


class Agreement(evaluate.Metric):
    def _info(self):
        kinds = {{"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}}
        return evaluate.MetricInfo(
            description="", citation="", inputs_description="", features=datasets.Features(kinds)
        )

    def _compute(self, predictions, references):
        same = sum(p == r for p, r in zip(predictions, references))
        return {{"share": same / len(references)}}
"""


@pytest.fixture()
def script(tmp_path: Path) -> tuple[Path, Path]:
    """A metric's script, and the file that it makes when it is run."""
    mark = tmp_path / "ran"
    path = tmp_path / "agreement" / "agreement.py"
    path.parent.mkdir()
    path.write_text(SCRIPT.format(mark=str(mark)))
    return path, mark


class Context:
    quick = False
    split = "test"

    def keep(self, name: str, **columns: Any) -> None:
        self.kept = columns


def test_a_script_that_only_a_configuration_names_is_not_run(
    script: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, mark = script
    monkeypatch.setenv(TRUSTED, "rouge,agreement")
    monkeypatch.chdir(path.parents[1])  # a folder of a trusted name is not the library's metric
    for metric in (str(path), str(path.parent), "agreement", "stranger/metric", "accuracy"):
        with pytest.raises(UserError, match=TRUSTED):
            HubMetric(HubMetric.Config(metric=metric))
    monkeypatch.delenv(TRUSTED)
    with pytest.raises(UserError, match="runs a script"):
        HubMetric(HubMetric.Config(metric="rouge"))
    assert not mark.exists()


def test_a_trusted_script_measures(
    script: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("evaluate")
    path, mark = script
    monkeypatch.setenv(TRUSTED, f"rouge, {path}")
    metric = HubMetric(HubMetric.Config(metric=str(path)))
    pairs = ([1, 2, 3, 4], [1, 2, 0, 4])
    monkeypatch.setattr(metric, "_pairs", lambda context: pairs)
    context: Any = Context()
    (found,) = metric.evaluate(context)
    assert (found.value, found.n, found.split) == (0.75, 4, "test")
    assert found.name == "agreement_share" and mark.exists()
    assert "evaluate" in sys.modules
