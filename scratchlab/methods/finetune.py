"""Which of a model's own weights are trained."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import ClassVar

from scratchlab.errors import UserError, suggest
from scratchlab.methods.contract import Arithmetic, Method, MethodContext, adapter_names
from scratchlab.methods.replace import block_number
from scratchlab.models.contract import Model
from scratchlab.registry import option, register


@register("method", "finetune")
class Finetune(Method):
    """Train the model's own weights: all, the last blocks, those named, the head alone, or none.

    What other methods added is left as it is. New weights (the head of a classifier) train with any
    choice but none.
    """

    @dataclass(frozen=True)
    class Config:
        train: str = option(
            "all",
            "all weights (but those that an option of the model freezes); blocks: those of the "
            "last blocks; names: those that patterns name; head: the output layer; none: nothing, "
            "to measure the model as it is",
            choices=("all", "blocks", "names", "head", "none"),
        )
        last_blocks: int = option(
            2, "train=blocks: how many, counted from the end", min=1, when={"train": "blocks"}
        )
        patterns: list[str] = option(
            [], "train=names: parts of names, or patterns like *.norm.*", when={"train": "names"}
        )

        RULES: ClassVar[tuple[tuple[str, str], ...]] = (
            ("train != 'names' or patterns != []", "train=names needs patterns"),
        )

    config: Config

    def apply(self, model: Model, context: MethodContext) -> Model:
        added = set(adapter_names(model))
        own = {n: p for n, p in model.named_parameters() if n not in added}
        chosen = self._chosen(model, list(own))
        self._rows = [
            ("trained", f"{sum(p.numel() for n, p in own.items() if n in chosen):,}"),
            ("frozen", f"{sum(p.numel() for n, p in own.items() if n not in chosen):,}"),
        ]
        for name, parameter in own.items():
            if parameter.is_floating_point():
                parameter.requires_grad_(name in chosen)
        return model

    def _chosen(self, model: Model, names: list[str]) -> set[str]:
        config = self.config
        if config.train == "none":
            return set()
        if config.train == "all":
            return {name for name in names if not name.startswith(tuple(model.fixed))}
        fresh = set(fresh_names(model))
        if config.train == "head":
            return fresh | set(head_names(model))
        if config.train == "blocks":
            numbers = sorted({b for n in names if (b := block_number(n)) is not None})
            if len(numbers) < config.last_blocks:
                raise UserError(
                    f"method.finetune.last_blocks={config.last_blocks}: this model has "
                    f"{len(numbers)} blocks"
                )
            last = set(numbers[-config.last_blocks :])
            return fresh | {n for n in names if block_number(n) in last}
        found = fresh
        for pattern in config.patterns:
            matched = {n for n in names if named_by(n, pattern)}
            if not matched:
                leaves = {".".join(p for p in n.split(".") if not p.isdigit()) for n in names}
                raise UserError(
                    f"method.finetune.patterns: {pattern!r} matches no weight of this model",
                    suggest(pattern, leaves, "Weights"),
                )
            found |= matched
        return found

    @property
    def mergeable(self) -> bool:
        return True

    def arithmetic(self) -> list[Arithmetic]:
        return [Arithmetic("Fine-tuning", ("weights", "number"), self._rows)]


def named_by(name: str, pattern: str) -> bool:
    """Whether a pattern or a part of a name (whole steps between dots) means a weight."""
    return fnmatchcase(name, pattern) or f".{pattern}." in f".{name}."


def fresh_names(model: Model) -> list[str]:
    """Weights that have no training behind them: the new head on a pretrained model."""
    prefixes = tuple(model.fresh)
    return [n for n, _ in model.named_parameters() if n.startswith(prefixes)] if prefixes else []


def head_names(model: Model) -> list[str]:
    """Weights of the output layer; UserError if the model has none of its own."""
    found = fresh_names(model)
    if not found:
        found = [n for n, _ in model.named_parameters() if n.split(".")[-2:-1] == ["output"]]
        found += [n for n, _ in model.named_parameters() if "lm_head" in n.split(".")]
    if not found:
        raise UserError(
            "method.finetune.train=head: the output layer is the embedding (tied weights)",
            "Choose train=blocks, or train=names with patterns of the embedding.",
        )
    return found
