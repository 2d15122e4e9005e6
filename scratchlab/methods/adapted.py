"""A model with the methods that were applied to it, and what its checkpoints hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchlab.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from scratchlab.methods.contract import Method
    from scratchlab.models.contract import Model


@dataclass
class Adapted:
    """``base`` says where the weights that were there before come from: a pretrained checkpoint or
    a run, with its hash. None: from nowhere else, so a checkpoint holds everything."""

    model: Model
    methods: Sequence[Method] = ()
    base: dict[str, Any] | None = None
    names: list[str] = field(init=False)
    exporting: list[Method] = field(init=False)
    refusal: str | None = field(init=False)

    def __post_init__(self) -> None:
        from scratchlab.methods.contract import own_state

        self.names = own_state(self.model, with_base=self.base is None)
        self.exporting = [m for m in self.methods if m.exports]
        self.refusal = self._export_refusal()

    @property
    def is_complete(self) -> bool:
        """Whether :meth:`state` holds all weights, so that no base is needed to load it."""
        from scratchlab.methods.contract import own_state

        return len(self.names) == len(own_state(self.model, with_base=True))

    def record(self) -> dict[str, Any] | None:
        """What a checkpoint says of the weights that it does not hold."""
        return None if self.is_complete else self.base

    def state(self) -> dict[str, Tensor]:
        """The tensors that a checkpoint holds."""
        everything = self.model.state_dict()
        return {name: everything[name] for name in self.names}

    def load(self, weights: dict[str, Tensor], origin: Path) -> None:
        """Put the tensors of a checkpoint back; UserError if they belong to another model."""
        self.check(weights, origin)
        import torch

        own = self.model.state_dict()
        with torch.no_grad():
            for name in self.names:
                own[name].copy_(weights[name])

    def check(self, weights: Mapping[str, Tensor], origin: Path) -> None:
        """UserError unless the tensors of a checkpoint are those of this model, by their shapes."""
        own = self.model.state_dict()
        wrong = [n for n in self.names if n not in weights or not _fits(weights[n], own[n])]
        wrong += [n for n in weights if n not in own]
        if wrong:
            raise UserError(
                f"the weights of {origin} do not fit the model of this configuration: "
                + _misfit(wrong[0], weights.get(wrong[0]), own.get(wrong[0]))
                + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""),
                "Leave the options of the model, of its methods and of the vocabulary as the run "
                "was trained with.",
            )

    def parameter_counts(self) -> tuple[int | None, int | None]:
        """All and trainable parameters; None of an estimator, which has none before it learns."""
        from scratchlab.methods.contract import parameter_counts

        return parameter_counts(self.model)

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Inside, the model is measured: in ``eval()`` mode, without gradients."""
        import torch

        self.model.eval()
        with torch.no_grad():
            yield

    def penalty(self) -> Tensor | None:
        """The sum of the methods' penalties, or None."""
        terms = [term for method in self.methods if (term := method.penalty()) is not None]
        return sum(terms[1:], terms[0]) if terms else None

    def save_files(self, folder: Path) -> None:
        """What model and methods write into a checkpoint beside the tensors."""
        self.model.save_files(folder)
        if self.refusal is None:
            for method in self.exporting:
                method.export(folder)

    def merged(self) -> Model:
        """The model with its methods merged into its weights, for good; all must be mergeable."""
        for method in reversed(self.methods):
            method.merge(self.model)
        return self.model

    def settings(self) -> dict[str, Any]:
        """What the methods add to the settings of every figure that is measured."""
        return {key: value for m in self.methods for key, value in m.settings().items()}

    @property
    def notes(self) -> list[str]:
        """What a person should know of how the model begins and what methods did, a line each."""
        found = list(getattr(self.model, "notes", ()))
        found += [f"{m.registered_name}: {note}" for m in self.methods for note in m.notes]
        if self.refusal is not None:
            found.append(f"checkpoints hold no adapter/ for peft: {self.refusal}")
        return found

    def _export_refusal(self) -> str | None:
        """Why what the methods write for other programs would not give this model's outputs."""
        if len(self.exporting) > 1:
            both = " and ".join(m.registered_name for m in self.exporting)
            return f"its format holds one adapter, not {both} together"
        return next((why for m in self.exporting if (why := m.unexportable())), None)

    def untrainable(self) -> UserError:
        """The message where nothing is left to be trained."""
        quantized = [m.registered_name for m in self.methods if m.quantizes]
        if quantized:
            joined, both = ",".join(quantized), " and ".join(quantized)
            return UserError(
                f"nothing can be trained: {both} stores the weights in fewer bits",
                f"Train an adapter on them (method=[{joined},lora]), or train nothing "
                "(trainer.max_steps=0).",
            )
        return UserError("no parameter of this model is to be trained")


def _fits(saved: Tensor, own: Tensor) -> bool:
    """Whether a tensor of a checkpoint can take its place: other widths of floats are converted,
    whole numbers, truth values and complex ones stand for nothing else."""
    floats = saved.is_floating_point() and own.is_floating_point()
    return saved.shape == own.shape and (floats or saved.dtype == own.dtype)


def _misfit(name: str, saved: Tensor | None, own: Tensor | None) -> str:
    """What keeps a tensor of a checkpoint from its place."""
    if saved is None or own is None:
        return f"{name} is {'not in the checkpoint' if saved is None else 'not in the model'}"
    if saved.shape == own.shape:
        there, here = (str(t.dtype).removeprefix("torch.") for t in (saved, own))
        return f"{name} holds {there} in the checkpoint and {here} in the model"
    there, here = ("×".join(map(str, t.shape)) for t in (saved, own))
    return f"{name} is {there} in the checkpoint and {here} in the model"
