"""From the command to the first update: reading, tokenising and caching of many lines.

    python scripts/bench_reading.py [--lines 1000000] [--repeats 1] [--only demo text pairs tokens]

* demo: `scratchlab train model=transformer_mt` with one update, the command of `scripts/demo`;
* text: a running text of so many lines (drawn from WikiText-2) as pieces, words and characters;
* pairs: so many pairs of sentences (each two of Multi30k, one behind the other) as pieces;
* tokens: 8,000 pieces learned from that text, and the text as ids, beside the `tokenizers` library
  alone with its own way to cut words.

Each command ends after one update. First with an empty cache of prepared data, then with what that
left there; medians with the least and the most, of the wall and of the processor, and the most
memory that a process of the command held. The load of the machine stands at the top and at the end.
WikiText-2 and Multi30k must lie below $SCRATCHLAB_DATA.
"""

from __future__ import annotations

import argparse
import gzip
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

ONE = ["trainer.max_steps=1", "trainer.validation_batches=1", "trainer.validation_evaluators=[]",
       "evaluator=[]", "tracker=[]"]  # fmt: skip
GPT = ["train", "model=gpt", "model.d_model=64", "model.n_layers=1", "model.n_heads=2", *ONE]
MT = ["train", "model=transformer_mt", "model.d_model=64", *ONE]
DEMO = ["train", "model=transformer_mt", "trainer.max_steps=1", "evaluator=[]"]
PIECES = 8000


def load() -> str:
    one, five, _ = os.getloadavg()
    return f"load {one:.1f} (of the last five minutes {five:.1f}) on {os.cpu_count()} cores"


def spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):>7.2f} ({min(values):.2f}–{max(values):.2f})"


def write_text(path: Path, data: Path, lines: int) -> None:
    """Lines of 8 to 28 words, each from a place of WikiText-2 drawn by chance."""
    draw = random.Random(0)
    with gzip.open(data / "wikitext2/train.txt.gz", "rt", encoding="utf-8") as file:
        words = file.read().split()
    with path.open("w", encoding="utf-8") as file:
        for _ in range(lines):
            length = draw.randint(8, 28)
            first = draw.randrange(len(words) - length)
            file.write(" ".join(words[first : first + length]) + "\n")


def write_pairs(folder: Path, data: Path, lines: int) -> list[str]:
    """Files of pairs by split, as options of a data set."""
    draw = random.Random(0)
    sides = {
        side: gzip.decompress((data / f"multi30k/train.{side}.gz").read_bytes()).decode()
        for side in ("en", "fr")
    }
    texts = {side: text.splitlines() for side, text in sides.items()}
    options = ["dataset=parallel_text"]
    for split, count in (("train", lines), ("val", 500), ("test", 500)):
        drawn = [draw.choices(range(len(texts["en"])), k=2) for _ in range(count)]
        for side, role in (("en", "source"), ("fr", "target")):
            path = folder / f"{split}.{side}"
            with path.open("w", encoding="utf-8") as file:
                file.writelines(f"{texts[side][a]} {texts[side][b]}\n" for a, b in drawn)
            options.append(f"dataset.{split}_{role}={path}")
    return options


def command(words: Sequence[str], environment: dict[str, str]) -> tuple[float, float, float]:
    """Seconds of the wall and of the processor, and the most MiB, of a command."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "scratchlab", *words],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"scratchlab {' '.join(words)}\n{said.decode()}")
    return time.perf_counter() - begin, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def commands(name: str, words: list[str], folder: Path, repeats: int) -> None:
    """A command with an empty cache, and with what it left there."""
    cache = folder / "cache"
    environment = {**os.environ, "SCRATCHLAB_CACHE": str(cache)}
    if words is DEMO:
        environment.pop("SCRATCHLAB_DATA", None)
    words = [*words, f"output_dir={folder / 'runs'}"]
    found: dict[str, list[tuple[float, float, float]]] = {"empty cache": [], "again": []}
    for _ in range(repeats):
        shutil.rmtree(cache, ignore_errors=True)
        for which in found:
            found[which].append(command(words, environment))
    for which, rows in found.items():
        wall, processor, memory = zip(*rows, strict=True)
        print(f"{name + ', ' + which:<34}{spread(wall):>24}{spread(processor):>24}"
              f"{max(memory):>9,.0f} MiB", flush=True)  # fmt: skip


def timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def tokens(path: Path, repeats: int) -> None:
    """Learning pieces and encoding by this project and by the library alone, in turn."""
    from tokenizers import Tokenizer
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.trainers import BpeTrainer

    from scratchlab.data.sources.corpus import read_pieces
    from scratchlab.data.tokenizers.learned import RUNNING
    from scratchlab.data.tokenizers.learning import learn

    lines = path.read_text(encoding="utf-8").splitlines()
    rows: dict[str, tuple[list[float], list[float]]] = {"learn": ([], []), "encode": ([], [])}
    for _ in range(repeats):
        library = Tokenizer(BPE(unk_token="<unk>"))
        library.pre_tokenizer = Whitespace()
        trainer = BpeTrainer(vocab_size=PIECES, special_tokens=["<unk>"], show_progress=False)
        rows["learn"][1].append(timed(lambda: library.train([str(path)], trainer)))  # noqa: B023
        layout = {"special": RUNNING["bpe"], "lines": True}
        begin = time.perf_counter()
        ours = learn("bpe", lambda: read_pieces(path), PIECES, 1, **layout)
        rows["learn"][0].append(time.perf_counter() - begin)
        rows["encode"][1].append(timed(lambda: library.encode_batch_fast(lines)))  # noqa: B023
        rows["encode"][0].append(
            timed(lambda: sum(map(len, ours.encode_each(read_pieces(path)))))  # noqa: B023
        )
    print(f"{'pieces':<34}{'scratchlab, s':>24}{'tokenizers, s':>24}{'ratio':>9}")
    for name, (own, theirs) in rows.items():
        ratio = statistics.median(theirs) / statistics.median(own)
        print(f"{name:<34}{spread(own):>24}{spread(theirs):>24}{ratio:>9.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=1)
    parts = ("demo", "text", "pairs", "tokens")
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    arguments = parser.parse_args()
    data = Path(os.environ.get("SCRATCHLAB_DATA", "."))
    print(f"{arguments.lines:,} lines; {load()}")
    print(f"{'one update':<34}{'wall, s':>24}{'processor, s':>24}{'memory':>13}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = folder / "text.txt"
        if "demo" in arguments.only:
            commands("demo", DEMO, folder, arguments.repeats)
        if {"text", "tokens"} & set(arguments.only):
            write_text(text, data, arguments.lines)
        if "text" in arguments.only:
            for kind in ("bpe", "word", "char"):
                words = [*GPT, "dataset=text_file", f"dataset.paths=[{text}]",
                         "dataset.val_fraction=0.01", f"dataset.tokenizer={kind}"]  # fmt: skip
                commands(f"text, {kind}", words, folder, arguments.repeats)
        if "pairs" in arguments.only:
            words = [*MT, *write_pairs(folder, data, arguments.lines)]
            commands("pairs, bpe", words, folder, arguments.repeats)
        if "tokens" in arguments.only:
            tokens(text, arguments.repeats)
    print(load())


if __name__ == "__main__":
    main()
