#!/usr/bin/env python3
"""Times the NumPy MLP beside scikit-learn's on MNIST: seconds, accuracy, GFLOP/s, share of peak.

    python scripts/bench_classical.py [--epochs 10] [--rounds 1]

Both train 784-128-10 with relu, Adam (0.001), batches of 128 rows in float32, in the same process
and in turn, so that their ratio means something on a busy machine. MNIST's idx files are read from
$SCRATCHLAB_DATA/mnist; without them scikit-learn's digits are used, and a line says so.
"""

from __future__ import annotations

import argparse
import gzip
import os
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier as TheirMLP

from scratchlab.estimators.mlp import MLPClassifier as OurMLP

Rows = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def read_idx(path: Path) -> np.ndarray:
    """The array of a gzipped idx file of bytes (LeCun's format)."""
    with gzip.open(path, "rb") as file:
        head = int.from_bytes(file.read(4), "big")
        shape = [int.from_bytes(file.read(4), "big") for _ in range(head & 0xFF)]
        return np.frombuffer(file.read(), dtype=np.uint8).reshape(shape)


def load(folder: Path | None) -> tuple[str, Rows]:
    """Training and test rows in [0, 1], float32, and what they are."""
    if folder is not None and (folder / "train-images-idx3-ubyte.gz").exists():
        images = [read_idx(folder / f"{s}-images-idx3-ubyte.gz") for s in ("train", "t10k")]
        labels = [read_idx(folder / f"{s}-labels-idx1-ubyte.gz") for s in ("train", "t10k")]
        X, X_test = (i.reshape(len(i), -1).astype(np.float32) / 255 for i in images)
        return "MNIST", (X, X_test, labels[0].astype(int), labels[1].astype(int))
    X, y = load_digits(return_X_y=True)
    split = train_test_split(
        (X / 16).astype(np.float32), y, test_size=0.2, stratify=y, random_state=0
    )
    return "digits (no MNIST files under $SCRATCHLAB_DATA/mnist)", tuple(split)


def gemm_peak(size: int = 1024, repeats: int = 8) -> float:
    """The best rate of a float32 matrix product of this size, GFLOP/s."""
    rng = np.random.default_rng(0)
    a, b = (rng.random((size, size), dtype=np.float32) for _ in range(2))
    out, best = np.empty_like(a), np.inf
    for _ in range(repeats):
        start = time.perf_counter()
        np.matmul(a, b, out=out)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=1, help="times both are trained, in turn")
    parser.add_argument("--schedule", default="constant", choices=("constant", "linear", "cosine"))
    options = parser.parse_args()
    root = os.environ.get("SCRATCHLAB_DATA")
    name, (X, X_test, y, y_test) = load(Path(root) / "mnist" if root else None)
    hidden, classes = 128, len(np.unique(y))
    print(
        f"data: {name}, {len(X):,} training rows; "
        f"network {X.shape[1]}-{hidden}-{classes}, batch 128, {options.epochs} epochs"
    )
    flop = 2 * len(X) * options.epochs * hidden * (2 * X.shape[1] + 3 * classes)
    print(f"{'':<14}{'seconds':>9}{'accuracy %':>12}{'GFLOP/s':>10}{'of peak':>9}")
    ratios = []
    for number in range(options.rounds):
        seconds = {}
        for label in ("scikit-learn", "scratchlab"):
            if label == "scratchlab":
                model = OurMLP(
                    hidden=[hidden],
                    batch_size=128,
                    epochs=options.epochs,
                    l2=1e-4 / 128,
                    schedule=options.schedule,
                    random_state=number,
                )
            else:
                model = TheirMLP(
                    (hidden,), batch_size=128, max_iter=options.epochs, random_state=number
                )
            peak = gemm_peak()
            start = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(X, y)
            seconds[label] = time.perf_counter() - start
            rate = flop / seconds[label] / 1e9
            accuracy = 100 * model.score(X_test, y_test)
            timed = f"{label:<14}{seconds[label]:>9.2f}{accuracy:>12.2f}"
            print(f"{timed}{rate:>10.1f}{rate / peak:>9.0%}")
        ratios.append(seconds["scratchlab"] / seconds["scikit-learn"])
    print(f"time of scratchlab / scikit-learn: {np.median(ratios):.2f} (median of {len(ratios)})")


if __name__ == "__main__":
    main()
