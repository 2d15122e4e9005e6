"""What the compiler keeps between runs is run, so nobody else may have written it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from scratchlab.errors import UserError
from scratchlab.run.temporary import use_own_folder
from scratchlab.training.compiling import check_compiler, compiled


def test_compiled_code_is_kept_in_a_folder_of_this_user_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRATCHLAB_CACHE", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    for user, kept in ((os.getuid(), True), (os.getuid() + 1, False)):
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
        monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
        monkeypatch.setattr("scratchlab.training.compiling.os.getuid", lambda user=user: user)
        compiled(nn.Linear(1, 1))
        folder = tmp_path if kept else use_own_folder()
        assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(folder / "compiled")


def test_a_machine_without_a_compiler_is_told_what_it_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from torch._inductor import config

    monkeypatch.setattr(config.cpp, "cxx", (None, "no-such-compiler"))
    with pytest.raises(UserError, match=r"trainer\.compile=true needs a C\+\+ compiler"):
        check_compiler(torch.device("cpu"))
    check_compiler(torch.device("cuda"))  # which has its own


UPDATES = """
import sys
from torch import nn, ones
from scratchlab.registry import build, find

for name in ("sgd", "adam", "adamw", "muon"):
    layer = nn.Linear(2, 2)
    method = build("optimizer", {"name": name, **find("optimizer", name).defaults()})
    optimizer = method.build(list(layer.named_parameters()))
    layer(ones(1, 2)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    optimizer.load_state_dict(optimizer.state_dict())
    assert layer.weight.grad is None
assert "torch._dynamo" not in sys.modules, "a second is lost"
"""


def test_updates_do_not_load_the_compiler() -> None:
    subprocess.run([sys.executable, "-c", UPDATES], check=True)
