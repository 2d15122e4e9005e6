"""Checkpoints and suites that someone made to do harm: one line, at once, in little memory, and
nothing written where they point."""

from __future__ import annotations

import json
import os
import pickle
import resource
import shutil
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from scratchlab.cli import main
from tests.faults.test_bad_checkpoints import seal

WORDS = ["train", "model=logistic", "dataset=wine_cultivars", "model.epochs=2", "threads=1"]
WORDS += ["tracker=[]", "pictures=false", "evaluate=false", "name=x", "run_id=one"]
SECONDS, MEMORY = 10, 300_000  # KiB


class Harm:
    """What a pickle would call when it is read."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("harmed",)


def tensors(header: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header


def shape(*sizes: int, end: int = 8) -> bytes:
    entry = {"dtype": "F32", "shape": list(sizes), "data_offsets": [0, end]}
    return tensors(json.dumps({"weight": entry}).encode()) + bytes(8)


def zipped(path: Path) -> None:
    """A thousand times as large once it is unpacked."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(50_000_000))


def linked(target: str) -> Callable[[Path], None]:
    def link(path: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return link


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def not_a_number(path: Path) -> None:
    config = yaml.safe_load(path.read_text())
    config["model"]["l2"] = float("nan")
    path.write_text(yaml.safe_dump(config))


def of(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


MODEL, STATE, CONFIG = "model.safetensors", "state.json", "config.yaml"
LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
MANY = "".join(f"k{n}: 1\n" for n in range(1_000_000))

# what is done -> (the file of the checkpoint, how)
CHECKPOINTS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a pickle": (MODEL, of(pickle.dumps(Harm()))),
    "a zip that unpacks without end": (MODEL, zipped),
    "a header of 2^60 bytes": (MODEL, of(tensors(b"{}", 2**60))),
    "a deep header": (MODEL, of(tensors(b"[" * 100_000))),
    "a giant shape": (MODEL, of(shape(2**31, 2**31))),
    "a shape that overflows": (MODEL, of(shape(2**62, 4, end=0))),
    "a negative size": (MODEL, of(shape(-1))),
    "offsets beyond the file": (MODEL, of(shape(2, end=2**50))),
    "weights without end": (MODEL, linked("/dev/zero")),
    "a pipe": (MODEL, piped),
    "a link to a file of the machine": (MODEL, linked("/etc/passwd")),
    "deep JSON": (STATE, of(b'{"a":' * 100_000)),
    "a state without end": (STATE, linked("/dev/zero")),
    "a number of 10^6 digits": (STATE, of(b'{"step": ' + b"9" * 1_000_000 + b"}")),
    "a piped state": (STATE, piped),
    "anchors that explode": (CONFIG, of(LAUGHS.encode())),
    "a million keys": (CONFIG, of(MANY.encode())),
    "a size that is no number": (CONFIG, not_a_number),
    "a call": (CONFIG, of(b"model: !!python/object/apply:os.mkdir [harmed]\n")),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    assert main([*WORDS, f"output_dir={folder}"]) == 0
    return folder / "x/one"


def refused(words: list[str], capfd: Any) -> str:
    """What a command says that is refused soon and in little memory."""
    capfd.readouterr()
    memory, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    assert main(words) == 2, words
    shown = capfd.readouterr().err
    assert time.process_time() - begun < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < MEMORY
    assert shown.count("error: ") == 1 and "Traceback" not in shown, shown
    assert all(len(line) < 1000 for line in shown.splitlines()), shown[:3000]
    return str(shown)


@pytest.mark.parametrize("case", CHECKPOINTS)
def test_a_hostile_checkpoint_is_refused_in_a_line(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any, case: str
) -> None:
    monkeypatch.chdir(tmp_path)
    name, harm = CHECKPOINTS[case]
    run = tmp_path / "outputs/x/one"
    shutil.copytree(whole, run)
    for role in ("best", "previous"):
        shutil.rmtree(run / "checkpoints" / role, ignore_errors=True)
    last = run / "checkpoints/last"
    harm(last / name)
    if name != STATE and (last / name).is_file():
        seal(last)  # so that it is read, and not only found to be another file
    if name == CONFIG:
        shutil.copy(last / name, run / name)
    for words in (
        ["eval", str(last), "evaluator=[size]", "tracker=[]", "output_dir=measured"],
        ["train", f"resume={run}", "model.epochs=4"],
    ):
        said = refused(words, capfd)
        assert any(text in said for text in (str(run), name, "model.l2")), said
    assert not list(tmp_path.rglob("harmed"))


RUNS = "runs: {one: {overrides: [model=logistic]}}\n"
SUITES: dict[str, bytes] = {
    "anchors that explode": f"{RUNS}{LAUGHS}".encode(),
    "a million keys": f"{RUNS}{MANY}".encode(),
    "deep lists": b"runs: " + b"[" * 100_000,
    "a call": b"runs: !!python/object/apply:os.mkdir [harmed]\n",
    "a name that climbs": b"name: ../../harmed\n" + RUNS.encode(),
    "a run that climbs": b"runs: {../../harmed: {overrides: [model=logistic]}}\n",
    "a device as its name": b"name: /dev/null\n" + RUNS.encode(),
    "seeds without end": RUNS.encode() + b"seeds: [" + b"1," * 400_000 + b"1]\n",
    "a seed that is no number": RUNS.encode() + b"seeds: [.nan]\n",
    "workers without end": RUNS.encode() + b"workers: 1e300\n",
    "runs that start from each other": b"runs: {a: {from: b}, b: {from: a}}\n",
    "the environment": b"runs: {one: {overrides: ['name=${oc.env:HOME}', model=logistic]}}\n",
}


@pytest.mark.parametrize("case", SUITES)
def test_a_hostile_suite_is_refused_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any, case: str
) -> None:
    here = tmp_path / "a/b"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    path = here / "theirs.yaml"
    path.write_bytes(SUITES[case])
    refused(["suite", "theirs.yaml"], capfd)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]
    assert not list(tmp_path.rglob("harmed"))


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/stdin/x", "pipe", "folder"])
def test_what_is_no_file_is_no_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("folder").mkdir()
    refused(["suite", name if name.startswith("/") else f"./{name}"], capfd)
