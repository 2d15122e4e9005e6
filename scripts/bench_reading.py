"""From the command to the first update: reading, tokenising and caching of many lines.

    python scripts/bench_reading.py [--lines 1000000] [--repeats 3] [--only demo text pairs tokens]
                                    [--quick] [--record [FOLDER]]

* demo: `scratchlab train model=transformer_mt` with one update, the command of `scripts/demo`;
* text: a running text of so many lines (drawn from WikiText-2) as pieces, words and characters;
* pairs: so many pairs of sentences (each two of Multi30k, one behind the other) as pieces;
* tokens: 8,000 pieces learned from that text, and the text as ids, beside the `tokenizers` library
  alone with its own way to cut words.

Each command ends after one update. First with an empty cache of prepared data, then with what that
left there: seconds of the wall and of the processor, and the most memory that a process of the
command held. WikiText-2 and Multi30k must lie below $SCRATCHLAB_DATA.
"""

from __future__ import annotations

import gzip
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench_report import (
    Report,
    Spread,
    Table,
    bench_parser,
    data_file,
    documentation,
    measuring,
)

from scratchlab.errors import UserError

os.environ.setdefault("HF_HUB_OFFLINE", "1")

ONE = ["trainer.max_steps=1", "trainer.validation_batches=1", "trainer.validation_evaluators=[]",
       "evaluator=[]", "tracker=[]"]  # fmt: skip
GPT = ["train", "model=gpt", "model.d_model=64", "model.n_layers=1", "model.n_heads=2", *ONE]
MT = ["train", "model=transformer_mt", "model.d_model=64", *ONE]
DEMO = ["train", "model=transformer_mt", "trainer.max_steps=1", "evaluator=[]"]
PIECES = 8000


def write_text(path: Path, words: Sequence[str], lines: int) -> None:
    """Lines of 8 to 28 of these words, each from a place drawn by chance."""
    draw = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(lines):
            length = draw.randint(8, 28)
            first = draw.randrange(len(words) - length)
            file.write(" ".join(words[first : first + length]) + "\n")


def write_pairs(folder: Path, texts: dict[str, list[str]], lines: int) -> list[str]:
    """Files of pairs by split, as options of a data set; ``texts`` by language, line by line."""
    draw = random.Random(0)
    options = ["dataset=parallel_text"]
    for split, count in (("train", lines), ("val", 500), ("test", 500)):
        drawn = [draw.choices(range(len(texts["en"])), k=2) for _ in range(count)]
        for side, role in (("en", "source"), ("fr", "target")):
            path = folder / f"{split}.{side}"
            with path.open("w", encoding="utf-8") as file:
                file.writelines(f"{texts[side][a]} {texts[side][b]}\n" for a, b in drawn)
            options.append(f"dataset.{split}_{role}={path}")
    return options


def sources(quick: bool) -> tuple[list[str], dict[str, list[str]]]:
    """The words of the text, and the lines of the pairs by language."""
    if quick:
        lines = [" ".join(line) for line in documentation()]
        return " ".join(lines).split(), {"en": lines, "fr": lines}
    text, *sides = (
        gzip.decompress(data_file(name).read_bytes()).decode("utf-8")
        for name in ("wikitext2/train.txt.gz", *(f"multi30k/train.{s}.gz" for s in ("en", "fr")))
    )
    return text.split(), dict(zip(("en", "fr"), map(str.splitlines, sides), strict=True))


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
        raise UserError(f"scratchlab {' '.join(words)}\n{said.decode()}")
    return time.perf_counter() - begin, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def commands(table: Table, name: str, words: list[str], folder: Path, repeats: int) -> None:
    """The rows of a command with an empty cache, and with what it left there."""
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
        wall, processor, memory = map(Spread, zip(*rows, strict=True))
        table.row(f"{name}, {which}", wall, processor, memory)


def timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def tokens(table: Table, path: Path, repeats: int) -> None:
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
    for name, (own, theirs) in rows.items():
        ratios = Spread(b / a for a, b in zip(own, theirs, strict=True))
        table.row(name, Spread(own), Spread(theirs), ratios)


def main() -> None:
    parser = bench_parser(__doc__, threads=False)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parts = ("demo", "text", "pairs", "tokens")
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    with (
        measuring(parser, ["tokenizers"], elsewhere=True) as (options, report),
        tempfile.TemporaryDirectory() as f,
    ):
        if options.quick:
            options.lines, options.repeats = 1000, 1
        bench(report, Path(f), options)


def bench(report: Report, folder: Path, options: Any) -> None:
    only, repeats, lines = set(options.only), options.repeats, f"{options.lines:,} lines"
    text = folder / "text.txt"
    if only - {"demo"}:
        words, texts = sources(options.quick)
        write_text(text, words, options.lines)
    if only - {"tokens"}:
        columns = ("wall (s) ↓", "processor (s) ↓", "memory (MiB) ↓")
        with report.table(f"to the first update; {lines}", "command", *columns) as table:
            if "demo" in only:
                commands(table, "demo", DEMO, folder, repeats)
            for kind in ("bpe", "word", "char") if "text" in only else ():
                own = ["dataset=text_file", f"dataset.paths=[{text}]", "dataset.val_fraction=0.01",
                       f"dataset.tokenizer={kind}"]  # fmt: skip
                commands(table, f"text, {kind}", [*GPT, *own], folder, repeats)
            if "pairs" in only:
                own = write_pairs(folder, texts, options.lines)
                commands(table, "pairs, bpe", [*MT, *own], folder, repeats)
    if "tokens" in only:
        columns = ("scratchlab (s) ↓", "tokenizers (s) ↓", "× tokenizers")
        with report.table(f"{PIECES:,} pieces; {lines}", "what", *columns) as table:
            tokens(table, text, repeats)


if __name__ == "__main__":
    main()
