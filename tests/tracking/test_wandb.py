"""Weights & Biases: offline and silent without an account, one run through all resumes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scratchlab.errors import MissingPackageError
from scratchlab.tracking.contract import RunInfo
from scratchlab.tracking.wandb import (
    Wandb,
    account_is_set_up,
    choose_mode,
    run_id,
    without_secrets,
)

SCRIPT = """
import sys
from pathlib import Path
from scratchlab.tracking.contract import RunInfo
from scratchlab.tracking.wandb import Wandb
folder, resumed, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
tracker = Wandb(Wandb.Config())
tracker.start(RunInfo("mt", "r1", folder, {"hub_token": "hf_verysecret"}, resumed_from=resumed))
for step in range(resumed + 1, last + 1):
    tracker.log(step, {"train/loss": 1 / step}, {"tokens_per_second": 1.0})
tracker.table("results", ["metric", "value"], [["BLEU", 41.5], ["note", "text"]])
tracker.finish("done")
"""


def test_without_an_account_two_starts_are_one_silent_offline_run(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    clean = {k: v for k, v in os.environ.items() if not k.startswith("WANDB") and k != "NETRC"}
    environment = {**clean, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    folder = tmp_path / "run"
    folder.mkdir()
    logged = [json.dumps({"step": s, "train/loss": 1 / s}) for s in range(1, 6)]
    (folder / "metrics.jsonl").write_text("\n".join(logged) + "\n")
    for resumed, last in ((0, 5), (5, 8)):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(folder), str(resumed), str(last)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=500,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    identity = run_id(folder)
    records = sorted((folder / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(records) == 2
    assert {path.name for path in records} == {f"run-{identity}.wandb"}
    for record in records:
        content = record.read_bytes()
        assert b"train/loss" in content
        assert b"hf_verysecret" not in content
    # A killed process leaves nothing in its file: the one that goes on says it all.
    later = max(records, key=lambda path: path.stat().st_mtime_ns).read_bytes()
    assert all(repr(1 / step).encode() in later for step in range(2, 9))


def test_an_account_is_recognised_by_key_or_netrc(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path)}
    assert not account_is_set_up(environment)
    assert account_is_set_up({**environment, "WANDB_API_KEY": "k"})
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine example.org login user password x\n")
    netrc.chmod(0o600)
    assert not account_is_set_up(environment)
    netrc.write_text("machine api.wandb.ai login user password x\n")
    assert account_is_set_up(environment)
    assert not account_is_set_up({**environment, "WANDB_BASE_URL": "https://wandb.example.org"})
    netrc.write_text("this is no netrc file\n")
    assert not account_is_set_up(environment)


def test_the_mode_asked_for_wins_over_the_environment_and_that_over_the_account(
    tmp_path: Path,
) -> None:
    account = {"HOME": str(tmp_path), "WANDB_API_KEY": "k"}
    assert choose_mode("auto", {"HOME": str(tmp_path)}) == "offline"
    assert choose_mode("auto", account) == "online"
    assert choose_mode("auto", {**account, "WANDB_MODE": "disabled"}) == "disabled"
    assert choose_mode("offline", {**account, "WANDB_MODE": "online"}) == "offline"


def test_secrets_do_not_leave_the_machine_and_harmless_options_do() -> None:
    config = {
        "api_key": "abc",
        "dataset": {"hub_token": "abc", "max_token": 5, "tokenizer": "bpe", "tokens": 4096},
        "storage": "postgresql://user:pass@host:5432/db",
        "list": [{"password": "abc"}],
        "secret": None,
    }
    assert without_secrets(config) == {
        "api_key": "(hidden)",
        "dataset": {"hub_token": "(hidden)", "max_token": 5, "tokenizer": "bpe", "tokens": 4096},
        "storage": "postgresql://host:5432/db",
        "list": [{"password": "(hidden)"}],
        "secret": None,
    }


def test_without_the_package_there_is_one_line_that_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingPackageError, match="pip install 'scratchlab\\[wandb\\]'"):
        Wandb(Wandb.Config()).start(RunInfo("mt", "r1", tmp_path))
