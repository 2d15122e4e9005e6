"""Whether everything here is right on this machine's GPU, and how fast it is: one table.

    python scripts/check_gpu.py [--seconds 230] [--out FOLDER]
    python scripts/check_gpu.py --device cpu --tiny        does this script run?

Needs torch, hydra-core and omegaconf; what else is missing (transformers, bitsandbytes, files below
$SCRATCHLAB_DATA) is skipped with a line that says so, and so is what no longer fits into the time.
Nothing is downloaded. It works from the checkout that it lies in, installed or not.

* loss: the same batch, the same weights, on the CPU and on the GPU, with gradients, for every model
  that is trained by gradient descent;
* processes: the same of a batch that a group of processes computes (NCCL), in a group of one;
* precision: the same short training in fp32, bf16, fp16 and compiled; a run that is stopped in the
  middle and goes on ends with the same bits;
* quantization: int8, NF4 and bitsandbytes against the same weights on the CPU;
* speed: training steps at the size of GPT-2 small, tokens/s and share of the peak that a plain bf16
  product reaches here; generation beside transformers; the bytes that a token must read;
* quality: the demo's translation, and nanoGPT's setting for Shakespeare's characters.

Exit code 1 if a check fails.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor, nn

from scratchlab.config.compose import change, compose
from scratchlab.data.contract import Spec, TokenBatch
from scratchlab.decoding.sampling import Sampling
from scratchlab.errors import UserError
from scratchlab.lab import train as experiment
from scratchlab.lab.parts import build_parts, load_trained
from scratchlab.models.gpt import GPT
from scratchlab.registry import parts
from scratchlab.reporting.results import read_results
from scratchlab.run.folder import read_config
from scratchlab.run.processes import Group, Place, meet
from scratchlab.tasks.language_modeling import LanguageModeling
from scratchlab.training.loss_module import LossModule
from scratchlab.training.parallel.sharding import Sharded
from scratchlab.training.updates.shards import whole

LOSS_TOLERANCE, PRECISION_TOLERANCE, QUANTIZED_TOLERANCE = 1e-4, 0.02, 1e-3

# Every model at a size that takes a moment; what is not named here runs as it is.
SMALL = {
    "gpt": ["dataset.block_size=64", "dataset.batch_size=8"],
    "rnn_lm": [
        "dataset.block_size=32",
        "dataset.batch_size=8",
        "model.dropout=0",
        "model.input_dropout=0",
    ],
    "rnn_seq2seq": [
        "dataset.batch_tokens=1024",
        "dataset.train_pairs=2000",
        "model.dropout=0",
    ],
    "transformer_mt": ["dataset.batch_tokens=1024", "dataset.train_pairs=2000"],
}
# Models whose weights or sizes come from a checkpoint, which may not be here.
PRETRAINED = {
    "pretrained_lm": "smollm2",
    "pretrained_encoder": "minilm",
    "pretrained_seq2seq": "t5",
}


@dataclass
class Row:
    """A line of the table; ``good`` is None where nothing was to be judged."""

    check: str
    found: str
    wanted: str = ""
    good: bool | None = None

    def line(self) -> str:
        verdict = {True: "ok", False: "FAILS", None: ""}[self.good]
        return f"| {self.check} | {self.found} | {self.wanted} | {verdict} |"


class Skipped(Exception):
    """Why a check is left out."""


@dataclass
class Lab:
    """Where and at what size the checks run, and what the machine was found to reach."""

    device: str
    tiny: bool
    folder: Path
    bf16_peak: float = 0.0  # FLOP/s
    bandwidth: float = 0.0  # bytes/s

    def here(self, device: str) -> list[str]:
        return [f"device={device}", f"cache_dir={self.folder}/cache"]

    def wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def seconds(self, run: Callable[[], Any], rounds: int = 5) -> float:
        """The median of several runs, after one that warms up."""
        found = []
        for number in range(rounds + 1):
            self.wait()
            start = time.perf_counter()
            run()
            self.wait()
            if number:
                found.append(time.perf_counter() - start)
        return statistics.median(found)

    def train(self, run_id: str, *words: str) -> Path:
        """A run with nothing on the console."""
        place = [f"output_dir={self.folder}", "name=check", f"run_id={run_id}", "tracker=[jsonl]"]
        config = compose([*words, *place, *self.here(self.device)]).config
        return experiment.train(config, list(words), ["train", *words])


def machine(lab: Lab) -> Iterator[Row]:
    """The card, and what plain products and copies reach on it."""
    name = torch.cuda.get_device_name() if lab.device == "cuda" else "CPU"
    yield Row("machine", f"{name}, torch {torch.__version__}, Python {sys.version.split()[0]}")
    n = 256 if lab.tiny else 8192
    for dtype, label in ((torch.float32, "fp32"), (torch.bfloat16, "bf16")):
        a, b = (torch.randn(n, n, device=lab.device).to(dtype) for _ in range(2))
        rate = 2 * n**3 / lab.seconds(lambda a=a, b=b: a @ b)
        if dtype == torch.bfloat16:
            lab.bf16_peak = rate
        yield Row(f"matrix product {n}³, {label}", f"{rate / 1e12:,.1f} TFLOP/s")
    source = torch.randn((1 << 22) if lab.tiny else (1 << 30), device=lab.device)
    target = torch.empty_like(source)
    lab.bandwidth = 2 * source.nbytes / lab.seconds(lambda: target.copy_(source))
    yield Row("copy", f"{lab.bandwidth / 1e9:,.0f} GB/s, read and written")


def losses(lab: Lab) -> Iterator[Row]:
    """Loss and gradient of one batch on both devices."""
    for name in parts("model"):
        label = f"loss and gradient, {name}"
        try:
            (loss, norm), (wanted, wanted_norm) = (_loss(lab, name, d) for d in (lab.device, "cpu"))
        except (UserError, ImportError) as error:
            yield Row(label, f"skipped: {str(error).splitlines()[0][:90]}")
            continue
        off = max(abs(loss / wanted - 1), abs(norm / wanted_norm - 1))
        text = f"{loss:.6f} (CPU {wanted:.6f}); off by {off:.1e}"
        yield Row(label, text, f"≤ {LOSS_TOLERANCE:.0e}", off <= LOSS_TOLERANCE)


def _loss(lab: Lab, name: str, device: str) -> tuple[float, float]:
    """Mean loss and norm of its gradient, without dropout."""
    choice = PRETRAINED.get(name, name)
    words = [f"model={choice}", *SMALL.get(name, []), *lab.here(device)]
    parts_ = build_parts(compose(words).config)
    # cuDNN has no gradient of a recurrent layer in eval mode.
    model = parts_.model.train() if name.startswith("rnn_") else parts_.model.eval()
    batch = next(parts_.dataset.batches("train", seed=0, epoch=0)).to(device)
    loss = parts_.task.loss(model, batch)
    (loss.total / loss.count).backward()
    norms = [p.grad.norm() for p in model.parameters() if p.grad is not None]
    return float(loss.nll / loss.count), float(torch.stack(norms).norm())


TINY_GPT = [
    *("model=gpt", "dataset.block_size=64", "dataset.batch_size=16", "scheduler=constant"),
    *("trainer.validate_every=20", "trainer.log_every=20", "evaluate=false", "optimizer.lr=1e-3"),
    "dataset.eval_tokens=20000",
]


def precisions(lab: Lab) -> Iterator[Row]:
    """The same training in every arithmetic."""
    steps = 20 if lab.tiny else 100
    found: dict[str, float] = {}
    settings = {"fp32": "fp32", "bf16": "bf16", "fp16": "fp16", "bf16, compiled": "bf16"}
    for label, precision in settings.items():
        if lab.device == "cpu" and label != "fp32":
            yield Row(f"training, {label}", "skipped: for a GPU")
            continue
        words = [f"trainer.precision={precision}", f"trainer.max_steps={steps}"]
        words += ["trainer.compile=true"] if "compiled" in label else []
        run = lab.train(f"precision-{len(found)}", *TINY_GPT, *words)
        found[label] = _values(run, "val/loss")[-1]
        off = abs(found[label] / found["fp32"] - 1)
        yield Row(f"training, {label}", f"val loss {found[label]:.4f} after {steps} updates",
                  f"fp32 ± {PRECISION_TOLERANCE:.0%}", off <= PRECISION_TOLERANCE)  # fmt: skip


def _values(run: Path, name: str) -> list[float]:
    entries = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [entry[name] for entry in entries if name in entry]


def resumed(lab: Lab) -> Iterator[Row]:
    """Twenty updates and twenty more, against forty."""
    from safetensors.torch import load_file

    precision = "fp32" if lab.device == "cpu" else "bf16"
    words = [*TINY_GPT, "model.dropout=0.1", f"trainer.precision={precision}"]
    whole = lab.train("whole", *words, "trainer.max_steps=40")
    half = lab.train("half", *words, "trainer.max_steps=20")
    config = change(read_config(half / "config.yaml"), ["trainer.max_steps=40"])
    experiment.train({**config, "resume": True}, ["trainer.max_steps=40"], ["train", "resume=half"])
    one, other = (load_file(r / "checkpoints/last/model.safetensors") for r in (whole, half))
    off = max(float((one[n].float() - other[n].float()).abs().max()) for n in one)
    same = all(torch.equal(one[n], other[n]) for n in one)
    text = "the same bits" if same else f"off by {off:.1e}"
    yield Row("stopped and resumed", text, "the same bits", same)


def processes(lab: Lab) -> Iterator[Row]:
    """Loss and gradient in a group of one process (NCCL), which does with them what many do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ.update(told)
    try:
        group = Group(Place(), meet(Place(), lab.device))
        found = {how: _shared_loss(lab, how, group) for how in ("alone", "ddp", "fsdp")}
        torch.distributed.destroy_process_group()
    except UserError as error:
        raise Skipped(str(error).splitlines()[0]) from error
    finally:
        for name in told:
            del os.environ[name]
    loss, norm = found.pop("alone")
    for how, (its_loss, its_norm) in found.items():
        off = max(abs(its_loss / loss - 1), abs(its_norm / norm - 1))
        yield Row(f"loss and gradient, {how} in one process", f"off by {off:.1e}",
                  f"≤ {LOSS_TOLERANCE:.0e}", off <= LOSS_TOLERANCE)  # fmt: skip


