"""What scratchlab costs beside the work itself: commands that train nothing, and the loop.

    python scripts/bench_overhead.py [--repeats 5] [--groups 12] [--threads N] [--quick]
                                     [--only commands loop] [--record [FOLDER]]

* `scratchlab list`, which reads every experiment and suite;
* a run of no training step, end to end (configuration, data, model, one validation batch,
  checkpoint, evaluation, results), with no tracker and with all of them;
* an update of the trainer at nanoGPT's CPU setting (4 layers, 4 heads, width 128, block 64, batch
  12, characters; AdamW, clipping; metrics.jsonl every 20 updates) beside a bare PyTorch loop over
  the same model, loss, batches and optimizer. Both go in turn, in groups of updates, since the
  machine's speed may change while this runs; the figure is the median of the groups' ratios.

Times are of the wall and of the processor (user and system, of a process and all it starts). On a
machine that does other things the second is what the work takes, but for what cores and caches
share.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench_report import Report, Spread, bench_parser, measuring

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("WANDB_MODE", "offline")

RUN = ["train", "model=gpt", "model.d_model=32", "model.n_layers=1", "trainer.max_steps=0",
       "trainer.validation_batches=1", "evaluator=[size]"]  # fmt: skip
COMMANDS = {
    "scratchlab list": (["list"], 0.5),
    "a run of no step, no tracker": ([*RUN, "tracker=[]"], 3.0),
    "a run of no step, all trackers": ([*RUN, "tracker=[console,jsonl,tensorboard,wandb]"], 5.0),
}
LOOP = ["model=gpt", "dataset=python_docs", "dataset.tokenizer=char", "dataset.block_size=64",
        "dataset.batch_size=12", "model.d_model=128", "model.n_layers=4", "model.n_heads=4",
        "model.positions=learned", "model.bias=false", "model.dropout=0.0", "optimizer=adamw",
        "optimizer.lr=1e-3", "scheduler=cosine", "trainer.precision=fp32",
        "trainer.validation_evaluators=[]", "trainer.clip_norm=1.0"]  # fmt: skip


Times = tuple[float, ...]  # of the wall, of the processor


def now() -> Times:
    return time.perf_counter(), time.process_time()


def commands(report: Report, repeats: int) -> None:
    columns = ("wall (s) ↓", "processor (s) ↓", "aim (s)")
    with tempfile.TemporaryDirectory() as folder, report.table("commands", "what", *columns) as t:
        for name, (words, aim) in COMMANDS.items():
            walls, busy = [], []
            for number in range(repeats + 1):
                where = [] if words == ["list"] else [f"output_dir={folder}"]
                before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
                command = [sys.executable, "-P", "-m", "scratchlab", *words, *where]
                subprocess.run(command, check=True, capture_output=True, cwd=folder)
                wall = time.perf_counter() - start
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                if number:  # the first one prepares data and reads files from the disk
                    walls.append(wall)
                    busy.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
            t.row(name, Spread(walls), Spread(busy), aim)


class Loops:
    """The same updates by the trainer and by a bare loop, each on a model of its own."""

    def __init__(self, folder: Path, group: int, groups: int, threads: int | None) -> None:
        from scratchlab.config.compose import compose
        from scratchlab.lab.parts import build_parts
        from scratchlab.registry import build

        updates = f"trainer.max_steps={group * groups}"
        own = [f"threads={threads or 'null'}", f"output_dir={folder}"]
        config = compose([*LOOP, updates, *own]).config
        self.config, self.group = config, group
        self.ours, self.bare = build_parts(config), build_parts(config)
        self.trainer = build("trainer", config["trainer"])
        self.folder = folder

    def trained(self) -> Iterator[Times]:
        """Seconds of each group of the trainer's own updates: a tracker looks at the clock."""
        from scratchlab.lab.train import training_context
        from scratchlab.run.folder import RunFolder
        from scratchlab.tracking.contract import RunInfo
        from scratchlab.tracking.guard import Trackers
        from scratchlab.tracking.jsonl import Jsonl
        from scratchlab.training.state import State

        trackers = Trackers([Jsonl(Jsonl.Config())])
        trackers.start(RunInfo("bench", "run", self.folder / "run"))
        context = training_context(self.ours, RunFolder(self.folder / "run"), trackers)
        state = State(self.trainer.config, context, self.trainer.total_steps(context))
        updates = self.trainer.groups(state)
        while True:
            start = now()
            for _ in range(self.group):
                batches, _ = next(updates)
                self.trainer.update(state, batches)
                step = state.progress.step
                if step == 1 or step % self.trainer.config.log_every == 0:
                    self.trainer.log(state)
            yield tuple(b - a for a, b in zip(start, now(), strict=True))

    def plain(self) -> Iterator[Times]:
        """The same by hand: batch, loss, gradients, clipping, fused AdamW, rate by the cosine."""
        import math

        import torch
        from torch import nn

        model, task, dataset = self.bare.model, self.bare.task, self.bare.dataset
        named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        parameters, c = [p for _, p in named], self.config["optimizer"]
        decayed = [p for p in parameters if p.ndim >= 2]
        others = [p for p in parameters if p.ndim < 2]
        groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(
            [g for g in groups if g["params"]], lr=c["lr"], betas=(c["beta1"], c["beta2"]),
            eps=c["eps"], weight_decay=c["weight_decay"], fused=True,
        )  # fmt: skip
        batches = self.endless(dataset)
        model.train()
        number = 0
        while True:
            start = now()
            for _ in range(self.group):
                for settings in optimizer.param_groups:
                    settings["lr"] = c["lr"] * 0.5 * (1 + math.cos(number / 1e4))
                loss = task.loss(model, next(batches))
                (loss.total / loss.count).backward()
                nn.utils.clip_grad_norm_(parameters, 1.0)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                number += 1
            yield tuple(b - a for a, b in zip(start, now(), strict=True))

    @staticmethod
    def endless(dataset: Any) -> Iterator[Any]:
        epoch = 0
        while True:
            yield from dataset.batches("train", seed=0, epoch=epoch)
            epoch += 1


