"""A checkpoint that brings code of its own, and a user who would say yes: nothing of it runs."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from scratchlab.data.contract import DataContext
from scratchlab.errors import UserError
from scratchlab.models.pretrained import FOLDER, load_inner

CODE = """
import pathlib

pathlib.Path({mark!r}).touch()
from transformers import GPT2Config, GPT2LMHeadModel


class StrangeConfig(GPT2Config):
    model_type = {kind!r}


class StrangeModel(GPT2LMHeadModel):
    config_class = StrangeConfig
"""


@pytest.mark.parametrize("kind", ["gpt2", "strange"])
@pytest.mark.parametrize("way", ["weights", "skeleton", "described"])
def test_code_of_a_checkpoint_is_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, way: str
) -> None:
    transformers: Any = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=11, n_positions=8)
    folder, mark = tmp_path / "checkpoint", tmp_path / "ran"
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    (folder / "code.py").write_text(CODE.format(mark=str(mark), kind=kind))
    described = json.loads((folder / "config.json").read_text())
    described |= {
        "model_type": kind,
        "auto_map": {
            "AutoConfig": "code.StrangeConfig",
            "AutoModelForCausalLM": "code.StrangeModel",
        },
    }
    for where in (folder, tmp_path / "run" / FOLDER):
        where.mkdir(parents=True, exist_ok=True)
        (where / "config.json").write_text(json.dumps(described))
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    context = DataContext(root=None, cache=tmp_path / "cache")
    run = tmp_path / "run" if way == "described" else None
    # A known kind is built as the library's own class; an unknown one is refused.
    outcome: Any = contextlib.nullcontext() if kind == "gpt2" else pytest.raises(UserError)
    with outcome:
        auto = transformers.AutoModelForCausalLM
        inner, _ = load_inner(auto, str(folder), context, run, way != "weights")
        assert type(inner).__module__.startswith("transformers.models.gpt2")
    assert not mark.exists()
