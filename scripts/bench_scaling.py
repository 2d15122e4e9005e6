"""What a second process brings: tokens/s of one training in one process and in two, on CPU cores.

    python scripts/bench_scaling.py [--updates 120] [--batch 24] [--rounds 5] [--quick]
                                    [--record [FOLDER]]

The model is nanoGPT's CPU setting on the embedded Python documentation (4 layers, width 128,
context 64). Compared are, with the same batch each update: one process with one thread; one with
two threads; two with one thread each that hold all weights (`trainer.strategy=ddp`), and two that
share them out (`fsdp`). Two processes that know nothing of each other, at half the batch each, show
what two could reach at best on this machine, since they share its memory and its caches alone: what
is missing to that is the time in which gradients are added up and in which one waits for the other.

A speed is the median over windows of twenty updates without the first; all settings take turns in
each round. Run it on a machine that is idle.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench_report import Spread, bench_parser, measuring

ROOT = Path(__file__).resolve().parents[1]
WINDOW = 20
ALONE, APART = "1 process, 1 thread", "2 apart, half the batch each"
GPT = [
    *("model=gpt", "model.d_model=128", "model.n_heads=4", "model.n_layers=4", "model.dropout=0"),
    *("dataset.block_size=64", "dataset.batching=random", "scheduler=constant", "device=cpu"),
    *("trainer.precision=fp32", f"trainer.log_every={WINDOW}", "evaluate=false", "tracker=[jsonl]"),
    *("trainer.validate_every=1000000", "trainer.validation_batches=1", "pictures=false"),
]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def start(folder: Path, name: str, count: int, threads: int, *words: str) -> subprocess.Popen[str]:
    """A training in ``count`` processes with so many threads each."""
    launch = [sys.executable, *(TORCHRUN if count > 1 else [])]
    place = [f"output_dir={folder}", f"cache_dir={folder}/cache", "name=scaling", f"run_id={name}"]
    command = [*launch, "-m", "scratchlab", "train", *GPT, *place, f"threads={threads}", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def speed(folder: Path, name: str, process: subprocess.Popen[str]) -> float:
    """Tokens/s of a training once it has ended."""
    said = process.communicate()[1]
    if process.returncode:
        raise SystemExit(f"{name}: {said}")
    lines = (folder / "scaling" / name / "timings.jsonl").read_text(encoding="utf-8").splitlines()
    found = [entry["targets_per_second"] for entry in map(json.loads, lines)
             if "targets_per_second" in entry]  # fmt: skip
    return statistics.median(found[1:] or found)


def one_round(folder: Path, number: int, updates: int, batch: int) -> dict[str, float]:
    """Tokens/s of each setting."""
    steps = f"trainer.max_steps={updates}"
    settings = {
        ALONE: (1, 1, "ddp"),
        "1 process, 2 threads": (1, 2, "ddp"),
        "2 processes, ddp": (2, 1, "ddp"),
        "2 processes, fsdp": (2, 1, "fsdp"),
    }
    found = {}
    for index, (label, (count, threads, strategy)) in enumerate(settings.items()):
        name = f"{number}-{index}"
        words = [steps, f"dataset.batch_size={batch}", f"trainer.strategy={strategy}"]
        found[label] = speed(folder, name, start(folder, name, count, threads, *words))
    names = [f"{number}-alone-{seed}" for seed in (0, 1)]
    half = [steps, f"dataset.batch_size={batch // 2}"]
    apart = [start(folder, n, 1, 1, *half, f"seed={s}") for s, n in enumerate(names)]
    found[APART] = sum(map(speed, [folder] * 2, names, apart))
    return found


def main() -> None:
    parser = bench_parser(__doc__, threads=False)
    parser.add_argument("--updates", type=int, default=120)
    parser.add_argument("--batch", type=int, default=24, help="rows of 64 tokens an update")
    parser.add_argument("--rounds", type=int, default=5)
    with (
        measuring(parser, elsewhere=True) as (options, report),
        tempfile.TemporaryDirectory() as folder,
    ):
        if options.quick:
            options.updates, options.batch, options.rounds = 2 * WINDOW, 4, 1
        if options.batch % 2 or options.updates < 2 * WINDOW:
            parser.error(f"--batch is even, --updates at least {2 * WINDOW}")
        title = f"{options.updates} updates of {options.batch} × 64 tokens"
        columns = ("tokens/s ↑", "× 1 thread", "exchange and waiting (%) ↓")
        with report.table(title, "setting", *columns) as table:
            rounds = [
                one_round(Path(folder), number, options.updates, options.batch)
                for number in range(options.rounds)
            ]
            found = {label: Spread(one[label] for one in rounds) for label in rounds[0]}
            alone, apart = (float(found[label]) for label in (ALONE, APART))
            for label, speed in found.items():
                lost = 100 * (1 - float(speed) / apart) if label.startswith("2 processes") else None
                table.row(label, speed, float(speed) / alone, lost)


if __name__ == "__main__":
    main()