def loop(report: Report, groups: int, group: int, threads: int | None) -> None:
    columns = ("trainer (ms) ↓", "bare loop (ms) ↓", "more (%) ↓", "aim (%)")
    with tempfile.TemporaryDirectory() as folder, report.table("an update", "clock", *columns) as t:
        both = Loops(Path(folder), group, groups + 1, threads)
        ours, bare = both.trained(), both.plain()
        next(ours), next(bare)  # the first updates allocate
        pairs = []
        for number in range(groups):
            first, second = (ours, bare) if number % 2 else (bare, ours)
            times = {id(one): next(one) for one in (first, second)}
            pairs.append((times[id(ours)], times[id(bare)]))
        for which, clock in enumerate(("wall", "processor")):
            a, b = (
                [1000 * one[which] / group for one in side] for side in zip(*pairs, strict=True)
            )
            more = Spread(100 * (x / y - 1) for x, y in zip(a, b, strict=True))
            t.row(clock, Spread(a), Spread(b), more, 3.0)
        t.notes.append(f"each measurement is of a group of {group} updates")


def main() -> None:
    parser = bench_parser(__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="times that each command runs")
    parser.add_argument("--groups", type=int, default=12, help="pairs of groups of updates")
    parser.add_argument("--group", type=int, default=25, help="updates of a group")
    parser.add_argument("--only", nargs="+", choices=("commands", "loop"))
    with measuring(parser) as (options, report):
        if options.quick:
            options.repeats, options.groups, options.group = 1, 2, 2
        if not options.only or "commands" in options.only:
            commands(report, options.repeats)
        if not options.only or "loop" in options.only:
            loop(report, options.groups, options.group, options.threads)


if __name__ == "__main__":
    main()
