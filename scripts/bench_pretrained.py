"""Speed of fine-tuning a pretrained model for summaries, beside transformers' Trainer and peft.

    python scripts/bench_pretrained.py [--checkpoint smollm2] [--examples 32] [--threads N]

Prints tokens/s of full fine-tuning and of LoRA on the same examples (documentation of Python or
its source, and its first line), in one run. A token counts if it is in an example: padding earns
nothing. The Trainer is used as its summarisation examples use it: batches of --batch examples,
padded to the longest of the batch, the loss of the model's own head, with the labels of the prompt
masked; peft's LoRA of the same rank on the same layers. Ours sorts examples by length, computes
logits only where there is a target, and no gradients for frozen weights. Both run in fp32 with
AdamW. The two are timed in turn, several rounds; the table has the best round of each.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

from scratchlab.data.contract import DataContext
from scratchlab.data.sets.summaries import Docstrings
from scratchlab.data.sources.pretrained_files import find_pretrained, quiet_transformers
from scratchlab.methods.contract import MethodContext
from scratchlab.methods.lora import LoRA
from scratchlab.models.pretrained import PretrainedLM
from scratchlab.tasks.language_modeling import LanguageModeling
from scratchlab.training.allocator import keep_freed_memory

RANK = 8


def ours(dataset: Docstrings, context: DataContext, checkpoint: str, lora: bool) -> Any:
    """A function that trains one epoch in this project's way."""
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

    def epoch() -> None:
        for batch in dataset.batches("train", seed=0, epoch=0):
            loss = task.loss(model, batch)
            (loss.total / loss.count).backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return epoch


def theirs(dataset: Docstrings, folder: Path, batch: int, lora: bool) -> Callable[[], None]:
    """A function that trains one epoch with transformers' Trainer (and peft)."""
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

    def epoch() -> None:
        with tempfile.TemporaryDirectory() as output:
            arguments = TrainingArguments(
                output_dir=output, per_device_train_batch_size=batch, num_train_epochs=1,
                learning_rate=1e-5, report_to=[], save_strategy="no", logging_strategy="no",
                disable_tqdm=True, use_cpu=True, dataloader_pin_memory=False,
                remove_unused_columns=False,
            )  # fmt: skip
            Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collate).train()

    return epoch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--checkpoint", default="smollm2")
    parser.add_argument("--examples", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8, help="examples of a batch of the Trainer")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--max-length", type=int, default=384)
    parser.add_argument("--threads", type=int, default=None)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    quiet_transformers()
    keep_freed_memory()
    cache = Path(os.environ.get("SCRATCHLAB_CACHE", "~/.cache/scratchlab")).expanduser()
    context = DataContext(None, cache)
    config = Docstrings.Config(
        tokenizer="pretrained", checkpoint=arguments.checkpoint, train_examples=arguments.examples,
        max_length=arguments.max_length,
        batch_tokens=arguments.batch * arguments.max_length // 2,
    )  # fmt: skip
    dataset = Docstrings(config, context)
    folder = find_pretrained(arguments.checkpoint, cache).folder
    tokens = sum(len(e.prompt) + len(e.answer) - 1 for e in dataset.encoded("train"))
    padding = dataset.padding_share("train")
    print(f"{arguments.examples} examples, {tokens:,} tokens; padding of ours {padding:.1%}; "
          f"{torch.get_num_threads()} threads")  # fmt: skip
    print(f"{'training':<18}{'ours, tokens/s':>16}{'Trainer, tokens/s':>20}{'ratio':>8}")
    for name, lora in (("full fine-tuning", False), ("LoRA", True)):
        best = [float("inf"), float("inf")]
        for side, build in enumerate((
            lambda lora=lora: ours(dataset, context, arguments.checkpoint, lora),
            lambda lora=lora: theirs(dataset, folder, arguments.batch, lora),
        )):  # fmt: skip
            epoch = build()
            for _ in range(arguments.rounds):
                start = time.perf_counter()
                epoch()
                best[side] = min(best[side], time.perf_counter() - start)
        speeds = [tokens / seconds for seconds in best]
        print(f"{name:<18}{speeds[0]:>16,.0f}{speeds[1]:>20,.0f}{speeds[0] / speeds[1]:>8.2f}",
              flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
