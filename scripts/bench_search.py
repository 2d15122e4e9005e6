"""What a search finds in equal time: TPE that ends poor trials early, beside random points.

    python scripts/bench_search.py [--repeats 9] [--seconds 20] [--pruner median] [--quick]
                                   [--record [FOLDER]]

The task: a perceptron with one to three hidden layers on the digits of scikit-learn, seven options,
compared by the loss on the validation split. Each search is a sweep as `scratchlab sweep` makes it,
one trial after the other, until its trials have used `--seconds` of CPU time in all (the last one
is not counted if it ended later): CPU time, since other work on the machine then favours nobody.
Both searches of a repeat have the same seed. Shown is the best loss at a quarter, a half and all of
the time, and in how many of the repeats TPE came out lower.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
import time
from pathlib import Path

import psutil
from bench_report import Spread, bench_parser, measuring

from scratchlab.studies.nursery import Child, Nursery
from scratchlab.studies.runs import StudyFolder
from scratchlab.studies.sweep.ledger import Ledger, names_of, tried
from scratchlab.studies.sweep.options import read_sweep_options
from scratchlab.studies.sweep.plan import plan_sweep
from scratchlab.studies.sweep.source import SweepSource
from scratchlab.studies.sweep.study import open_study
from scratchlab.studies.workers import THREAD_VARIABLES, outcome_of, start

TASK = [
    "model=mlp",
    "dataset=digits",
    "model.epochs=60",
    "trainer.validate_every=3",
    "threads=1",
    "tracker=[jsonl]",
    "model.hidden=[16],[64],[256],[32,32],[128,128],[64,64,64]",
    "model.learning_rate=tag(log,interval(1e-5,1e-1))",
    "model.l2=tag(log,interval(1e-7,1e-1))",
    "model.batch_size=16,32,64,128,256",
    "model.activation=relu,tanh,sigmoid",
    "model.update=adam,sgd",
    "model.momentum=interval(0.0,0.99)",
]
MOST_TRIALS = 10_000
SHARES = (0.25, 0.5, 1.0)


def search(words: list[str], folder: Path, seconds: float, nursery: Nursery) -> list[float]:
    """The best loss after each share of the time."""
    options, rest = read_sweep_options([*TASK, *words, f"sweep.trials={MOST_TRIALS}"], None)
    sweep = plan_sweep(rest, options, None)
    folder.mkdir(parents=True)
    study_folder = StudyFolder(folder)
    study = open_study(sweep, study_folder)
    spent, best = 0.0, math.inf
    reached = dict.fromkeys(SHARES, math.inf)
    with Ledger(study, names_of(sweep.trials), lease=600.0) as ledger:
        source = SweepSource(sweep, ledger, study_folder, lambda text: None, threads=1)
        while spent < seconds:
            job = source.take()
            assert job is not None
            run = start(job, nursery)
            used = 0.0
            while (code := run.process.poll()) is None:
                assert isinstance(run.process, Child)
                with contextlib.suppress(psutil.Error):
                    times = psutil.Process(run.process.pid).cpu_times()
                    used = max(used, times.user + times.system)
                if not run.ending and (reason := source.watch(job)):
                    run.ending = reason
                    run.process.terminate()
                time.sleep(0.01)
            spent += used
            source.ended(job, outcome_of(run, code))
            last = next(t for t in tried(study) if t.run == job.name)
            if last.status == "done" and last.value is not None:
                best = min(best, last.value)
            for share in SHARES:
                if spent <= share * seconds:
                    reached[share] = best
        counted = [t.status for t in tried(study)]
    print(
        f"  {folder.name}: {len(counted)} trials, {counted.count('pruned')} ended early, "
        f"{counted.count('failed')} failed; " + ", ".join(f"{reached[s]:.4f}" for s in SHARES)
    )
    return [reached[share] for share in SHARES]


def main() -> None:
    parser = bench_parser(__doc__, threads=False)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--pruner", choices=["median", "hyperband"], default="median")
    with measuring(parser, ["optuna"], elsewhere=True) as (options, report):
        if options.quick:
            options.repeats, options.seconds = 1, 3.0
        arms = {
            f"TPE, {options.pruner}": ["sweep=tpe", f"sweep.pruner={options.pruner}"],
            "random": ["sweep=random"],
        }
        found: dict[str, list[list[float]]] = {name: [] for name in arms}
        variables = dict.fromkeys(THREAD_VARIABLES, "1")
        title = f"best val/loss after {options.seconds:g} s of CPU time"
        with (
            report.table(title, "search", *(f"{share:.0%} of it" for share in SHARES)) as table,
            tempfile.TemporaryDirectory() as place,
            Nursery(variables) as nursery,
        ):
            for seed in range(options.repeats):
                for name, words in arms.items():
                    folder = Path(place) / f"{words[0].partition('=')[2]}-{seed}"
                    words = [*words, f"sweep.seed={seed}"]
                    found[name].append(search(words, folder, options.seconds, nursery))
            for name, curves in found.items():
                table.row(name, *map(Spread, zip(*curves, strict=True)))
            pairs = list(zip(*found.values(), strict=True))
            lower = (sum(a[i] < b[i] for a, b in pairs) for i in range(len(SHARES)))
            table.row("TPE lower in", *(f"{n} of {options.repeats}" for n in lower))


if __name__ == "__main__":
    main()
