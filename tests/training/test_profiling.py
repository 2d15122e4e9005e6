"""``trainer.profile=true``: time by phase and a trace, and the same weights as without."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scratchlab.config.compose import compose
from scratchlab.lab.train import train
from scratchlab.training.profiling import TRACE


def trained(words: list[str], folder: Path, run_id: str, *more: str) -> Path:
    words = [*words, f"output_dir={folder}", f"run_id={run_id}", "pictures=false", *more]
    return train(compose([*words, "evaluator=[]"]).config, words, ["train"])


@pytest.mark.parametrize("updates", [6, 2])
def test_a_profile_tells_phases_and_operations_and_changes_no_weight(
    updates: int, tiny: list[str], tmp_path: Path
) -> None:
    words = [*tiny, f"trainer.max_steps={updates}", "trainer.accumulate=2"]
    watched = trained(words, tmp_path, "watched", "trainer.profile=true")
    plain = trained(words, tmp_path, "plain")
    weights = "checkpoints/last/model.safetensors"
    assert (watched / weights).read_bytes() == (plain / weights).read_bytes()
    assert not (plain / TRACE).exists()

    events = json.loads((watched / TRACE).read_text())["traceEvents"]
    recorded = min(updates, 3)
    names = [e["name"] for e in events if e.get("cat") == "user_annotation"]
    counts = {name: names.count(name) for name in ("forward", "backward", "optimizer")}
    assert counts == {"forward": 2 * recorded, "backward": 2 * recorded, "optimizer": recorded}
    assert any(e["name"] == "aten::mm" for e in events)

    table = (watched / "tables" / "profile.csv").read_text().splitlines()
    rows = {row.split(",")[0]: row.split(",")[1:] for row in table[1:]}
    assert {"batches", "forward", "backward", "optimizer", "trackers", "checkpoints"} <= set(rows)
    parts = sum(float(values[0]) for name, values in rows.items() if name != "all")
    assert parts == pytest.approx(float(rows["all"][0]), abs=0.001 * len(rows))
    operations = (watched / "tables" / "profile_operations.csv").read_text().splitlines()
    assert len(operations) == 13
    assert not any(line.startswith(("forward", "backward")) for line in operations)