def _shared_loss(lab: Lab, how: str, group: Group) -> tuple[float, float]:
    """Mean loss of a batch and norm of its gradient, as processes compute them."""
    parts_ = build_parts(compose([*TINY_GPT, "model.dropout=0", *lab.here(lab.device)]).config)
    device = torch.device(lab.device)
    module = LossModule(parts_.adapted, parts_.task)
    loss_of: Any = {
        "alone": lambda: module,
        "ddp": lambda: nn.parallel.DistributedDataParallel(module),
        "fsdp": lambda: Sharded(module, device, group),
    }[how]()
    batch = next(parts_.dataset.batches("train", seed=0, epoch=0)).to(lab.device)
    loss = loss_of(batch)
    (loss.total / loss.count).backward()
    model = loss_of.model if how == "fsdp" else module
    norms = [whole(p.grad).norm() for p in model.parameters() if p.grad is not None]
    return float(loss.nll / loss.count), float(torch.stack(norms).norm())


def quantized(lab: Lab) -> Iterator[Row]:
    """Perplexity of quantized weights on both devices."""
    run = lab.train("to-quantize", *TINY_GPT, "trainer.max_steps=20", "trainer.precision=fp32")
    for method in ("int8", "nf4", "bitsandbytes"):
        found = {}
        for device in dict.fromkeys(("cpu", lab.device)):
            if method == "bitsandbytes" and device == "cpu" != lab.device:
                continue
            try:
                config = compose([*TINY_GPT, f"method=[{method}]", *lab.here(device)]).config
                trained = load_trained({**config, "evaluate_checkpoint": "last"}, run)
                batch = next(trained.dataset.batches("val", seed=0, epoch=0)).to(device)
                with torch.no_grad():
                    loss = trained.task.loss(trained.model, batch)
                found[device] = float(loss.nll / loss.count)
            except (UserError, ImportError) as error:
                yield Row(f"quantized, {method}", f"skipped: {str(error).splitlines()[0][:90]}")
                break
        else:
            here = found[lab.device]
            wanted = found.get("cpu", here)
            off = abs(here / wanted - 1)
            beside = f" (CPU {wanted:.4f})" if "cpu" in found else ""
            yield Row(f"quantized, {method}", f"loss {here:.4f}{beside}",
                      f"CPU ± {QUANTIZED_TOLERANCE:.0e}", off <= QUANTIZED_TOLERANCE)  # fmt: skip


