"""The batches of an epoch are planned once, however often they are asked for."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scratchlab.cli import main
from tests.support.kinds import build, variants, write_files

PLANNED_IN = ("pairs", "prompted", "text_classes", "questions", "spans")
PLANNING = ("plan_batches", "pack", "by_length")


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Each call that plans an epoch, by what it shuffles with."""
    calls: list[Any] = []

    def counted(plan: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            calls.append(options.get("shuffle", arguments[-1]))
            return plan(*arguments, **options)

        return call

    for name in PLANNED_IN:
        module = importlib.import_module(f"scratchlab.data.kinds.{name}")
        for plan in PLANNING:
            if hasattr(module, plan):
                monkeypatch.setattr(module, plan, counted(getattr(module, plan)))
    return calls


def test_no_kind_of_data_set_plans_an_epoch_twice(tmp_path: Path, planned: list[Any]) -> None:
    files = write_files(tmp_path / "files")
    chosen = {(name, options.get("packing")): options for name, options in variants(files)}
    plans: Counter[str] = Counter()
    for (name, _), options in chosen.items():
        dataset = build(name, options, files, tmp_path / "cache")
        planned.clear()
        for epoch in (0, 1):
            count = dataset.batch_count("train", seed=3, epoch=epoch)
            for start in range(0, count, 2):  # as a loop that looks at its place in the epoch
                next(iter(dataset.batches("train", seed=3, epoch=epoch, start=start)))
                assert dataset.batch_count("train", seed=3, epoch=epoch) == count
            for _ in range(2):
                list(dataset.batches("val", seed=3, epoch=epoch))
        assert len(planned) == len(set(map(str, planned))), (name, planned)
        plans[name] = len(planned)
    assert {name for name, n in plans.items() if n} == {
        "parallel_text", "cnn_dailymail", "cnn_dailymail_pairs", "instructions", "wiki_spans",
        "birthplaces", "text_classification", "document_questions",
    }  # fmt: skip


def test_the_training_loop_plans_and_counts_batches_once_an_epoch(
    tmp_path: Path, planned: list[Any], monkeypatch: pytest.MonkeyPatch, tiny: list[str]
) -> None:
    from scratchlab.data.kinds.pairs import PairDataset

    counted: list[int] = []
    count = PairDataset.batch_count

    def batch_count(self: PairDataset, split: str, *, seed: int, epoch: int) -> int:
        counted.append(epoch)
        return count(self, split, seed=seed, epoch=epoch)

    monkeypatch.setattr(PairDataset, "batch_count", batch_count)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCRATCHLAB_CACHE", str(tmp_path / "cache"))
    assert main(["train", *tiny, "trainer.epochs=2", "evaluator=[]"]) == 0
    assert sorted(s for s in planned if s) == [(0, 0), (0, 1)]
    # Before training, for all updates that are to come; then once an epoch, not at each of them.
    assert counted.count(1) == 1 and len(counted) < 8
