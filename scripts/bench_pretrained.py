"""Speed of fine-tuning a pretrained model for summaries, beside transformers' Trainer and peft.

    python scripts/bench_pretrained.py [--checkpoint smollm2] [--examples 32] [--rounds 5]
                                       [--threads N] [--quick] [--record [FOLDER]]

Tokens/s of full fine-tuning and of LoRA on the same examples (documentation of Python or
its source, and its first line), in one run. A token counts if it is in an example: padding earns
nothing. The Trainer is used as its summarisation examples use it: batches of --batch examples,
padded to the longest of the batch, the loss of the model's own head, with the labels of the prompt
masked; peft's LoRA of the same rank on the same layers. Ours sorts examples by length, computes
logits only where there is a target, and no gradients for frozen weights. Both run in fp32 with
AdamW, an epoch in turn, of which the first is not counted.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from bench_report import Report, Spread, bench_parser, measuring
from torch import nn

from scratchlab.data.contract import DataContext
from scratchlab.data.sets.summaries import Docstrings
from scratchlab.data.sources.pretrained_files import find_pretrained, quiet_transformers
from scratchlab.methods.contract import MethodContext
from scratchlab.methods.lora import LoRA
from scratchlab.models.pretrained import PretrainedLM
from scratchlab.run.decisions import cache_folder
from scratchlab.tasks.language_modeling import LanguageModeling
from scratchlab.training.allocator import keep_freed_memory

RANK = 8


def ours(dataset: Docstrings, context: DataContext, checkpoint: str, lora: bool) -> Any:
    """A function that trains one epoch in this project's way; the seconds that it took."""
    model: nn.Module = PretrainedLM(
        PretrainedLM.Config(checkpoint=checkpoint, dropout=0.0), dataset.spec, context
    )
    if lora:
        method = LoRA(LoRA.Config(rank=RANK, targets=["attention"]))
        model = method.apply(model, MethodContext(dataset.spec))
    task = LanguageModeling(LanguageModeling.Config(), dataset.spec)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-5, fused=True)
    model.train()

    def epoch() -> float:
        start = time.perf_counter()
        for batch in dataset.batches("train", seed=0, epoch=0):
            loss = task.loss(model, batch)
            (loss.total / loss.count).backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return time.perf_counter() - start

    return epoch


def theirs(dataset: Docstrings, folder: Path, batch: int, lora: bool) -> Callable[[], float]:
    """A function that trains one epoch with transformers' Trainer (and peft); the seconds from its
    first batch on, as ours has nothing to set up either."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments
    from transformers.trainer_callback import PrinterCallback

    model: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="sdpa"
    )
    if lora:
        names = ["q_proj", "k_proj", "v_proj", "o_proj", "c_attn"]
        present = {n.rpartition(".")[2] for n, _ in model.named_modules()}
        model = get_peft_model(
            model,
            LoraConfig(r=RANK, lora_alpha=16, target_modules=[n for n in names if n in present],
                       task_type="CAUSAL_LM"),
        )  # fmt: skip
    rows = [
        {"input_ids": [*e.prompt, *e.answer], "labels": [-100] * len(e.prompt) + list(e.answer)}
        for e in dataset.encoded("train")
    ]

    def collate(examples: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        width = max(len(e["input_ids"]) for e in examples)
        pad = dataset.tokenizer.pad_id or 0

        def filled(key: str, value: int) -> torch.Tensor:
            return torch.tensor([e[key] + [value] * (width - len(e[key])) for e in examples])

        ids = filled("input_ids", pad)
        lengths = torch.tensor([len(e["input_ids"]) for e in examples])
        mask = (torch.arange(width)[None] < lengths[:, None]).long()
        return {"input_ids": ids, "labels": filled("labels", -100), "attention_mask": mask}

    class Clock(TrainerCallback):
        started = 0.0

        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            self.started = time.perf_counter()

    def epoch() -> float:
        clock = Clock()
        with tempfile.TemporaryDirectory() as output:
            arguments = TrainingArguments(
                output_dir=output, per_device_train_batch_size=batch, num_train_epochs=1,
                learning_rate=1e-5, report_to=[], save_strategy="no", logging_strategy="no",
                disable_tqdm=True, use_cpu=True, dataloader_pin_memory=False,
                remove_unused_columns=False,
            )  # fmt: skip
            trainer = Trainer(
                model=model, args=arguments, train_dataset=rows, data_collator=collate,
                callbacks=[clock],
            )  # fmt: skip
            trainer.remove_callback(PrinterCallback)
            trainer.train()
            return time.perf_counter() - clock.started

    return epoch


def bench(report: Report, options: Any) -> None:
    cache = cache_folder({})
    config = Docstrings.Config(
        tokenizer="pretrained", checkpoint=options.checkpoint, train_examples=options.examples,
        max_length=options.max_length, batch_tokens=options.batch * options.max_length // 2,
    )  # fmt: skip
    dataset = Docstrings(config, context := DataContext(None, cache))
    folder = find_pretrained(options.checkpoint, cache).folder
    tokens = sum(len(e.prompt) + len(e.answer) - 1 for e in dataset.encoded("train"))
    title = f"{options.checkpoint}, {options.examples} examples, {tokens:,} tokens"
    columns = ("scratchlab, tokens/s ↑", "Trainer, tokens/s ↑", "× Trainer")
    with report.table(title, "training", *columns) as table:
        for name, lora in (("full fine-tuning", False), ("LoRA", True)):
            epochs = (ours(dataset, context, options.checkpoint, lora),
                      theirs(dataset, folder, options.batch, lora))  # fmt: skip
            seconds: tuple[list[float], list[float]] = ([], [])
            for number in range(options.rounds + 1):
                for epoch, found in zip(epochs, seconds, strict=True):
                    taken = epoch()
                    if number:
                        found.append(taken)
            ratios = Spread(theirs / own for own, theirs in zip(*seconds, strict=True))
            table.row(name, *(Spread(found).rate(tokens) for found in seconds), ratios)
        padding = 100 * dataset.padding_share("train")
        table.notes.append(
            f"padding of ours {padding:.1f} %: examples of like length share a batch"
        )


def main() -> None:
    parser = bench_parser(__doc__)
    parser.add_argument("--checkpoint", default="smollm2")
    parser.add_argument("--examples", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8, help="examples of a batch of the Trainer")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--max-length", type=int, default=384)
    with measuring(parser, ["transformers", "peft"]) as (options, report):
        if options.quick:
            options.examples, options.batch, options.max_length, options.rounds = 2, 2, 64, 1
        quiet_transformers()
        keep_freed_memory()
        bench(report, options)


if __name__ == "__main__":
    main()
