"""Speed of decoding a translator: ours beside transformers' MarianMTModel and CTranslate2.

    python scripts/bench_decoding.py [--rounds 5] [--threads N …] [--only NAME …] [--quick]
                                     [--record [FOLDER]]

One random translator (3+3 layers, d=256, vocabulary 8,000) in fp32, bf16 and int8, exported to
CTranslate2 and run there in fp32 and int8, and a MarianMTModel of the same size. Greedy and beam 5,
a sentence at a time and 64 at a time. Sentences are random ids, as long as those of Multi30k; the
64 of a batch have one length, and every output is forced to be as long as its source, so that all
do the same steps.

Each tool works in a process of its own (CTranslate2's threads spin for a while after a call and
would take the cores of another), one after the other in turn, with a pause between. With several
numbers of threads (`--threads 1 2`) a round has every tool with each, and a last table compares the
tools at what suits each best.

"Of the bound" is the share of what the machine's own speed with so many threads allows: each step
has to read the weights once (at the bandwidth of memory as large as they are, caches included) and
to make its products (at the fastest large product of that precision), whichever takes longer; all
else is free.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from bench_report import Report, Spread, bench_parser, measuring
from bench_translation import EOS, SOS, Size, marian, sentence_pairs, spec_of, translator
from machine_peak import gemm_peak, read_bandwidth

from scratchlab.decoding.beam import Beam
from scratchlab.decoding.greedy import Greedy
from scratchlab.errors import MissingPackageError
from scratchlab.methods.bf16 import Bf16
from scratchlab.methods.contract import MethodContext
from scratchlab.methods.int8 import Int8
from scratchlab.models.compiled.fitting import can_be_compiled, compiled
from scratchlab.models.formats.ctranslate2 import export_ctranslate2

TOOLS = (
    "scratchlab fp32", "scratchlab bf16", "scratchlab int8", "transformers fp32",
    "ctranslate2 fp32", "ctranslate2 int8",
)  # fmt: skip
PAUSE = 0.5  # seconds after a measurement, while threads of others come to rest
WORK = "--work"  # the word that makes this script a tool's process
PEER = "ctranslate2 fp32"
WAYS = {"greedy": 1, "beam 5": 5}
OPEN = ExitStack()  # until the work of a process ends
Batches = list[list[list[int]]]
Translate = Callable[[Batches, int], None]


def scratchlab(size: Size, precision: str) -> Translate:
    model: Any = translator(size).eval()
    method = {"bf16": Bf16(Bf16.Config()), "int8": Int8(Int8.Config())}.get(precision)
    if method is not None:
        model = method.apply(model, MethodContext(spec_of(size)))

    # as it is chosen where thousands of steps come, and made once for all of them
    OPEN.enter_context(compiled(model, 1, 1, can_be_compiled(model)))

    def translate(batches: Batches, beams: int) -> None:
        for length, some in by_length(batches).items():
            limits: Any = {"max_length_factor": 1.0, "max_length_extra": 0}
            limits["min_length"] = length
            decoder: Any = Greedy(Greedy.Config(**limits))
            if beams > 1:
                decoder = Beam(Beam.Config(beam_size=beams, **limits))
            decoder.generate_all(model, [row for batch in some for row in batch],
                                 spec_of(size), len(some[0]))  # fmt: skip

    return translate


def transformers(size: Size, precision: str) -> Translate:
    peer = marian(size).eval()

    def translate(batches: Batches, beams: int) -> None:
        for batch in batches:
            rows, count = torch.tensor(batch), len(batch[0])
            with torch.inference_mode():
                peer.generate(
                    input_ids=rows,
                    attention_mask=torch.ones_like(rows),
                    num_beams=beams,
                    do_sample=False,
                    min_new_tokens=count,
                    max_new_tokens=count,
                )

    return translate


def ctranslate2(size: Size, precision: str) -> Translate:
    import ctranslate2 as engine

    names = [str(i) for i in range(size.vocabulary)]
    names[SOS], names[EOS] = "<sos>", "<eos>"
    with tempfile.TemporaryDirectory() as folder:
        words = SimpleNamespace(tokens=names)
        dataset: Any = SimpleNamespace(
            spec=spec_of(size), source_tokenizer=words, target_tokenizer=words
        )
        export_ctranslate2(translator(size).eval(), Path(folder), dataset)
        kinds = {"fp32": "float32", "int8": "int8_float32"}
        peer = engine.Translator(
            folder,
            compute_type=kinds[precision],
            inter_threads=1,
            intra_threads=torch.get_num_threads(),
        )

    def translate(batches: Batches, beams: int) -> None:
        for batch in batches:
            peer.translate_batch(
                [[names[i] for i in row[:-1]] for row in batch],
                beam_size=beams,
                min_decoding_length=len(batch[0]),
                max_decoding_length=len(batch[0]),
            )

    return translate


def by_length(batches: Batches) -> dict[int, Batches]:
    found: dict[int, Batches] = {}
    for batch in batches:
        found.setdefault(len(batch[0]), []).append(batch)
    return found


def work(settings: dict[str, Any]) -> None:
    """A tool's process: measures what a line of its input asks for, and answers with seconds."""
    torch.set_num_threads(settings["threads"])
    size = Size(**settings["size"])
    tool, precision = settings["tool"].split()
    kinds: Any = {"scratchlab": scratchlab, "transformers": transformers}
    translate: Translate = kinds.get(tool, ctranslate2)(size, precision)
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        start = time.perf_counter()
        translate(asked["batches"], asked["beams"])
        print(time.perf_counter() - start, flush=True)
    OPEN.close()


