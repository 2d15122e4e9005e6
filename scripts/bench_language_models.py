"""Speed of language models: training, generation and counting, beside the machine and a peer.

    python scripts/bench_language_models.py [--seconds 20] [--rounds 5] [--threads N] [--quick]
                                            [--record [FOLDER]]

In one run:

* words/s of the 5-gram's training, with its test perplexity where WikiText-2's files are;
* milliseconds of a training step, GFLOP/s and their share of the peak of matrix products in that
  precision, at nanoGPT's CPU setting (4 layers, 4 heads, width 128, block 64, batch 12, characters)
  and at a larger one (6, 6, 384, 256, 16), beside a GPT of plain PyTorch layers in nanoGPT's loop
  and transformers' GPT2LMHeadModel in the same loop, on the same batches;
* tokens/s of greedy generation at the size of GPT-2 small (random weights), one text and eight at
  a time, with weights in fp32, bf16 and int8, beside transformers' ``generate`` in fp32, and the
  share of what the memory allows: a step must read every weight once, as it is kept.

A step of all loops is: batch, loss, gradients, clipping, fused AdamW, and GELU is exact in all of
them, as in nanoGPT. FLOPs are two for each
multiply-add of the matrix products (half the square of causal attention), times three for forward
and backward. All take turns in small groups, since the machine's speed may change while this runs:
compare ratios, not times.
"""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
import torch.nn.functional as F
from bench_report import Report, Spread, bench_parser, documentation, measuring
from machine_peak import PRECISIONS, gemm_peak, read_bandwidth
from plain_gpt import PlainGPT
from torch import Tensor, nn

from scratchlab.data.contract import Spec, TokenBatch
from scratchlab.decoding.sampling import Sampling
from scratchlab.estimators.ngrams.model import NGram
from scratchlab.methods.bf16 import Bf16
from scratchlab.methods.contract import MethodContext
from scratchlab.methods.int8 import Int8
from scratchlab.models.compiled.fitting import can_be_compiled
from scratchlab.models.gpt import GPT
from scratchlab.run.manifest import peak_memory_bytes
from scratchlab.tasks.language_modeling import LanguageModeling
from scratchlab.training.allocator import keep_freed_memory
from scratchlab.training.precision import autocast

WIKITEXT = "wikitext2/{}.txt.gz"


@dataclass(frozen=True)
class Size:
    layers: int
    heads: int
    width: int
    block: int
    vocabulary: int

    def spec(self) -> Spec:
        return Spec(task="language_modeling", vocab_size=self.vocabulary, max_length=self.block)

    def ours(self, bias: bool) -> GPT:
        torch.manual_seed(0)
        config = GPT.Config(
            d_model=self.width,
            n_heads=self.heads,
            n_layers=self.layers,
            positions="learned",
            bias=bias,
            activation="gelu",
        )
        return GPT(config, self.spec())

    def theirs(self) -> Any:
        from transformers import GPT2Config, GPT2LMHeadModel
        from transformers.utils import logging

        logging.set_verbosity_error()
        torch.manual_seed(0)
        config = GPT2Config(
            vocab_size=self.vocabulary,
            n_positions=self.block,
            n_embd=self.width,
            n_layer=self.layers,
            n_head=self.heads,
            activation_function="gelu",
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=None,
            eos_token_id=None,
        )
        return GPT2LMHeadModel(config)

    def training_flops(self, batch: int) -> float:
        """Of a step with ``batch`` rows of a whole block."""
        tokens, d = batch * self.block, self.width
        products = tokens * (self.layers * 12 * d * d + d * self.vocabulary)
        products += batch * self.layers * 2 * d * self.block * (self.block + 1) // 2
        return 3 * 2 * products


NANOGPT = Size(layers=4, heads=4, width=128, block=64, vocabulary=65)
WIDER = Size(layers=6, heads=6, width=384, block=256, vocabulary=65)
GPT2_SMALL = Size(layers=12, heads=12, width=768, block=1024, vocabulary=50257)
TINY = Size(layers=2, heads=2, width=32, block=64, vocabulary=101)


Step = Callable[[int], None]
Loss = Callable[[Tensor, Tensor], Tensor]


