"""Speed of training a translator, beside the machine's peak and a peer.

    python scripts/bench_translation.py [--seconds 20] [--threads N] [--quick] [--record [FOLDER]]

In one run: target tokens/s, GFLOP/s and the share of the peak of its precision in training at d=256
and d=128, in fp32 and in bf16 (3+3 layers, vocabulary 8,000, batches of 4,096 target tokens),
beside transformers' MarianMTModel of the same size trained by its Trainer on the same sentences:
random ids, as long as those of Multi30k. Decoding is timed by bench_decoding.py.

"Products alone" is what is left if everything but the step's own matrix products were free: they
are run one after another, in their own shapes. Narrow products are slower than the large square
ones that set the peak, by how much depends on the processor; no loop can pass that line.

How FLOPs are counted: two for each multiply-add of a matrix product (attention scores included) of
the forward pass, times three for forward and backward. Only real tokens count: padding, embedding
look-ups, softmax, norms, dropout and the optimizer are work that earns nothing.

Groups of steps in both precisions are made in turn. The machine's speed may change while this runs,
so the peak is measured before and after each part and the higher one is taken; compare ratios, not
times.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from bench_report import Report, Spread, bench_parser, measuring
from machine_peak import PRECISIONS, gemm_peak
from torch import Tensor, nn

from scratchlab.data.contract import Seq2SeqBatch, Spec
from scratchlab.decoding.contract import pad_rows
from scratchlab.models.layers.lowered import ROWS
from scratchlab.models.transformer_mt import TransformerMT
from scratchlab.tasks.seq2seq import Seq2Seq
from scratchlab.training.allocator import keep_freed_memory
from scratchlab.training.precision import autocast

UNK, PAD, SOS, EOS = 0, 1, 2, 3
GROUP = 6  # steps in one precision before those in the other
Pair = tuple[list[int], list[int]]


@dataclass(frozen=True)
class Size:
    d_model: int
    d_ff: int
    n_heads: int = 4
    layers: int = 3
    vocabulary: int = 8000
    batch_tokens: int = 4096


def spec_of(size: Size) -> Spec:
    return Spec(
        task="seq2seq",
        vocab_size=size.vocabulary,
        source_vocab_size=size.vocabulary,
        shared_vocabulary=True,
        unk_id=UNK,
        pad_id=PAD,
        sos_id=SOS,
        eos_id=EOS,
    )


def translator(size: Size) -> TransformerMT:
    """Ours, with the same random weights each time."""
    torch.manual_seed(0)
    config = TransformerMT.Config(
        d_model=size.d_model,
        n_heads=size.n_heads,
        encoder_layers=size.layers,
        decoder_layers=size.layers,
        d_ff=size.d_ff,
        dropout=0.1,
    )
    return TransformerMT(config, spec_of(size))


def sentence_pairs(count: int, vocabulary: int) -> list[Pair]:
    """Random ids; target lengths N(14, 4), sources N(0, 2) longer; <eos> included."""
    generator = torch.Generator().manual_seed(0)
    target = 14 + 4 * torch.randn(count, generator=generator)
    source = target + 2 * torch.randn(count, generator=generator)

    def ids(length: float) -> list[int]:
        words = max(3, min(29, round(length) - 1))
        return [*torch.randint(4, vocabulary, (words,), generator=generator).tolist(), EOS]

    return [(ids(s), ids(t)) for s, t in zip(source.tolist(), target.tolist(), strict=True)]


def length_batches(pairs: list[Pair], tokens: int) -> list[list[Pair]]:
    """Pairs of similar lengths together, up to so many target tokens a batch, in random order."""
    ordered = sorted(pairs, key=lambda pair: (len(pair[1]), len(pair[0])))
    batches: list[list[Pair]] = [[]]
    filled = 0
    for pair in ordered:
        if filled + len(pair[1]) > tokens:
            batches.append([])
            filled = 0
        batches[-1].append(pair)
        filled += len(pair[1])
    whole = batches[:-1]
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(1))
    return [whole[i] for i in order.tolist()]


def as_batch(pairs: list[Pair]) -> Seq2SeqBatch:
    return Seq2SeqBatch(
        source=pad_rows([s for s, _ in pairs], PAD),
        target_in=pad_rows([[SOS, *t[:-1]] for _, t in pairs], PAD),
        target_out=pad_rows([t for _, t in pairs], PAD),
        indices=torch.arange(len(pairs)),
    )


def training_flops(size: Size, pairs: list[Pair]) -> float:
    """Forward and backward FLOPs of a batch, as the module's docstring says."""
    d, ff, layers = size.d_model, size.d_ff, size.layers
    source = sum(len(s) for s, _ in pairs)
    target = sum(len(t) for _, t in pairs)
    products = source * layers * (4 * d * d + 2 * d * ff)  # encoder: q k v out, feed-forward
    products += target * layers * (6 * d * d + 2 * d * ff)  # decoder: also q and out of cross
    products += source * layers * 2 * d * d  # keys and values of the memory
    products += target * d * size.vocabulary
    for s, t in pairs:  # scores and weighted sums; half of the causal square is never needed
        products += layers * 2 * d * (len(s) ** 2 + len(t) * (len(t) + 1) // 2 + len(s) * len(t))
    return 3 * 2 * products


def product_shapes(size: Size, pairs: list[Pair]) -> list[tuple[int, int, int]]:
    """(rows, inner, columns) of the forward pass's matrix products, attention scores left out."""
    d, ff, layers = size.d_model, size.d_ff, size.layers
    source = len(pairs) * max(len(s) for s, _ in pairs)
    target = len(pairs) * max(len(t) for _, t in pairs)
    encoder = [(source, d, 3 * d), (source, d, d), (source, d, ff), (source, ff, d)]
    decoder = [(target, d, 3 * d), (target, d, d), (target, d, d), (target, d, d)]
    decoder += [(source, d, 2 * d), (target, d, ff), (target, ff, d)]
    return layers * (encoder + decoder) + [(target_tokens(pairs), d, size.vocabulary)]


def products_alone(size: Size, batches: list[list[Pair]], dtype: torch.dtype) -> Spread:
    """GFLOP/s of a training step's matrix products and nothing else, of each batch. In bf16 their
    rows are as many as training makes of them (``layers.lowered``)."""
    rates = []
    for pairs in batches:
        shapes = product_shapes(size, pairs)
        if dtype == torch.bfloat16:
            shapes = [(m + -m % ROWS if m >= ROWS else m, k, n) for m, k, n in shapes]
        operands = {
            (m, k, n): [torch.randn(*s).to(dtype) for s in ((m, k), (n, k), (m, n))]
            for m, k, n in shapes
        }

        def products(shape: tuple[int, int, int], of: Any = operands) -> None:
            x, weight, gradient = of[shape]
            x @ weight.t()
            gradient @ weight
            gradient.t() @ x

        for shape in operands:  # oneDNN compiles a shape that it has not met
            products(shape)
        start = time.perf_counter()
        for shape in shapes:
            products(shape)
        seconds = time.perf_counter() - start
        rates.append(sum(6 * m * k * n for m, k, n in shapes) / seconds / 1e9)
    return Spread(rates)


class Training(NamedTuple):
    """What was measured: of each step, and the highest peak seen around them."""

    tokens: Spread  # target tokens/s
    gflops: Spread
    peak: float


def summarise(steps: list[tuple[float, int, float]], peaks: list[float]) -> Training:
    """``steps``: (seconds, target tokens, FLOPs) of each."""
    return Training(
        Spread(tokens / seconds for seconds, tokens, _ in steps),
        Spread(flops / seconds / 1e9 for seconds, _, flops in steps),
        max(peaks),
    )


def cycle(batches: list[list[Pair]]) -> Iterator[list[Pair]]:
    while True:
        yield from batches


def target_tokens(pairs: list[Pair]) -> int:
    return sum(len(t) for _, t in pairs)


def our_step(size: Size, dtype: torch.dtype) -> Callable[[Any], None]:
    """An update of a fresh model from a batch, with products in ``dtype``."""
    model = translator(size)
    task = Seq2Seq(Seq2Seq.Config(label_smoothing=0.1), spec_of(size))
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)

    def step(batch: Any) -> None:
        with autocast(torch.device("cpu"), dtype):
            loss = task.loss(model, batch)
        (loss.total / loss.count).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def train_ours(size: Size, batches: list[list[Pair]], seconds: float) -> dict[str, Training]:
    """Groups of updates in fp32 and in bf16 in turn, ``seconds`` of each."""
    made = {name: our_step(size, dtype) for name, dtype in PRECISIONS.items()}
    steps: dict[str, list[tuple[float, int, float]]] = {name: [] for name in made}
    peaks = {name: [gemm_peak(dtype=dtype)] for name, dtype in PRECISIONS.items()}
    begin = time.perf_counter()
    upcoming = cycle(batches)
    while not any(steps.values()) or time.perf_counter() - begin < len(made) * seconds:
        group = [next(upcoming) for _ in range(GROUP)]
        for name, step in made.items():
            for number, pairs in enumerate(group):
                batch = as_batch(pairs)  # outside, as in the peer
                start = time.perf_counter()
                step(batch)
                taken = time.perf_counter() - start
                if number:  # the first step after those of the other precision warms up
                    steps[name].append((taken, target_tokens(pairs), training_flops(size, pairs)))
    for name, dtype in PRECISIONS.items():
        peaks[name].append(gemm_peak(dtype=dtype))
    return {name: summarise(found, peaks[name]) for name, found in steps.items()}


