"""Peak memory of training: a pretrained model by full fine-tuning, LoRA and QLoRA, and models from
scratch, beside what arithmetic says.

    python scripts/bench_memory.py [--checkpoint smollm2] [--batch 4] [--length 64] [--only lora …]
                                   [--repeats 3] [--quick] [--record [FOLDER]]

Each trains in a process of its own, two updates of AdamW on one batch in fp32. Measured is
the most that the process held from then on, less what it held before the model was there (Python,
torch, the tokenizer), with `keep_memory=false`; arithmetic is what `scratchlab inspect` counts for
the same batch: weights, gradients, optimizer state and activations. Activations go while gradients
come, so the peak is between weights, optimizer and the larger of the two (at least) and the sum of
all (at most), and above that by what products need for a moment (the logits' gradient, a matrix
that QLoRA makes anew from its 4 bits) and what the libraries load with the first step. `planned` is
what `scratchlab inspect kind=…` plans with: the update run on shapes alone, each tensor counted
from when it is made until it goes. Models from scratch are given eight times the rows. Linux only:
the high-water mark is set back once the model is loaded, so that reading the checkpoint does not
count.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench_report import Spread, bench_parser, measuring

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

PRETRAINED = ["model=smollm2", "dataset=docstrings", "dataset.train_examples=16"]
METHODS = {
    "full": [*PRETRAINED, "method=finetune"],
    "lora": [*PRETRAINED, "method=lora", "method.lora.targets=[linear]"],
    "qlora": [*PRETRAINED, "method=[nf4,lora]", "method.lora.targets=[linear]"],
    "gpt": ["model=gpt", "model.d_model=256", "dataset.block_size=128"],
    "transformer_mt": ["model=transformer_mt", "model.d_model=256", "dataset.train_pairs=500",
                       "task.label_smoothing=0.1"],
    "cnn": ["model=cnn"],
}  # fmt: skip
PARTS = ("weights", "gradients", "optimizer", "activations")
WHOLE = ("at least", "at most", "planned", "measured")
BELOW = ("below full fine-tuning", "by arithmetic")
CHILD = "--child"  # the word that makes this script a process that trains
MIB = 1 << 20
MADV_DONTNEED = 4  # of madvise(2)


def held(what: str) -> int:
    """Bytes that this process holds (``VmRSS``), or held at most (``VmHWM``)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{what}:"))


def forget_peak() -> None:
    """Give freed memory back and start the high-water mark from what is held now.

    Weights are read by mapping the checkpoint's file: its pages are let go, and those that still
    serve as weights come back when they are read.
    """
    gc.collect()
    library = ctypes.CDLL(None)
    library.malloc_trim(0)
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        if line.endswith(".safetensors"):
            first, last = (int(n, 16) for n in line.split()[0].split("-"))
            library.madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), MADV_DONTNEED)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def measure(method: str, checkpoint: str, batch_size: int, length: int) -> dict[str, int]:
    """Train in this process; what it held at most, and what was to be expected."""
    import torch
    import transformers  # noqa: F401  (what is imported must not count as the model's)

    from scratchlab.config.compose import compose
    from scratchlab.lab import parts as composition
    from scratchlab.lab.inspect import inspect
    from scratchlab.lab.plan import Planned

    own = ["threads=1", "keep_memory=false", "model.dropout=0.0"]
    if METHODS[method][0] == PRETRAINED[0]:
        own += [f"model.checkpoint={checkpoint}", "task.fused_loss=false"]
    else:
        batch_size *= 8
    config: dict[str, Any] = compose([*METHODS[method], *own]).config
    found = inspect(config, batch_size, length)  # also imports what building needs
    planned = Planned.of(config).bytes(batch_size, length)
    forget_peak()
    before = held("VmRSS")
    parts = composition.build_parts(config)
    trained = [p for p in parts.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=True)
    batch = parts.task.example_batch(batch_size, length)
    parts.model.train()
    forget_peak()
    for _ in range(2):
        optimizer.zero_grad(set_to_none=True)
        loss = parts.task.loss(parts.model, batch)
        (loss.total / loss.count).backward()
        optimizer.step()
    sizes = (found.weight_bytes, found.gradient_bytes, found.optimizer_bytes,
             found.activation_bytes)  # fmt: skip
    return {
        **dict(zip(PARTS, sizes, strict=True)),
        "at least": found.least_training_bytes,
        "at most": found.training_bytes,
        "planned": planned,
        "measured": held("VmHWM") - before,
    }


def main() -> None:
    parser = bench_parser(__doc__, threads=False)
    parser.add_argument("--checkpoint", default="smollm2")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3, help="times that each trains")
    parser.add_argument("--only", nargs="+", choices=METHODS, default=list(METHODS))
    with measuring(parser, ["transformers", "peft"], elsewhere=True) as (options, report):
        if options.quick:
            options.only, options.repeats, options.batch, options.length = ["gpt"], 1, 1, 16
        sizes = (options.checkpoint, str(options.batch), str(options.length))
        title = (
            f"{options.checkpoint} with {options.batch} × {options.length} tokens, models from "
            "scratch with eight times the rows, MiB, without what Python itself needs"
        )
        with report.table(title, "training", *PARTS, *WHOLE, *BELOW) as table:
            full: dict[str, float] = {}
            for method in options.only:
                command = [sys.executable, __file__, CHILD, method, *sizes]
                rows = []
                for _ in range(options.repeats):
                    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                    rows.append(json.loads(done.stdout.splitlines()[-1]))
                one = {c: rows[0][c] / MIB for c in (*PARTS, *WHOLE[:-1])}
                spread = Spread(row["measured"] / MIB for row in rows)
                one["measured"] = float(spread)
                full = one if method == "full" else full
                below: list[Any] = [None, None]
                if full and method in ("lora", "qlora"):
                    low, high = full["at least"] - one["at most"], full["at most"] - one["at least"]
                    below = [full["measured"] - float(spread), f"{low:,.0f} to {high:,.0f}"]
                table.row(method, *(one[c] for c in (*PARTS, *WHOLE[:-1])), spread, *below)
            table.notes.append(
                "at least, at most: by scratchlab inspect's arithmetic; a process keeps the memory "
                "it freed for its next step, which is faster; keep_memory=false, as here, gives it "
                "back"
            )


if __name__ == "__main__":
    if sys.argv[1:2] == [CHILD]:
        print(json.dumps(measure(sys.argv[2], sys.argv[3], *map(int, sys.argv[4:]))))
    else:
        main()
