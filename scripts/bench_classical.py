#!/usr/bin/env python3
"""Times the NumPy MLP beside scikit-learn's on MNIST: seconds, accuracy, GFLOP/s, share of peak.

    python scripts/bench_classical.py [--epochs 10] [--rounds 3] [--quick] [--record [FOLDER]]

Both train 784-128-10 with relu, Adam (0.001), batches of 128 rows in float32, in the same process
and in turn, so that their ratio means something on a busy machine. MNIST's idx files are read from
$SCRATCHLAB_DATA/mnist; without them scikit-learn's digits are used, and the title says so.
"""

from __future__ import annotations

import gzip
import os
import time
import warnings
from pathlib import Path

import numpy as np
from bench_report import Spread, bench_parser, measuring
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
    return "scikit-learn's digits", tuple(split)


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
    parser = bench_parser(__doc__, threads=False)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3, help="times both are trained, in turn")
    parser.add_argument("--schedule", default="constant", choices=("constant", "linear", "cosine"))
    with measuring(parser) as (options, report):
        root = os.environ.get("SCRATCHLAB_DATA") if not options.quick else None
        epochs, rounds = (1, 1) if options.quick else (options.epochs, options.rounds)
        name, (X, X_test, y, y_test) = load(Path(root) / "mnist" if root else None)
        hidden, classes = 128, len(np.unique(y))
        flop = 2 * len(X) * epochs * hidden * (2 * X.shape[1] + 3 * classes)
        makers = {
            "scikit-learn": lambda seed: TheirMLP(
                (hidden,), batch_size=128, max_iter=epochs, random_state=seed
            ),
            "scratchlab": lambda seed: OurMLP(
                hidden=[hidden], batch_size=128, epochs=epochs, l2=1e-4 / 128,
                schedule=options.schedule, random_state=seed,
            ),
        }  # fmt: skip
        title = (
            f"{X.shape[1]}-{hidden}-{classes} on {name}, {len(X):,} training rows, batch 128, "
            f"{epochs} epochs"
        )
        columns = ("seconds ↓", "accuracy (%) ↑", "GFLOP/s", "of the peak (%) ↑", "× scikit-learn")
        with report.table(title, "what", *columns) as table:
            seconds: dict[str, list[float]] = {label: [] for label in makers}
            right: dict[str, list[float]] = {label: [] for label in makers}
            peak = gemm_peak()
            for number in range(rounds):
                for label, make in makers.items():
                    model = make(number)
                    start = time.perf_counter()
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", ConvergenceWarning)
                        model.fit(X, y)
                    seconds[label].append(time.perf_counter() - start)
                    right[label].append(100 * model.score(X_test, y_test))
                peak = max(peak, gemm_peak())
            for label, taken in seconds.items():
                rate = Spread(taken).rate(flop / 1e9)
                ratios = Spread(a / b for a, b in zip(seconds["scikit-learn"], taken, strict=True))
                times = None if label == "scikit-learn" else ratios
                share = 100 * float(rate) / peak
                table.row(label, Spread(taken), Spread(right[label]), rate, share, times)
            table.notes.append(f"peak of a product, {peak:.0f} GFLOP/s")


if __name__ == "__main__":
    main()