@dataclass(frozen=True)
class Size:
    """A GPT; ``flops`` of a token's training, causal attention counted as the half that it is."""

    layers: int
    heads: int
    width: int
    block: int
    vocabulary: int

    def spec(self) -> Spec:
        return Spec(task="language_modeling", vocab_size=self.vocabulary, max_length=self.block)

    def model(self, device: str) -> GPT:
        torch.manual_seed(0)
        config = GPT.Config(d_model=self.width, n_heads=self.heads, n_layers=self.layers)
        return GPT(config, self.spec()).to(device)

    def flops(self) -> float:
        products = 12 * self.layers * self.width**2 + self.vocabulary * self.width
        attention = self.layers * self.width * self.block
        return 6 * (products + attention)


GPT2_SMALL, TOY = Size(12, 12, 768, 1024, 50257), Size(2, 2, 32, 32, 300)


def training_speed(lab: Lab) -> Iterator[Row]:
    """A step is loss, gradients, clipping and fused AdamW, in bf16 over fp32 weights."""
    size, batch = (TOY, 2) if lab.tiny else (GPT2_SMALL, 32)
    tokens = torch.randint(size.vocabulary, (batch, size.block + 1), device=lab.device)
    rows = TokenBatch(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous(), torch.arange(batch))
    task = LanguageModeling(LanguageModeling.Config(), size.spec())
    for compiled in (False,) if lab.tiny else (False, True):
        model = size.model(lab.device).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=lab.device == "cuda")

        def loss(model: nn.Module = model) -> Tensor:
            found = task.loss(model, rows)
            return found.total / found.count

        made: Callable[[], Tensor] = torch.compile(loss) if compiled else loss

        def step(made: Any = made, model: Any = model, optimizer: Any = optimizer) -> None:
            with torch.autocast(lab.device, torch.bfloat16):
                found = made()
            found.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        rate = batch * size.block / lab.seconds(step, 2 if lab.tiny else 10)
        share = rate * size.flops() / lab.bf16_peak
        label = f"GPT-2 small, training, {'compiled' if compiled else 'eager'}"
        text = f"{rate:,.0f} tokens/s, {share:.1%} of bf16 products"
        yield Row(label, text, "≥ 45 %" if compiled else "", share >= 0.45 if compiled else None)
        del model, optimizer, step, made, loss


