"""Speed of language models: training, generation and counting, beside the machine and a peer.

    python scripts/bench_language_models.py [--seconds 20] [--threads N] [--quick]

Prints, in one run:

* milliseconds of a training step at nanoGPT's CPU setting (4 layers, 4 heads, width 128, block 64,
  batch 12, characters), in fp32 and in bf16, GFLOP/s and their share of the machine's peak in
  matrix products of that precision, beside a plain loop with transformers' GPT2LMHeadModel of the
  same size on the same batches in fp32;
* tokens/s of greedy generation at the size of GPT-2 small (random weights), one text and eight at
  a time, beside transformers' ``generate``, and the share of what the memory allows: a step must
  read every weight once;
* words/s of the 5-gram's training, with its test perplexity where WikiText-2's files are.

A step of both loops is: batch, loss, gradients, clipping, fused AdamW. FLOPs are two for each
multiply-add of the matrix products (half the square of causal attention), times three for forward
and backward. Ours and the peer's steps alternate in small groups, since the machine's speed may
change while this runs: compare ratios, not times.
"""

from __future__ import annotations

import argparse
import gzip
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
import torch.nn.functional as F
from machine_peak import PRECISIONS, gemm_peak, load, read_bandwidth
from torch import Tensor, nn

from scratchlab.data.contract import Spec, TokenBatch
from scratchlab.decoding.sampling import Sampling
from scratchlab.estimators.ngrams.model import NGram
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
GPT2_SMALL = Size(layers=12, heads=12, width=768, block=1024, vocabulary=50257)
TINY = Size(layers=2, heads=2, width=32, block=64, vocabulary=101)


