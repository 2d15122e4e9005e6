"""What is verified: a trained run with its configuration, and small trainings made after it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchlab.lab.parts import Parts, Trained, build_parts, check_splits, load_trained
from scratchlab.lab.teachers import in_their_places
from scratchlab.lab.train import train
from scratchlab.lab.weights import Weights, checkpoint_folder
from scratchlab.registry import build, find, is_estimator
from scratchlab.run.checkpoint import read_state
from scratchlab.run.folder import RunFolder
from scratchlab.tracking.contract import Tracker
from scratchlab.verifying.findings import DoesNotApply, Tolerance, rounding

if TYPE_CHECKING:
    from torch import nn


UPDATES = 4
"""Of a small training: validation and a checkpoint after every second one, when losses are kept
that no log has told of yet."""

EXAMPLES = 9
"""Examples that are scored: more than a batch of eight."""

OUTPUTS = 4
"""Examples of which every number is compared that the model gives: of each token a vocabulary."""

SHORT = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}

# Options that bound the work of a training without changing what is to be proven, wherever a part
# declares them; a smaller value that was chosen stays.
MOST: dict[str, dict[str, int]] = {
    "dataset": {
        "batch_size": 8,
        "batch_tokens": 256,
        "eval_batch_size": 8,
        "eval_batch_tokens": 256,
        "eval_tokens": 1000,
        "train_examples": 512,
        "val_examples": 64,
        "test_examples": 64,
    },
    "model": {"epochs": 4, "n_estimators": 3, "n_rounds": 5, "folds": 2},
}
ROW_TOKENS = 512  # of the rows of running text in a batch, of which there are at least two
GRADIENT = {
    "max_steps": UPDATES,
    "log_every": 3,
    "validate_every": 2,
    "validation_batches": 1,
    "checkpoint_every": None,
    "compile": False,  # minutes; the arithmetic is the same
}
FIT = {"validate_every": 1, "checkpoint_every": 1}
TRAINER: dict[str, Any] = {
    "keep_every": None,
    "validation_evaluators": [],
    "monitor": "val/loss",
    "monitor_better": "lower",
    "patience": None,
    "stop_at": {},
}


class Subject:
    """``config`` with the trained ``run``, or, without one, with a run that is trained from it.

    ``folder`` is where trainings leave their runs. ``small`` is the configuration of these: that of
    the run, bounded.
    """

    def __init__(self, config: dict[str, Any], run: Path | None, folder: Path) -> None:
        methods = in_their_places(config)
        # Checks take turns: none keeps memory for its next step.
        self.config = config = {**config, "method": methods, "keep_memory": False}
        self.given, self.folder = run, folder
        self.estimator = is_estimator(config)
        weights = checkpoint_folder(run, config["evaluate_checkpoint"]) if run else None
        self.small = {**bounded(config, weights), "output_dir": str(folder)}
        if weights is not None and not self.estimator:
            self.small["init_from"] = str(weights.resolve())
        if config["method"] and not self.trainable(self.begun()):
            self.small["trainer"]["max_steps"] = 0

    # --- trainings ------------------------------------------------------------------------------

    def training(self, name: str, **changes: Any) -> dict[str, Any]:
        """The configuration of the small training that is called so."""
        return {**self.small, "run_id": name, **changes}

    def prepared(self, name: str, **changes: Any) -> Path:
        """The folder of a small training that another process is to do."""
        config = self.training(name, resume=True, **changes)
        folder = RunFolder.create(config["output_dir"], config["name"], name)
        folder.write_config(config, [])
        return folder.path

    def train(self, name: str, watchers: Sequence[Tracker] = (), **changes: Any) -> Path:
        """A small training, from its start or gone on with; its folder."""
        return train(self.training(name, **changes), [], ["verify", name], watchers)

    @functools.cached_property
    def whole(self) -> Path:
        """The small training that nothing happened to."""
        return self.train("whole")

    @property
    def updates(self) -> int:
        """Updates (of estimators: epochs) of a small training."""
        return int(read_state(self.whole / "checkpoints" / "last")["step"])

    def begun(self) -> Parts:
        """The parts of a small training before its first update."""
        config = self.training("begun")
        return build_parts(config, None, Weights.to_begin_with(config))

    def trainable(self, parts: Parts) -> bool:
        """Whether there is something that gradients change."""
        return bool(parts.adapted.parameter_counts()[1])

    def require_training(self) -> None:
        """DoesNotApply if training changes nothing."""
        if self.small["trainer"].get("max_steps") == 0:
            methods = " and ".join(self.config["method"])
            asked = (self.config["trainer"] or {}).get("max_steps") == 0
            raise DoesNotApply(
                "trainer.max_steps=0" if asked or not methods else f"{methods}: nothing is trained"
            )

    # --- the trained model ----------------------------------------------------------------------

    @functools.cached_property
    def parts(self) -> Trained:
        """The trained run's model, which no check changes."""
        config = self.small if self.given is None else self.config
        parts = load_trained(config, self.given or self.whole)
        if not self.estimator:
            multiply_plainly(parts.model, parts.decoder)
        check_splits(self.config, parts.dataset, ["evaluate_split"])
        return parts

    def take(self) -> Trained:
        """:attr:`parts`, for a check that changes them or makes room: the next loads others."""
        parts = self.parts
        del self.parts
        return parts

    @property
    def split(self) -> str:
        """The split that is scored."""
        return self.parts.dataset.true_split(self.config["evaluate_split"])

    def require_torch(self, what: str) -> None:
        """DoesNotApply to an estimator."""
        if self.estimator:
            raise DoesNotApply(f"{self.config['model']['name']} is an estimator: {what}")

    def tolerance(self, more: float = 0, ways: int = 1) -> Tolerance:
        """Of numbers that the trained model computes, summed over ``more`` targets or places; of
        gradients on two ``ways``, there and back."""
        adapted = self.parts.adapted
        if not self.estimator:
            return rounding(ways * products(adapted.model) + more)
        state: dict[str, Any] = adapted.state()
        arrays = [a for a in state.values() if a.dtype.kind == "f"]
        added = sum(a.size for a in arrays) + more
        if any(a.dtype.itemsize < 8 for a in arrays):
            return rounding(added)
        return rounding(added, 2.0**-52, "float64")