def step_of(model: nn.Module, loss: Loss, size: Size, batch: int) -> Step:
    """One training step as a function of its number."""
    parameters = list(model.train().parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.99), fused=True)

    def step(number: int) -> None:
        random = torch.Generator().manual_seed(number)
        rows = torch.randint(size.vocabulary, (batch, size.block + 1), generator=random)
        loss(rows[:, :-1], rows[:, 1:]).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def steps_of(size: Size, batch: int) -> dict[str, Step]:
    """A training step of ours and of each peer, the last word of whose name is its precision."""
    cpu = torch.device("cpu")
    task = LanguageModeling(LanguageModeling.Config(), size.spec())

    def ours(dtype: torch.dtype) -> Step:
        model = size.ours(bias=False)

        def loss(tokens: Tensor, targets: Tensor) -> Tensor:
            with autocast(cpu, dtype):
                found = task.loss(model, TokenBatch(tokens, targets, torch.arange(len(tokens))))
            return found.total / found.count

        return step_of(model, loss, size, batch)

    def plain(dtype: torch.dtype) -> Step:
        model = PlainGPT(**vars(size))

        def loss(tokens: Tensor, targets: Tensor) -> Tensor:
            with autocast(cpu, dtype):
                return model.loss(tokens, targets)

        return step_of(model, loss, size, batch)

    peer = size.theirs()

    def their_loss(tokens: Tensor, targets: Tensor) -> Tensor:
        logits = peer(input_ids=tokens, use_cache=False).logits
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    return {
        **{f"scratchlab {name}": ours(dtype) for name, dtype in PRECISIONS.items()},
        **{f"nanoGPT's loop {name}": plain(dtype) for name, dtype in PRECISIONS.items()},
        "transformers fp32": step_of(peer, their_loss, size, batch),
    }


def training(report: Report, size: Size, batch: int, seconds: float, group: int) -> None:
    """Groups of steps of all in turn."""
    title = (
        f"training step: {size.layers} layers, {size.heads} heads, width {size.width}, "
        f"block {size.block}, batch {batch}"
    )
    columns = ("ms a step ↓", "tokens/s ↑", "GFLOP/s", "of the peak (%) ↑", "× nanoGPT's loop",
               "× transformers fp32")  # fmt: skip
    with report.table(title, "what", *columns) as table:
        steps = steps_of(size, batch)
        times: dict[str, list[float]] = {name: [] for name in steps}
        peaks = {name: gemm_peak(dtype=dtype) for name, dtype in PRECISIONS.items()}
        begin, number = time.perf_counter(), 0
        while number < 2 * group or time.perf_counter() - begin < len(steps) * seconds:
            for name, step in steps.items():
                for offset in range(group):
                    start = time.perf_counter()
                    step(number + offset)
                    if number and (offset or group == 1):  # what is first finds others' memory
                        times[name].append(time.perf_counter() - start)
            number += group
        peaks = {k: max(before, gemm_peak(dtype=PRECISIONS[k])) for k, before in peaks.items()}
        medians = {name: float(Spread(found)) for name, found in times.items()}
        for name, found in times.items():
            precision = name.split()[-1]
            step = Spread(found)
            rate = size.training_flops(batch) / medians[name] / 1e9
            table.row(
                name, step * 1000, step.rate(batch * size.block), rate,
                100 * rate / peaks[precision],
                medians[f"nanoGPT's loop {precision}"] / medians[name],
                medians["transformers fp32"] / medians[name],
            )  # fmt: skip
        shown = ", ".join(f"{peak:.0f} in {name}" for name, peak in peaks.items())
        table.notes.append(f"peak of large products, GFLOP/s: {shown}; × nanoGPT's loop: of the "
                           "same precision")  # fmt: skip


def models_of(size: Size) -> dict[str, Any]:
    """What generates: ours in three precisions, and the peer."""
    found = {name: size.ours(bias=True).eval() for name in ("fp32", "bf16", "int8")}
    for name, method in (("bf16", Bf16(Bf16.Config())), ("int8", Int8(Int8.Config()))):
        found[name] = method.apply(found[name], MethodContext(size.spec()))
    named = {f"scratchlab {name}": model for name, model in found.items()}
    return {**named, "transformers fp32": size.theirs().eval()}


def bytes_read(model: nn.Module) -> int:
    """Of a step: all weights, as they are kept. The tied embedding is read as output layer;
    positions are looked up (``wpe`` of transformers), masks are none."""
    kept = {
        name: tensor
        for name, tensor in (*model.named_parameters(), *model.named_buffers())
        if tensor.dtype != torch.bool and "positions" not in name and "wpe" not in name
    }
    return sum(tensor.nbytes for tensor in kept.values())