def generation_speed(lab: Lab) -> Iterator[Row]:
    """Greedy continuations, random weights in bf16 (a token's floor is to read each weight)."""
    size, new, prompt = (TOY, 4, 4) if lab.tiny else (GPT2_SMALL, 64, 32)
    model = size.model(lab.device).eval().to(torch.bfloat16)
    decoder = Sampling(Sampling.Config(temperature=0.0, max_new_tokens=new))
    peer: Any = None
    try:
        from transformers import GPT2Config, GPT2LMHeadModel

        torch.manual_seed(0)
        peer = GPT2LMHeadModel(GPT2Config(
            vocab_size=size.vocabulary, n_positions=size.block, n_embd=size.width,
            n_layer=size.layers, n_head=size.heads, bos_token_id=None, eos_token_id=None,
        )).eval().to(lab.device, torch.bfloat16)  # fmt: skip
    except ImportError:
        yield Row("transformers", "skipped: not installed")
    for batch in (1, 8):
        prompts = torch.randint(size.vocabulary, (batch, prompt), device=lab.device)
        rows = prompts.tolist()
        ours = lab.seconds(lambda rows=rows: decoder.generate_batch(model, rows, size.spec()), 1)
        floor = batch * lab.bandwidth / sum(p.nbytes for p in model.parameters())
        rate = batch * new / ours
        text = f"{rate:,.0f} tokens/s, {rate / floor:.1%} of what memory allows"
        if peer is not None:
            mask = torch.ones_like(prompts)

            def theirs(prompts: Tensor = prompts, mask: Tensor = mask) -> None:
                lengths = {"max_new_tokens": new, "min_new_tokens": new}
                settings = {"do_sample": False, "pad_token_id": 0, "attention_mask": mask}
                with torch.inference_mode():
                    peer.generate(input_ids=prompts, **settings, **lengths)

            text += f"; transformers {batch * new / lab.seconds(theirs, 1):,.0f}"
        yield Row(f"GPT-2 small, generation, {batch} at a time", text)