class Tool:
    """The process of a tool."""

    def __init__(self, name: str, size: Size, threads: int) -> None:
        settings = {"tool": name, "size": vars(size), "threads": threads}
        self.process = subprocess.Popen(
            [sys.executable, __file__, WORK, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.precision, self.threads = name.split()[1], threads
        self.answer()

    def answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(self.process.wait() or 1)  # it has said why
        return line

    def seconds(self, batches: Batches, beams: int) -> float:
        assert self.process.stdin is not None
        print(json.dumps({"batches": batches, "beams": beams}), file=self.process.stdin, flush=True)
        found = float(self.answer())
        time.sleep(PAUSE)
        return found

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def batches_of(size: Size, batch: int, count: int) -> Batches:
    """``count`` batches of sentences of one length each, lengths spread as those of Multi30k."""
    lengths = sorted(len(source) for source, _ in sentence_pairs(1000, size.vocabulary))
    generator = torch.Generator().manual_seed(2)
    found: Batches = []
    for number in range(count):
        words = lengths[(2 * number + 1) * 500 // count] - 1
        rows = torch.randint(4, size.vocabulary, (batch, words), generator=generator)
        found.append([[*row, EOS] for row in rows.tolist()])
    return found


class Bound:
    """What the machine's own speed allows with so many threads."""

    def __init__(self, size: Size, threads: int) -> None:
        torch.set_num_threads(threads)
        d, ff = size.d_model, size.d_ff
        self.source = size.layers * (4 * d * d + 2 * d * ff + 2 * d * d)  # with keys of the memory
        self.step = size.layers * (6 * d * d + 2 * d * ff) + d * size.vocabulary
        self.bytes = {"fp32": 4, "bf16": 2, "int8": 1}
        megabytes = {k: max(1, self.step * n // 2**20) for k, n in self.bytes.items()}
        self.bandwidth = {k: read_bandwidth(m, 20) * 1e9 for k, m in megabytes.items()}
        self.peak = {k: gemm_peak(dtype=t) * 1e9 for k, t in (
            ("fp32", torch.float32), ("bf16", torch.bfloat16), ("int8", torch.int8),
        )}  # fmt: skip

    def seconds(self, precision: str, batches: Batches, beams: int) -> float:
        """Of all steps of all batches; ours multiplies integers as bf16."""
        total = 0.0
        for batch in batches:
            length, rows = len(batch[0]), len(batch)
            read = self.step * self.bytes[precision] / self.bandwidth[precision]
            made = 2 * self.step * rows * beams / self.peak[precision]
            encoded = 2 * self.source * rows * length / self.peak[precision]
            total += encoded + length * max(read, made)
        return total


def bench(
    report: Report, how: str, batches: Batches, tools: dict[tuple[str, int], Tool],
    bounds: dict[int, Bound], rounds: int,
) -> dict[str, dict[tuple[str, int], Spread]]:  # fmt: skip
    """The table of sentences that come in ``batches``; sentences/s by way, tool and threads."""
    columns = [c for way in WAYS for c in (f"{way}, sentences/s ↑", f"{way}, of the bound (%) ↑")]
    count = sum(map(len, batches))
    with report.table(how, "tool", "threads", *columns) as table:
        seconds: dict[str, dict[tuple[str, int], list[float]]] = {way: {} for way in WAYS}
        for number in range(rounds + 1):  # the first warms up
            for way, beams in WAYS.items():
                for name, tool in tools.items():
                    taken = tool.seconds(batches, beams)
                    if number:
                        seconds[way].setdefault(name, []).append(taken)
        found = {
            way: {name: Spread(values).rate(count) for name, values in by_tool.items()}
            for way, by_tool in seconds.items()
        }
        for (name, threads), tool in tools.items():
            cells: list[Any] = []
            for way, beams in WAYS.items():
                rate = found[way][name, threads]
                least = bounds[threads].seconds(tool.precision, batches, beams)
                cells += [rate, 100 * least * float(rate) / count]
            table.row(name, str(threads), *cells)
    return {f"{way}, {how}": rates for way, rates in found.items()}


def at_their_best(report: Report, found: dict[str, dict[tuple[str, int], Spread]]) -> None:
    """Each tool with the number of threads that suits it best in each setting."""
    best: dict[str, dict[str, tuple[float, int]]] = {}
    for setting, rates in found.items():
        for (name, threads), rate in rates.items():
            row = best.setdefault(name, {})
            row[setting] = max(row.get(setting, (0.0, 0)), (float(rate), threads))
    with report.table(f"each tool at its best, × {PEER} (threads)", "tool", *found) as table:
        for name, row in best.items():
            times = ((setting, rate / best[PEER][setting][0]) for setting, (rate, _) in row.items())
            table.row(name, *(f"{ratio:.2f} ({row[setting][1]})" for setting, ratio in times))


def main() -> None:
    parser = bench_parser(__doc__, threads=False)
    parser.add_argument("--rounds", type=int, default=5, help="times that each is measured")
    parser.add_argument("--threads", type=int, nargs="+", help="default: as many as torch chooses")
    parser.add_argument("--only", nargs="+", choices=TOOLS, default=list(TOOLS))
    with measuring(parser, ["transformers", "ctranslate2"], elsewhere=True) as (options, report):
        for package in {name.split()[0] for name in options.only}:
            if importlib.util.find_spec(package) is None:
                raise MissingPackageError(package, "this comparison")
        counts = options.threads or [torch.get_num_threads()]
        size, many, few, rounds = Size(256, 1024), 64, 12, options.rounds
        if options.quick:
            size, many, few, rounds = Size(32, 64, layers=1, vocabulary=300), 4, 2, 1
        settings = {"one at a time": batches_of(size, 1, few),
                    f"{many} at a time": batches_of(size, many, 2)}  # fmt: skip
        tools = {(name, n): Tool(name, size, n) for name in options.only for n in counts}
        bounds = {n: Bound(size, n) for n in counts}
        found: dict[str, dict[tuple[str, int], Spread]] = {}
        for how, batches in settings.items():
            found |= bench(report, how, batches, tools, bounds, rounds)
        for tool in tools.values():
            tool.close()
        if PEER in options.only:
            at_their_best(report, found)


if __name__ == "__main__":
    if sys.argv[1:2] == [WORK]:
        work(json.loads(sys.argv[2]))
    else:
        main()
