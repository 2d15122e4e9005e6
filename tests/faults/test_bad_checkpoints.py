"""Files of a checkpoint that someone changed and sealed again: a result, or one line with file and
key; never a traceback, a hang, or weights that were turned into something else."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from scratchlab.cli import main

VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 10**12, 10**30, 1.5, float("nan"), "", "x", [], [[1]], {}, {"a": [None]},
    [[[[[[]]]]]], "é" * 3000,
)  # fmt: skip


def seal(folder: Path) -> None:
    """Make the hashes of a checkpoint those of its files again, as whoever changed them would."""
    path = folder / "state.json"
    content = json.loads(path.read_text())
    content.pop("sha256", None)
    for name in content["files"]:
        content["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    text = json.dumps(content, sort_keys=True).encode()
    path.write_text(json.dumps({**content, "sha256": hashlib.sha256(text).hexdigest()}))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to everything in nested mappings and lists (of a long list, to its beginning)."""
    found = [path] if path else []
    if isinstance(value, dict | list):
        keys = list(value)[:6] if isinstance(value, dict) else range(min(2, len(value)))
        for key in keys if path else list(value):
            found += places(value[key], (*path, key))
    return found


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy with another value at the end of ``path``; without it if ``new`` is ``...``."""
    value = copy.deepcopy(value)
    node = value
    for key in path[:-1]:
        node = node[key]
    if new is ...:
        del node[path[-1]]
    else:
        node[path[-1]] = new
    return value


def damaged_tensors(tensors: dict[str, torch.Tensor], draw: random.Random) -> dict[str, Any]:
    """One tensor of another type or shape, or under another name, or gone."""
    name = draw.choice(sorted(tensors))
    tensor = tensors[name]
    ways: list[Callable[[], torch.Tensor]] = [
        lambda: tensor.to(torch.int64),
        lambda: tensor.bool(),
        lambda: tensor.to(torch.complex64),
        lambda: tensor.reshape(-1)[:-1].clone(),
        lambda: torch.zeros(3, 4, 5),
        lambda: tensor.to(torch.uint8),
    ]
    way = draw.randrange(len(ways) + 2)
    rest = {n: t for n, t in tensors.items() if n != name}
    if way == len(ways):
        return rest
    return {**rest, name + ".x": tensor} if way > len(ways) else {**rest, name: ways[way]()}


def damage(folder: Path, name: str, draw: random.Random) -> str:
    """Change one thing in a file of a checkpoint; says what."""
    path = folder / name
    if path.suffix == ".safetensors":
        save_file(damaged_tensors(load_file(path), draw), path)
        return name
    is_yaml, written = path.suffix == ".yaml", path.read_text()
    content = yaml.safe_load(written) if is_yaml else json.loads(written)
    top = content["state"] if name == "state.json" else content
    at = draw.choice(places(top) or [()])
    new = draw.choice([*VALUES, ...])
    top = changed(top, at, new) if at else new
    content = {**content, "state": top} if name == "state.json" else top
    path.write_text(yaml.safe_dump(content) if is_yaml else json.dumps(content))
    return f"{name} {at} {str(new)[:30]}"


def answers(words: list[str], capsys: pytest.CaptureFixture[str], what: str) -> int:
    """Run a command here; what would be a traceback is raised."""
    capsys.readouterr()
    try:
        code = main(words)
    except Exception as error:
        raise AssertionError(f"{what}: {words}") from error
    shown = capsys.readouterr().err
    assert code == 0 or (code == 2 and "error: " in shown), (what, code, shown)
    assert all(len(line) < 2100 for line in shown.splitlines()), (what, shown)
    return code


NUMBER = int(os.environ.get("N", "2"))
LANGUAGE = [
    "trainer.max_steps=3", "dataset=text_file", "dataset.paths=[text.txt]", "dataset.block_size=8",
    "dataset.batch_size=2", "dataset.val_fraction=0.2", "trainer.precision=fp32",
]  # fmt: skip
RUNS: dict[str, list[str]] = {
    "translator": [],
    "gpt": ["model=gpt", "model.d_model=8", "model.n_heads=2", "model.n_layers=1", *LANGUAGE],
    "rnn": ["model=rnn_lm", "model.d_model=8", "model.n_layers=1", *LANGUAGE],
    "mlp": ["model=mlp", "model.hidden=[3]", "model.epochs=2", "dataset=wine_cultivars"],
    "table": ["model=logistic", "dataset=table", "dataset.path=table.csv", "model.epochs=2"],
}
FILES = {
    "translator": ["state.json", "vocabulary.json", "tokenizer.json", "config.yaml",
                   "model.safetensors", "optimizer.safetensors"],
    "gpt": ["text_tokenizer.json", "model.safetensors"],
    "rnn": ["optimizer.safetensors"],
    "mlp": ["state.json", "preparation.json", "model.safetensors", "config.yaml"],
    "table": ["preparation.json"],
}  # fmt: skip


@pytest.fixture(scope="module")
def run_of(trained: Any, tmp_path_factory: Any) -> Callable[[str], Path]:
    """The folder of a tiny run of each kind, trained when it is first asked for."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "text.txt").write_text("so much depends upon a red wheel barrow\n" * 20)
    rows = [f"{i % 7},{'ab'[i % 2]},{i % 3}" for i in range(60)]
    (folder / "table.csv").write_text("\n".join(["x,kind,y", *rows]) + "\n")

    def get(kind: str) -> Path:
        if kind == "translator":
            return Path(trained.path)
        run = folder / "outputs" / "runs" / kind
        if not run.exists():
            before = Path.cwd()
            os.chdir(folder)
            try:
                words = ["tracker=[]", "evaluate=false", "name=runs", f"run_id={kind}", "threads=1"]
                cache = f"cache_dir={folder / 'cache'}"
                assert main(["train", *RUNS[kind], *words, cache]) == 0
            finally:
                os.chdir(before)
        return run

    return get


