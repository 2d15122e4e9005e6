"""What a plan says of memory is what an update takes, and the largest batch is the largest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scratchlab.commands.inspect import _number
from scratchlab.config.compose import compose
from scratchlab.config.reading import read_yaml
from scratchlab.errors import ConfigError, UserError
from scratchlab.evaluation.cost.kinds import GB, KINDS, RESERVED, USABLE, Device
from scratchlab.evaluation.cost.peak import Live
from scratchlab.lab import plan
from scratchlab.lab.parts import build_parts
from scratchlab.lab.plan import Planned, duration, plan_of, settled
from scratchlab.lab.train import already_done, train

CPU = Device("cpu", 0, {"fp32": 1e11}, on_cpu=True)


def config_of(tmp_path: Path, *words: str) -> dict[str, Any]:
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over the lazy dog\n" * 200)
    own = ["model=gpt", "model.d_model=32", "model.n_heads=4", "model.n_layers=2",
           "dataset=text_file", f"dataset.paths=[{tmp_path / 'text.txt'}]",
           "dataset.tokenizer=char", "dataset.block_size=32", "dataset.batch_size=8",
           "model.dropout=0.0", f"cache_dir={tmp_path / 'cache'}", "threads=1"]  # fmt: skip
    return compose([*own, *words]).config


def with_room(bytes_: int, **more: Any) -> Device:
    return Device("cpu", int(bytes_ / USABLE) + RESERVED + 2, {"fp32": 1e11}, **more)


@pytest.mark.parametrize(
    "words",
    [
        ("trainer.accumulate=2",),
        ("method=lora",),
        ("model=transformer_mt", "dataset=phrasebook_en_fr", "dataset.train_pairs=60"),
        ("model=cnn", "dataset=digits"),
    ],
)
def test_shapes_alone_take_what_numbers_take(words: tuple[str, ...], tmp_path: Path) -> None:
    if words[0].startswith("model="):
        config = compose([*words, "model.dropout=0.0", f"cache_dir={tmp_path}", "threads=1"]).config
    else:
        config = config_of(tmp_path, *words)
    planned = Planned.of(config)
    parts = build_parts(config)
    model, task, rows = parts.model, parts.task, 6
    model.train()
    batch = task.example_batch(rows, planned.length)
    with Live(model) as live:
        for _ in range(config["trainer"]["accumulate"]):
            loss = task.loss(model, batch)
            (loss.total / loss.count).backward()
            del loss
    assert planned.passing(rows) == pytest.approx(live.peak, rel=0.02)
    trained = [p for p in model.parameters() if p.requires_grad]
    assert planned.gradients == sum(p.numel() * 4 for p in trained)


def test_one_row_more_than_the_largest_batch_has_no_room(tmp_path: Path) -> None:
    planned = Planned.of(config_of(tmp_path))
    for rows in (1, 3, 50, 200):
        device = with_room(planned.needed(rows, CPU), on_cpu=True)
        found = planned.largest(device)
        assert found == rows
        assert planned.needed(found + 1, device) > device.room
    assert planned.largest(with_room(planned.needed(1, CPU) - 2000, on_cpu=True)) == 0
    everything = planned.largest(with_room(1 << 40, on_cpu=True))
    assert everything == planned.dataset.size("train") // 32


def test_several_devices_share_the_rows_and_with_fsdp_the_weights(tmp_path: Path) -> None:
    planned = Planned.of(config_of(tmp_path, "model.n_layers=6"))
    alone = planned.needed(16, CPU)
    ddp, fsdp = (planned.needed(16, CPU, 4, way) for way in (False, True))
    assert fsdp < ddp < alone
    assert ddp == planned.needed(4, CPU) + planned.gradients
    device = with_room(ddp, on_cpu=True)
    assert planned.largest(device, 4) == 16
    assert planned.largest(device, 4, fsdp=True) > 16


def test_lower_precision_keeps_smaller_activations(tmp_path: Path) -> None:
    planned = Planned.of(config_of(tmp_path))
    fp32, bf16 = (planned.passing(64, precision) for precision in ("fp32", "bf16"))
    assert 0.4 * fp32 < bf16 < 0.95 * fp32


def test_a_plan_tells_time_and_cost_from_operations(tmp_path: Path) -> None:
    config = config_of(tmp_path, "trainer.max_steps=1000", "trainer.precision=fp32")
    numbers = {"flops": 1e9, "memory": 2e9, "devices": 2.0, "share": 0.5, "price": 3.0}
    table, notes = plan_of(config, None, numbers)
    rows = {row[0]: row[1:] for row in table.rows}
    planned = Planned.of(config)
    seconds = planned.flops() * 1000 / (2 * 1e9 * 0.5)
    assert rows["updates"] == ["1,000"] * 2
    assert rows["time"] == [duration(seconds)] * 2
    assert rows["cost"] == [f"{2 * 3 * seconds / 3600:,.2f}"] * 2
    assert rows["fits"][0].startswith("yes") and "50%" in notes[1]
    small, _ = plan_of(config, "h100", {"memory": 1.001e9})
    rows = {row[0]: row[1] for row in small.rows}
    assert rows["fits"].startswith("no") or rows["largest dataset.batch_size"] != "none"
    assert "in fp32" in small.title


def test_what_cannot_be_planned_is_said(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    with pytest.raises(UserError, match=r"flops=… and memory=…"):
        plan_of(config, None, {"devices": 2.0})
    with pytest.raises(UserError) as raised:
        plan_of(config, "h10", {})
    assert "h100" in raised.value.hint
    with pytest.raises(UserError, match="trained in batches"):
        Planned.of(compose(["model=linear"]).config)
    with pytest.raises(UserError, match="does not compute in it"):
        plan_of(config_of(tmp_path, "trainer.precision=bf16"), "t4", {})


def test_numbers_have_units() -> None:
    assert _number("flops", "312T") == 312e12 and _number("memory", "80GB") == 80e9
    assert _number("price", "2.5") == 2.5 and _number("devices", "8") == 8
    for key, value in (("share", "2"), ("devices", "1.5"), ("price", "-1"), ("memory", "eighty")):
        with pytest.raises(UserError, match=f"{key}="):
            _number(key, value)


def test_the_kinds_are_ordered_sizes_and_rates() -> None:
    for device in KINDS.values():
        assert 10 * GB < device.memory < 300 * GB
        assert device.flops["fp16"] > device.flops["fp32"] > 1e12


def test_auto_is_the_largest_batch_that_fits_and_stays_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needed = Planned.of(config_of(tmp_path)).needed(5, CPU)
    monkeypatch.setattr(plan, "memory_of", lambda device: with_room(needed, on_cpu=True))
    words = ["dataset.batch_size=auto", "trainer.precision=fp32", "evaluator=[]", "pictures=false",
             f"output_dir={tmp_path}", "run_id=one", "trainer.max_steps=2"]  # fmt: skip
    config = config_of(tmp_path, *words)
    folder = train(config, words, ["train"])
    assert read_yaml(folder / "config.yaml")["dataset"]["batch_size"] == 5
    assert "dataset.batch_size=auto: 5, which needs" in capsys.readouterr().err
    named = config_of(tmp_path, *words[1:], "dataset.batch_size=5", "run_id=two")
    weights = "checkpoints/last/model.safetensors"
    other = train(named, words, ["train"])
    assert (folder / weights).read_bytes() == (other / weights).read_bytes()

    monkeypatch.setattr(plan, "memory_of", lambda device: with_room(2 * needed, on_cpu=True))
    again = config_of(tmp_path, *words, "resume=true")
    assert already_done(again, words) == folder
    longer = config_of(tmp_path, *words[:-1], "resume=true", "trainer.max_steps=4")
    train(longer, words, ["train"])
    assert read_yaml(folder / "config.yaml")["dataset"]["batch_size"] == 5


def test_auto_is_refused_where_one_row_has_no_room_and_where_it_means_nothing(
    tmp_path: Path,
) -> None:
    config = config_of(tmp_path, "dataset.batch_size=auto", "trainer.precision=fp32")
    device = with_room(1000, on_cpu=True)
    with pytest.raises(UserError, match=r"dataset.batch_size=auto: not one row has room"):
        settled(config, device)
    with pytest.raises(ConfigError, match="eval_batch_size"):
        config_of(tmp_path, "dataset.eval_batch_size=auto")
    pairs = compose(["model=transformer_mt", "dataset.batch_tokens=auto", "dataset.train_pairs=60",
                     f"cache_dir={tmp_path}", "trainer.precision=fp32"]).config  # fmt: skip
    planned = Planned.of({**pairs, "dataset": {**pairs["dataset"], "batch_tokens": 1}})
    found, said = settled(pairs, with_room(planned.needed(7, CPU), on_cpu=True))
    assert found["dataset"]["batch_tokens"] == 7 * 2 * planned.length
    assert said.startswith(f"dataset.batch_tokens=auto: {14 * planned.length:,}, which needs")
    measured = build_parts(pairs).dataset  # nothing is trained
    assert next(measured.batches("val", seed=0, epoch=0)).source.numel()