def bounded(config: Mapping[str, Any], weights: Path | None) -> dict[str, Any]:
    """The configuration of a training of a few updates on small batches, by the same parts, in the
    precision that the checkpoint ``weights`` was trained in."""
    small = {**config, **{name: _bounded(name, config[name]) for name in MOST}}
    trainer = {**(config["trainer"] or {}), **TRAINER}
    if trainer["name"] == "gradient":
        steps = 0 if trainer["max_steps"] == 0 else UPDATES
        known = read_state(weights).get("precision") if weights else None
        asked = trainer["precision"] if trainer["precision"] != "auto" else SHORT.get(known or "")
        trainer |= {**GRADIENT, "max_steps": steps, "precision": asked or "fp32"}
        trainer["accumulate"] = min(trainer["accumulate"], 2)
        trainer["accumulate_stages"] = [min(n, 2) for n in trainer.get("accumulate_stages", ())]
    elif trainer["name"] == "fit":
        trainer |= FIT
    jsonl = {"name": "jsonl", **find("tracker", "jsonl").defaults()}
    return {
        **small,
        "trainer": trainer,
        "tracker": {"jsonl": jsonl},
        "name": "verify",
        "resume": False,
        "deterministic": True,
        "keep_memory": False,
        "evaluate": False,
        "pictures": False,
        "export": None,
    }


def _bounded(section: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    declared = {option.name for option in find(section, entry["name"]).options}
    found = dict(entry)
    for name, most in MOST[section].items():
        if name.endswith("batch_size") and found.get("block_size"):
            most = min(most, max(2, ROW_TOKENS // found["block_size"]))
        if name in declared and (found[name] is None or found[name] > most):
            found[name] = most
    return found


def products(model: Any) -> float:
    """How many products are added up on the longest way through a torch model, layer after layer:
    the inputs of all its matrices."""
    from scratchlab.methods.contract import quantized_shape

    matrices = [tuple(p.shape) for p in model.parameters() if p.dim() > 1]
    matrices += [shape for m in model.modules() if (shape := quantized_shape(m))]
    inputs = [functools.reduce(lambda a, b: a * b, shape[1:], 1) for shape in matrices]
    return float(sum(inputs))


def multiply_plainly(model: nn.Module, decoder: Any = None) -> None:
    """Let quantized layers multiply with the dequantized matrix, as they do in training, and the
    ``decoder`` of their model make no compiled steps.

    Their fast products round otherwise for few rows than for many, by design; parity tests compare
    them with this.
    """
    from scratchlab.methods.bf16 import Bf16Embedding
    from scratchlab.methods.quantized import QuantizedLinear

    plain = [m for m in model.modules() if isinstance(m, QuantizedLinear | Bf16Embedding)]
    for module in plain:
        module.fast = False
    config: Any = getattr(decoder, "config", None)
    if plain and hasattr(config, "compiled"):
        decoder.config = dataclasses.replace(config, compiled=False)


def evaluators(config: Mapping[str, Any]) -> dict[str, Any]:
    """The chosen evaluators that measure something else than time and memory."""
    facts = {key: find("evaluator", e["name"]).facts for key, e in config["evaluator"].items()}
    return {
        key: build("evaluator", config["evaluator"][key])
        for key, fact in facts.items()
        if not fact.get("cost") and fact.get("measures", True)
    }