def trainer_of(model: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], size: Size, batch: int):
    """One training step as a function of its number."""
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.99), fused=True)

    def step(number: int) -> None:
        random = torch.Generator().manual_seed(number)
        rows = torch.randint(size.vocabulary, (batch, size.block + 1), generator=random)
        loss(rows[:, :-1], rows[:, 1:]).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def training(size: Size, batch: int, seconds: float, group: int) -> None:
    """Groups of steps of ours, in both precisions, and of the peer in turn."""
    peer = size.theirs().train()
    task = LanguageModeling(LanguageModeling.Config(), size.spec())

    def ours(dtype: torch.dtype) -> Callable[[int], None]:
        model = size.ours(bias=False).train()

        def loss(tokens: Tensor, targets: Tensor) -> Tensor:
            with autocast(torch.device("cpu"), dtype):
                found = task.loss(model, TokenBatch(tokens, targets, torch.arange(len(tokens))))
            return found.total / found.count

        return trainer_of(model, loss, size, batch)

    def their_loss(tokens: Tensor, targets: Tensor) -> Tensor:
        logits = peer(input_ids=tokens, use_cache=False).logits
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    steps = {
        **{f"scratchlab {name}": ours(dtype) for name, dtype in PRECISIONS.items()},
        "transformers": trainer_of(peer, their_loss, size, batch),
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    peaks = {name: gemm_peak(dtype=dtype) for name, dtype in PRECISIONS.items()}
    begin, number = time.perf_counter(), 0
    while number < 2 * group or time.perf_counter() - begin < len(steps) * seconds:
        for name, step in steps.items():
            for offset in range(group):
                start = time.perf_counter()
                step(number + offset)
                if number:  # the first group warms up
                    times[name].append(time.perf_counter() - start)
        number += group
    peaks = {name: max(before, gemm_peak(dtype=PRECISIONS[name])) for name, before in peaks.items()}
    flops = size.training_flops(batch)
    for name, found in times.items():
        median = statistics.median(found)
        rate = flops / median / 1e9
        peak = peaks["bf16" if name.endswith("bf16") else "fp32"]
        low, _, high = (1000 * q for q in statistics.quantiles(found, method="inclusive"))
        print(
            f"  {name:<15} {1000 * median:6.1f} ms a step ({low:.1f} to {high:.1f}), "
            f"{batch * size.block / median:8,.0f} tokens/s, {rate:6.1f} GFLOP/s, "
            f"{rate / peak:6.1%} of peak {peak:.0f}; {len(found)} steps, {load()}",
            flush=True,
        )
    theirs = statistics.median(times["transformers"])
    ratios = [theirs / statistics.median(times[f"scratchlab {name}"]) for name in PRECISIONS]
    print("  {:.2f} (fp32) and {:.2f} (bf16) times as fast as transformers".format(*ratios))


def generation(size: Size, batch: int, prompt: int, new: int, rounds: int) -> None:
    """Greedy continuations of ``batch`` random prompts, ours and the peer's in turn."""
    model, peer = size.ours(bias=True).eval(), size.theirs().eval()
    random = torch.Generator().manual_seed(1)
    prompts = torch.randint(size.vocabulary, (batch, prompt), generator=random)
    decoder = Sampling(Sampling.Config(temperature=0.0, max_new_tokens=new))

    def ours() -> int:
        return sum(map(len, decoder.generate_batch(model, prompts.tolist(), size.spec())))

    def theirs() -> int:
        with torch.inference_mode():
            ids = peer.generate(
                input_ids=prompts,
                attention_mask=torch.ones_like(prompts),
                do_sample=False,
                max_new_tokens=new,
                min_new_tokens=new,
                pad_token_id=0,
            )
        return ids[:, prompt:].numel()

    best = {"scratchlab": 0.0, "transformers": 0.0}
    bandwidth = read_bandwidth(64 if size is TINY else 512)
    for _ in range(rounds):
        for name, write in (("scratchlab", ours), ("transformers", theirs)):
            start = time.perf_counter()
            tokens = write()
            best[name] = max(best[name], tokens / (time.perf_counter() - start))
    bandwidth = max(bandwidth, read_bandwidth(64 if size is TINY else 512))
    # Positions are looked up, everything else (the tied embedding as output layer) is read.
    weights = sum(p.nbytes for n, p in model.named_parameters() if not n.startswith("positions"))
    floor = batch * bandwidth * 1e9 / weights
    print(
        f"  batch {batch}: scratchlab {best['scratchlab']:7.1f} tokens/s, transformers "
        f"{best['transformers']:7.1f}: {best['scratchlab'] / best['transformers']:.2f} times as "
        f"fast; {best['scratchlab'] / floor:.1%} of the {floor:.1f} tokens/s at which "
        f"{weights / 1e6:.0f} MB are read at {bandwidth:.1f} GB/s",
        flush=True,
    )


def counting(quick: bool) -> None:
    """The 5-gram on WikiText-2, or on Python's documentation where its files are not."""
    root = os.environ.get("SCRATCHLAB_DATA")
    folder = Path(root) if root and not quick else None
    if folder is not None and (folder / WIKITEXT.format("train")).is_file():
        train, test = (wikitext_lines(folder, split) for split in ("train", "test"))
        name = "WikiText-2"
    else:
        from pydoc_data.topics import topics

        lines = [line.split() for key in sorted(topics) for line in topics[key].splitlines()]
        lines = [line for line in lines if line]
        train, test = lines[:-1000], lines[-1000:]
        name = "Python's documentation"
    words = sum(map(len, train))
    start = time.perf_counter()
    model = NGram(order=5).fit_sentences(train)
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    perplexity = model.score_sentences(test).perplexity
    scored = time.perf_counter() - start
    print(
        f"  {name}: {words:,} words in {seconds:.1f} s, {words / seconds:,.0f} words/s; "
        f"test in {scored:.1f} s, perplexity {perplexity:.2f}; "
        f"peak memory of this process {peak_memory_bytes() / 2**20:,.0f} MiB"
    )


def wikitext_lines(folder: Path, split: str) -> list[list[str]]:
    with gzip.open(folder / WIKITEXT.format(split), "rt", encoding="utf-8") as file:
        lines = [line.split() for line in file]
    return [line for line in lines if line]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of training, each")
    parser.add_argument("--rounds", type=int, default=3, help="of generation, the best counts")
    parser.add_argument("--threads", type=int, help="default: as torch chooses")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run?")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print("5-gram, modified Kneser-Ney")  # first: its peak memory is not that of what follows
    counting(arguments.quick)
    small = TINY if arguments.quick else NANOGPT
    print(f"training: {small}, batch 12")
    training(small, 12, 0.0 if arguments.quick else arguments.seconds, 2 if arguments.quick else 10)
    large = TINY if arguments.quick else GPT2_SMALL
    prompt, new = (8, 8) if arguments.quick else (32, 64)
    print(f"generation: {large}, prompts of {prompt} tokens, {new} more")
    for batch in (1, 8):
        generation(large, batch, prompt, new, 1 if arguments.quick else arguments.rounds)


if __name__ == "__main__":
    main()