def marian(size: Size) -> Any:
    from transformers import MarianConfig, MarianMTModel
    from transformers.utils import logging

    logging.set_verbosity_error()
    torch.manual_seed(0)
    return MarianMTModel(
        MarianConfig(
            vocab_size=size.vocabulary,
            d_model=size.d_model,
            encoder_layers=size.layers,
            decoder_layers=size.layers,
            encoder_ffn_dim=size.d_ff,
            decoder_ffn_dim=size.d_ff,
            encoder_attention_heads=size.n_heads,
            decoder_attention_heads=size.n_heads,
            activation_function="relu",
            dropout=0.1,
            attention_dropout=0.0,
            activation_dropout=0.0,
            scale_embedding=True,
            share_encoder_decoder_embeddings=True,
            max_position_embeddings=256,
            pad_token_id=PAD,
            eos_token_id=EOS,
            bos_token_id=SOS,
            decoder_start_token_id=SOS,
            forced_eos_token_id=None,
        )
    )


def train_marian(size: Size, batches: list[list[Pair]], seconds: float) -> Training:
    """transformers' Trainer, its usual way: as many sentences a batch as ours, in random order."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    pairs = [pair for batch in batches for pair in batch]
    per_batch = round(len(pairs) / len(batches))
    counted: list[tuple[int, float]] = []
    steps: list[tuple[float, int, float]] = []

    def collate(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        chosen = [pairs[row["row"]] for row in rows]
        counted.append((target_tokens(chosen), training_flops(size, chosen)))
        source = pad_rows([s for s, _ in chosen], PAD)
        labels = pad_rows([t for _, t in chosen], -100)
        return {
            "input_ids": source,
            "attention_mask": (source != PAD).long(),
            "labels": labels,
            "decoder_input_ids": pad_rows([[SOS, *t[:-1]] for _, t in chosen], PAD),
        }

    class Clock(TrainerCallback):
        last = 0.0
        begin = 0.0

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.last = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            now = time.perf_counter()
            if state.global_step == 1:
                self.begin = now
                return
            steps.append((now - self.last, *counted[state.global_step - 1]))
            if now - self.begin > seconds and len(steps) >= 2:
                control.should_training_stop = True

    peaks = [gemm_peak()]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=per_batch,
            max_steps=100_000,
            label_smoothing_factor=0.1,
            optim="adamw_torch_fused",
            learning_rate=1e-4,
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            remove_unused_columns=False,
            seed=0,
        )
        trainer = Trainer(
            model=marian(size),
            args=arguments,
            data_collator=collate,
            train_dataset=[{"row": row} for row in range(len(pairs))],
            callbacks=[Clock()],
        )
        for callback in list(trainer.callback_handler.callbacks):
            if type(callback).__name__ == "PrinterCallback":
                trainer.remove_callback(callback)
        trainer.train()
    peaks.append(gemm_peak())
    return summarise(steps, peaks)


def bench(report: Report, size: Size, seconds: float, peer: bool) -> None:
    """The table of a size."""
    batches = length_batches(
        sentence_pairs(30 * size.batch_tokens // 14, size.vocabulary), size.batch_tokens
    )
    title = (
        f"training, d={size.d_model}, ff={size.d_ff}, {size.layers}+{size.layers} layers, "
        f"vocabulary {size.vocabulary:,}, {size.batch_tokens:,} target tokens a batch"
    )
    columns = ("target tokens/s ↑", "GFLOP/s", "of the peak (%) ↑", "products alone, GFLOP/s",
               "of these (%) ↑", "× transformers fp32")  # fmt: skip
    with report.table(title, "what", *columns) as table:
        ours = train_ours(size, batches, seconds)
        alone = {name: products_alone(size, batches, d) for name, d in PRECISIONS.items()}
        other = train_marian(size, batches, seconds) if peer else None
        for name, (tokens, gflops, peak) in ours.items():
            rate = float(gflops)
            times = float(tokens) / float(other.tokens) if other else None
            own = (alone[name], 100 * rate / float(alone[name]))
            table.row(f"scratchlab {name}", tokens, gflops, 100 * rate / peak, *own, times)
        if other:
            share = 100 * float(other.gflops) / other.peak
            table.row("transformers Marian fp32", other.tokens, other.gflops, share, *3 * [None])
        peaks = ", ".join(f"{found.peak:.0f} in {name}" for name, found in ours.items())
        table.notes.append(f"peak of large products, GFLOP/s: {peaks}")


def main() -> None:
    parser = bench_parser(__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each training measured")
    parser.add_argument("--no-peer", action="store_true", help="leave Marian's training out")
    with measuring(parser, ["transformers"]) as (options, report):
        keep_freed_memory()
        sizes = [Size(256, 1024), Size(128, 512)]
        if options.quick:
            sizes = [Size(32, 64, vocabulary=300, batch_tokens=256)]
        for size in sizes:
            bench(report, size, 0.2 if options.quick else options.seconds, not options.no_peer)


if __name__ == "__main__":
    main()