def alone(run: Path, folder: Path) -> Path:
    """A copy of a run with nothing but its last checkpoint to go on from."""
    shutil.copytree(run, folder)
    for other in (folder / "checkpoints").iterdir():
        if other.name != "last":
            shutil.rmtree(other)
    return folder / "checkpoints" / "last"


MORE = ["evaluate=false", "tracker=[]"]
SIZE = ["evaluator=[size]", "tracker=[]"]


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k, names in FILES.items() for n in names])
def test_a_sealed_checkpoint_with_one_wrong_value_is_used_or_refused_in_a_line(
    run_of: Any, tmp_path: Path, capsys: Any, monkeypatch: Any, kind: str, name: str
) -> None:
    run = run_of(kind)
    monkeypatch.chdir(run.parents[2])
    draw = random.Random(f"{kind} {name}")
    grow = "model.epochs" if kind in ("mlp", "table") else "trainer.max_steps"
    for number in range(NUMBER):
        copied = tmp_path / "outputs" / "copies" / f"r{number}"
        last = alone(run, copied)
        what = damage(last, name, draw)
        seal(last)
        answers(["eval", str(last), *SIZE, f"output_dir={tmp_path}/e"], capsys, what)
        answers(["train", f"resume={copied}", f"{grow}=21", *MORE], capsys, what)
        shutil.rmtree(copied)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_weights_that_are_no_floats_are_refused_not_converted(
    run_of: Any, tmp_path: Path, capsys: Any, monkeypatch: Any, dtype: torch.dtype
) -> None:
    run = run_of("translator")
    monkeypatch.chdir(tmp_path)
    last = alone(run, tmp_path / "outputs" / "copies" / "one")
    tensors = load_file(last / "model.safetensors")
    name = max(tensors)
    save_file({**tensors, name: tensors[name].to(dtype)}, last / "model.safetensors")
    seal(last)
    assert main(["eval", str(last), *SIZE]) == 2
    shown = capsys.readouterr().err
    kind = str(dtype).removeprefix("torch.")
    assert f"{name} holds {kind} in the checkpoint and float32 in the model" in shown


@pytest.mark.parametrize("key", ["step", "epoch"])
def test_a_state_that_does_not_say_how_far_training_was_is_refused_in_a_line(
    run_of: Any, tmp_path: Path, capsys: Any, monkeypatch: Any, key: str
) -> None:
    run = run_of("mlp")
    monkeypatch.chdir(run.parents[2])
    last = alone(run, tmp_path / "outputs" / "copies" / "one")
    content = json.loads((last / "state.json").read_text())
    del content["state"][key]
    (last / "state.json").write_text(json.dumps(content))
    seal(last)
    assert main(["eval", str(last), *SIZE]) == 2
    assert f"state.json: state.{key} is missing" in capsys.readouterr().err


def test_a_width_far_from_that_of_the_weights_is_refused_before_memory_is_asked_for(
    run_of: Any, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    run = run_of("translator")
    monkeypatch.chdir(tmp_path)
    last = alone(run, tmp_path / "outputs" / "copies" / "one")
    config = yaml.safe_load((last / "config.yaml").read_text())
    config["model"]["d_model"] = 20_000
    (last / "config.yaml").write_text(yaml.safe_dump(config))
    seal(last)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert main(["eval", str(last), *SIZE]) == 2
    assert "20000" in (shown := capsys.readouterr().err) and "in the checkpoint" in shown
    # KiB: one matrix of that width has 1,562,500; what evaluating imports, here for the first time
    # perhaps, about 250,000.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000


@pytest.mark.parametrize("verb", ["train", "inspect"])
def test_sizes_beyond_any_machine_are_refused_by_arithmetic(
    tiny: list[str], tmp_path: Path, capsys: Any, monkeypatch: Any, verb: str
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [w for w in tiny if w != "train"]
    assert main([verb, *words, "model.d_model=1000000000"]) == 2
    assert "it has more numbers than can be counted" in capsys.readouterr().err


def test_a_position_beyond_the_epoch_ends_it_and_one_that_cannot_be_is_refused(
    run_of: Any, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    run = run_of("translator")
    monkeypatch.chdir(tmp_path)
    for number, position, code in ((1, 10**12, 0), (2, 10**30, 2), (3, -1, 2), (4, "7", 2)):
        copied = tmp_path / "outputs" / "copies" / f"r{number}"
        last = alone(run, copied)
        content = json.loads((last / "state.json").read_text())
        content["state"]["position"] = position
        (last / "state.json").write_text(json.dumps(content))
        seal(last)
        assert main(["train", f"resume={copied}", "trainer.max_steps=21", *MORE]) == code
        shown = capsys.readouterr().err
        assert code == 0 or ("state.json" in shown and "position" in shown), shown
        if code == 0:
            state = json.loads((copied / "checkpoints" / "last" / "state.json").read_text())
            assert state["state"]["step"] == 21 and state["state"]["position"] == 1
