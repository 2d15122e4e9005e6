"""What a search finds in equal time: TPE that ends poor trials early, beside random points.

    python scripts/bench_search.py [--repeats 5] [--seconds 20] [--pruner median]

The task: a perceptron with one to three hidden layers on the digits of scikit-learn, seven options,
compared by the loss on the validation split. Each search is a sweep as `scratchlab sweep` makes it,
one trial after the other, until its trials have used `--seconds` of CPU time in all (the last one
is not counted if it ended later): CPU time, since other work on the machine then favours nobody.
Both searches of a repeat have the same seed. Shown is the best loss at a quarter, a half and all of
the time, mean ± standard deviation of the repeats, and in how many of them TPE came out lower.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil

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


def main() -> int:
    """Run the searches and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--pruner", choices=["median", "hyperband"], default="median")
    given = parser.parse_args()
    arms = {
        f"TPE, {given.pruner}": ["sweep=tpe", f"sweep.pruner={given.pruner}"],
        "random": ["sweep=random"],
    }
    found: dict[str, list[list[float]]] = {name: [] for name in arms}
    variables = dict.fromkeys(THREAD_VARIABLES, "1")
    with tempfile.TemporaryDirectory() as place, Nursery(variables) as nursery:
        for seed in range(given.repeats):
            for name, words in arms.items():
                folder = Path(place) / f"{words[0].partition('=')[2]}-{seed}"
                words = [*words, f"sweep.seed={seed}"]
                found[name].append(search(words, folder, given.seconds, nursery))
    print(f"best val/loss after {given.seconds:g} s of CPU time, {given.repeats} repeats")
    print(f"{'':<16}" + "".join(f"{f'{share:.0%} of it':>20}" for share in SHARES))
    for name, curves in found.items():
        cells = []
        for values in zip(*curves, strict=True):
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            cells.append(f"{statistics.fmean(values):.4f} ± {spread:.4f}")
        print(f"{name:<16}" + "".join(f"{cell:>20}" for cell in cells))
    first, second = found.values()
    lower = [sum(a[i] < b[i] for a, b in zip(first, second, strict=True)) for i in range(3)]
    print(f"{'TPE lower in':<16}" + "".join(f"{f'{n} of {given.repeats}':>20}" for n in lower))
    return 0


if __name__ == "__main__":
    sys.exit(main())
