"""Nothing is written outside a run: through links, by climbing names, or where its file says so."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from scratchlab.cli import main
from scratchlab.commands.trained import read_run
from scratchlab.config.compose import change, compose
from scratchlab.errors import ConfigError, UserError
from scratchlab.run.folder import RunFolder, read_config, refuse_links
from scratchlab.studies.sweep.journal import locked
from scratchlab.tracking.contract import RunInfo
from scratchlab.tracking.jsonl import Jsonl

WORDS = ["model=linear", "model.solver=gradient", "model.epochs=3", "dataset=diabetes"]
WORDS += ["name=x", "run_id=one", "tracker=[jsonl]"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    assert main(["train", *WORDS, f"output_dir={folder}"]) == 0
    return folder / "x/one"


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "outputs/x/one"))


@pytest.mark.parametrize(
    "name",
    ["metrics.jsonl", "timings.jsonl", "train.log", "checkpoints", "tables", "plots", ".lock"],
)
def test_a_run_does_not_go_on_through_a_link(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    foreign = tmp_path / "foreign"
    (run / name).rename(foreign) if name != ".lock" else foreign.write_text("")
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(foreign)
    before = {p: p.read_bytes() for p in [foreign, *foreign.rglob("*")] if p.is_file()}
    assert main(["train", f"resume={run}", "model.epochs=5"]) == 2
    assert f"{run / name} is a link" in capfd.readouterr().err
    assert {p: p.read_bytes() for p in [foreign, *foreign.rglob("*")] if p.is_file()} == before


@pytest.mark.parametrize("name", ["evaluations", "restored"])
def test_a_run_is_not_measured_into_a_link(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (run / name).symlink_to(foreign)
    assert main(["eval", str(run)]) == 2
    assert f"{run / name} is a link" in capfd.readouterr().err
    assert not any(foreign.iterdir())


def test_links_that_are_made_here_are_no_fault(run: Path) -> None:
    assert main(["eval", str(run)]) == 0
    assert (run / "evaluations/latest").is_symlink()
    (run / "wandb/offline-run").mkdir(parents=True)
    (run / "wandb/latest-run").symlink_to("offline-run")
    folder = RunFolder.open(run)
    folder.lock()
    folder.unlock()


def test_the_link_to_the_log_of_wandb_is_taken_away_and_what_it_leads_to_stays(
    run: Path, tmp_path: Path
) -> None:
    """W&B lays one into each of its folders; the log itself is in the user's cache."""
    log = tmp_path / "core-debug.log"
    log.write_text("of W&B's process\n")
    link = run / "wandb" / "offline-run-1" / "logs" / "debug-core.log"
    link.parent.mkdir(parents=True)
    link.symlink_to(log)
    refuse_links(run)
    assert not link.is_symlink() and log.read_text() == "of W&B's process\n"
    other = link.with_name("other.log")
    other.symlink_to(log)
    with pytest.raises(UserError, match="is a link"):
        refuse_links(run)


def test_a_lock_that_names_its_holder_keeps_nobody_out(tmp_path: Path) -> None:
    with locked(tmp_path / "study.journal", print):
        refuse_links(tmp_path)
    (tmp_path / "study.journal.lock").symlink_to("/somewhere:else")
    with pytest.raises(UserError, match="is a link"):
        refuse_links(tmp_path)


def test_the_metrics_of_a_copy_of_hard_links_are_its_own(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy, copy_function=os.link)
    before = (run / "metrics.jsonl").read_bytes()
    tracker = Jsonl(Jsonl.Config())
    tracker.start(RunInfo("x", "one", copy, resumed_from=1, metrics_bytes=40))
    tracker.finish("done")
    assert (copy / "metrics.jsonl").stat().st_size == 40
    assert (run / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize("name", ["../climbed", "/tmp/absolute", "a/../../b", ".."])
def test_a_study_lies_below_the_folder_of_outputs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps({"name": name, "runs": {"one": {"overrides": ["model=linear"]}}}))
    assert main(["suite", str(path), f"output_dir={tmp_path}/outputs"]) == 2
    assert "cannot be the name of a folder" in capfd.readouterr().err
    words = ["model=linear", "model.l2=1,2", f"name={name}", f"output_dir={tmp_path}/outputs"]
    assert main(["sweep", *words]) == 2
    assert "cannot be the name of a folder" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == [path]


def test_prepared_data_are_kept_where_the_command_or_the_machine_says(run: Path) -> None:
    config = read_config(run / "config.yaml") | {"cache_dir": "/somewhere/else"}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    given = read_run([str(run)], "", "eval")
    assert given is not None and given.config["cache_dir"] is None
    given = read_run([str(run), "cache_dir=/mine"], "", "eval")
    assert given is not None and given.config["cache_dir"] == "/mine"


def test_nothing_outside_the_configuration_is_looked_up_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIDDEN", "a-key")
    asking = ["description: ${oc.env:HIDDEN}", "model: {l2: '${oc.decode:${oc.env:HIDDEN}}'}"]
    for text in asking:
        path = tmp_path / "experiment" / "theirs.yaml"
        path.parent.mkdir(exist_ok=True)
        head = "# @package _global_\ndefaults: [{override /model: linear}]\n"
        path.write_text(f"{head}{text}\n")
        with pytest.raises(ConfigError, match="is not looked up") as refused:
            compose(["experiment=theirs"], config_dir=str(tmp_path))
        assert "a-key" not in str(refused.value)
    with pytest.raises(ConfigError, match="is not looked up"):
        compose(["model=linear", "description=${oc.env:HIDDEN}"])
    saved = compose(["model=linear"]).config
    with pytest.raises(ConfigError, match="is not looked up"):
        change(saved, ["description=${oc.env:HIDDEN}"])
    assert compose(["model=linear", "description=${model.name}"]).config["description"] == "linear"


def test_a_link_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "missing")
    tracker = Jsonl(Jsonl.Config())
    (tmp_path / "metrics.jsonl").symlink_to(tmp_path / "missing")
    with pytest.raises(UserError, match="it is a link"):
        tracker.start(RunInfo("x", "one", tmp_path))
    assert not (tmp_path / "missing").exists()
