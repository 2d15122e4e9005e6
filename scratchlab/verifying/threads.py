"""The same numbers from one thread and from two."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

from scratchlab.lab.parts import load_trained
from scratchlab.verifying.findings import DoesNotApply, Finding, gap, judged
from scratchlab.verifying.gradients import Updates
from scratchlab.verifying.outputs import outputs
from scratchlab.verifying.subject import Subject

HOW = "1 thread, 2 threads"


def threads(subject: Subject) -> Iterator[Finding]:
    """One thread and two: sums may be cut otherwise, and no more."""
    if subject.estimator:
        yield _fitted(subject)
        return
    with running(1):
        expected = outputs(subject.parts, subject.split)
    with running(2):
        found = outputs(subject.parts, subject.split)
    yield judged(HOW, "outputs", gap(expected, found), subject.tolerance())
    try:
        updates = Updates(subject)
    except DoesNotApply:
        return
    batch = updates.batches()[0]
    with running(1):
        _, alone = updates.of([batch])
    with running(2):
        _, both = updates.of([batch])
    yield judged(HOW, "gradient", gap(alone, both), updates.tolerance())


def _fitted(subject: Subject) -> Finding:
    """Two trainings of an estimator."""
    with running(1):
        runs = [subject.train(f"threads-{count}", threads=count) for count in (1, 2)]
        parts = [load_trained(subject.small, run) for run in runs]
    said = [outputs(p, subject.split) or p.adapted.state() for p in parts]
    tolerance = subject.tolerance(subject.parts.dataset.size("train"))
    what = "outputs" if len(said[0]) < 3 else "state"
    return judged(f"trained by {HOW}", what, gap(*said), tolerance)


@contextmanager
def running(count: int) -> Iterator[None]:
    """Inside, torch and NumPy compute with so many threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(count):
            yield
    finally:
        torch.set_num_threads(before)