def demo(lab: Lab) -> Iterator[Row]:
    """The translation of scripts/demo."""
    words = ["model=transformer_mt"]
    try:
        import sacrebleu  # noqa: F401

        words += ["evaluator=[bleu]"]
    except ImportError:
        words += ["evaluator=[perplexity]", "trainer.validation_evaluators=[]"]
    if lab.tiny:
        words += ["trainer.max_steps=3", "dataset.train_pairs=500", "decoding=greedy"]
    start = time.perf_counter()
    run = lab.train("demo", *words)
    took = time.perf_counter() - start
    values = {m.name: m.value for m in read_results(run)}
    name = "bleu" if "bleu" in values else "perplexity"
    good = None if lab.tiny or name != "bleu" else values[name] >= 90
    text = f"{name} {values[name]:.2f}, training {values['training_time']:.0f} s of {took:.0f} s"
    yield Row("demo: translation", text, "BLEU ≥ 90", good)


def shakespeare(lab: Lab) -> Iterator[Row]:
    """nanoGPT's setting for a GPU: 6 layers, width 384, context 256, 64 rows, dropout 0.2."""
    root = os.environ.get("SCRATCHLAB_DATA")
    if not root or not (Path(root) / "tinyshakespeare").is_dir():
        raise Skipped("SCRATCHLAB_DATA has no tinyshakespeare")
    steps = 2 if lab.tiny else 2000
    text = f"""
        model=gpt model.d_model=384 model.n_heads=6 model.n_layers=6 model.positions=learned
        model.dropout=0.2 model.attention_dropout=0.2 model.bias=false
        dataset=tiny_shakespeare dataset.block_size=256 dataset.batch_size=64
        dataset.batching=random optimizer.lr=1e-3 optimizer.beta2=0.99 optimizer.weight_decay=0.1
        scheduler.warmup=0.04 scheduler.final=0.1 trainer.max_steps={steps}
        trainer.validate_every=250 trainer.log_every=250 evaluate=false deterministic=false
    """
    words = text.split()
    if lab.tiny:
        words += ["dataset.eval_tokens=2000", "model.n_layers=1"]
    if lab.device == "cuda":
        words += ["trainer.precision=bf16", "trainer.compile=true"]
    start = time.perf_counter()
    run = lab.train("shakespeare", *words)
    took = time.perf_counter() - start
    losses_ = _values(run, "val/loss")
    good = None if lab.tiny else min(losses_) <= 1.48
    text = f"val loss {min(losses_):.4f} in {steps:,} updates; {took:.0f} s with all validations"
    yield Row("Shakespeare at nanoGPT's GPU setting", text, "1.47", good)


# In this order; seconds that each may take on a GPU of a data centre.
CHECKS: dict[Callable[[Lab], Iterator[Row]], float] = {
    machine: 5,
    losses: 20,
    resumed: 10,
    processes: 5,
    demo: 30,
    quantized: 5,
    training_speed: 45,
    generation_speed: 20,
    shakespeare: 50,
    precisions: 45,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=230, help="when no further check begins")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", action="store_true", help="tiny sizes: does it run?")
    parser.add_argument("--only", nargs="*", default=[], help="names of checks")
    parser.add_argument("--out", type=Path, help="folder for the table as Markdown")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("no GPU here (--device cpu --tiny shows whether this script runs)", file=sys.stderr)
        return 2
    began = time.perf_counter()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(arguments.device, arguments.tiny, Path(folder))
        for check, seconds in CHECKS.items():
            if arguments.only and check.__name__ not in ("machine", *arguments.only):
                continue
            left = arguments.seconds - (time.perf_counter() - began) - seconds
            for row in _rows(check, lab, left):
                rows.append(row)
                print(f"{time.perf_counter() - began:5.0f} s  {row.line()}", flush=True)
    head = ["| check | found | wanted | |", "|---|---|---|---|"]
    table = "\n".join([*head, *(row.line() for row in rows)])
    print(f"\n{table}\n\n{time.perf_counter() - began:.0f} s")
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "gpu.md").write_text(table + "\n", encoding="utf-8")
    return int(any(row.good is False for row in rows))


def _rows(check: Callable[[Lab], Iterator[Row]], lab: Lab, left: float) -> Iterator[Row]:
    """The rows of a check; one that breaks is a row that fails, and the others go on."""
    name = check.__name__.replace("_", " ")
    if left < 0:
        yield Row(name, "skipped: no time is left for it")
        return
    try:
        yield from check(lab)
    except (Skipped, ImportError) as reason:
        yield Row(name, f"skipped: {reason}")
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        yield Row(name, f"{type(error).__name__}: {first[:150]}", "", False)
    if lab.device == "cuda":
        torch.cuda.empty_cache()


if __name__ == "__main__":
    sys.exit(main())