def generation(
    report: Report, models: dict[str, Any], size: Size, batch: int, prompt: int, new: int,
    rounds: int,
) -> None:  # fmt: skip
    """Greedy continuations of ``batch`` random prompts, by all models in turn."""
    random = torch.Generator().manual_seed(1)
    prompts = torch.randint(size.vocabulary, (batch, prompt), generator=random)

    def write(model: Any) -> None:
        if isinstance(model, GPT):
            # as it is chosen where thousands of steps come
            compiled = can_be_compiled(model)
            options: Any = {"temperature": 0.0, "max_new_tokens": new, "compiled": compiled}
            decoder = Sampling(Sampling.Config(**options))
            decoder.generate_batch(model, prompts.tolist(), size.spec())
            return
        with torch.inference_mode():
            model.generate(
                input_ids=prompts,
                attention_mask=torch.ones_like(prompts),
                do_sample=False,
                max_new_tokens=new,
                min_new_tokens=new,
                pad_token_id=0,
            )

    title = (
        f"generation: {size.layers} layers, width {size.width}, vocabulary {size.vocabulary:,}; "
        f"{batch} at a time, prompts of {prompt} tokens, {new} more"
    )
    columns = ("tokens/s ↑", "weights (MB)", "memory (GB/s)", "of the bound (%) ↑",
               "× transformers fp32")  # fmt: skip
    with report.table(title, "what", *columns) as table:
        times: dict[str, list[float]] = {name: [] for name in models}
        sizes = {name: bytes_read(model) for name, model in models.items()}
        speeds = dict.fromkeys(sizes.values(), 0.0)
        for number in range(rounds + 1):
            for read in speeds:
                speeds[read] = max(speeds[read], read_bandwidth(max(1, read >> 20), 2))
            for name, model in models.items():
                start = time.perf_counter()
                write(model)
                if number:  # the first round warms up
                    times[name].append(time.perf_counter() - start)
        rates = {name: Spread(found).rate(batch * new) for name, found in times.items()}
        for name, rate in rates.items():
            read = sizes[name]
            bound = batch * speeds[read] * 1e9 / read
            table.row(name, rate, read / 1e6, speeds[read], 100 * float(rate) / bound,
                      float(rate) / float(rates["transformers fp32"]))  # fmt: skip
        table.notes.append("bound: the weights are read once a step, at the speed at which so much "
                           "memory is read here")  # fmt: skip


def counting(report: Report, quick: bool, rounds: int) -> None:
    """The 5-gram on WikiText-2, or on Python's documentation where its files are not."""
    root = os.environ.get("SCRATCHLAB_DATA")
    folder = Path(root) if root and not quick else None
    if folder is not None and (folder / WIKITEXT.format("train")).is_file():
        train, test = (wikitext_lines(folder, split) for split in ("train", "test"))
        name = "WikiText-2"
    else:
        lines = documentation()
        train, test = lines[:-1000], lines[-1000:]
        name = "Python's documentation"
    columns = ("words", "training, words/s ↑", "test, words/s ↑", "perplexity ↓",
               "peak memory (MiB) ↓")  # fmt: skip
    with report.table("5-gram, modified Kneser-Ney", "text", *columns) as table:
        fitted, scored, memory = [], [], 0
        for _ in range(rounds):
            start = time.perf_counter()
            model = NGram(order=5).fit_sentences(train)
            fitted.append(time.perf_counter() - start)
            start = time.perf_counter()
            perplexity = model.score_sentences(test).perplexity
            scored.append(time.perf_counter() - start)
            memory = memory or peak_memory_bytes()  # of one: in later rounds there are two
        words, asked = (sum(map(len, part)) for part in (train, test))
        table.row(name, words, Spread(fitted).rate(words), Spread(scored).rate(asked),
                  perplexity, memory / 2**20)  # fmt: skip


def wikitext_lines(folder: Path, split: str) -> list[list[str]]:
    with gzip.open(folder / WIKITEXT.format(split), "rt", encoding="utf-8") as file:
        lines = [line.split() for line in file]
    return [line for line in lines if line]


def main() -> None:
    parser = bench_parser(__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of training, each")
    parser.add_argument("--rounds", type=int, default=5, help="of counting and of generation")
    with measuring(parser, ["transformers"]) as (options, report):
        keep_freed_memory()
        quick = options.quick
        seconds, rounds = (0.0, 1) if quick else (options.seconds, options.rounds)
        counting(report, quick, rounds)  # first: its peak memory is not that of what follows
        training(report, TINY if quick else NANOGPT, 12, seconds, 2 if quick else 10)
        if not quick:
            training(report, WIDER, 16, seconds, 3)
        size, prompt, new = (TINY, 8, 8) if quick else (GPT2_SMALL, 32, 64)
        models = models_of(size)
        for batch in (1, 8):
            generation(report, models, size, batch, prompt, new, rounds)


if __name__ == "__main__":
    main()
