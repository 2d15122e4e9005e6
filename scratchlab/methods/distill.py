"""Distillation: a model learns from larger ones, or from several, what they believe or write.

By words (Hinton et al. 2015) the loss is partly the distance to the teachers' distributions
(:mod:`scratchlab.tasks.taught`); by sequences (Kim & Rush 2016) the targets of the training pairs
are what the teachers write by beam search (:mod:`scratchlab.decoding.written_anew`). The model is
left as it is: its checkpoints hold nothing of the teachers and need none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from scratchlab.methods.contract import Arithmetic, Method, MethodContext
from scratchlab.models.contract import Model
from scratchlab.registry import option, register


@register(
    "method",
    "distill",
    tasks=("seq2seq", "language_modeling", "classification", "masked_lm"),
    names=("teachers",),
    only_for={"level": {"sequence": "seq2seq", "both": "seq2seq"}},
    leaves_model=True,
)
class Distill(Method):
    """Learn from trained runs: from their distributions, from what they write, or both."""

    @dataclass(frozen=True)
    class Config:
        teachers: list[str] = option(
            [], "runs or checkpoints; of several the mean of their distributions", path="name"
        )
        level: str = option(
            "word",
            "word: the loss is partly the distance to the teachers' distributions; sequence: the "
            "training targets are what the teachers write (translation); both",
            choices=("word", "sequence", "both"),
        )
        weight: float = option(
            0.5,
            "share of the teachers in the loss, the rest is that of the right answers",
            above=0,
            max=1,
            when={"level": ("word", "both")},
        )
        temperature: float = option(
            1.0,
            "both distributions are softened by: logits are divided by it",
            above=0,
            when={"level": ("word", "both")},
        )
        beam_size: int = option(
            5,
            "hypotheses of the teachers' search",
            min=1,
            max=10_000,
            when={"level": ("sequence", "both")},
        )
        length_penalty: float = option(
            0.6,
            "exponent of the length penalty of that search",
            min=0,
            when={"level": ("sequence", "both")},
        )
        choose: str = option(
            "best",
            "of the hypotheses the best, or the one that is closest to the given target (by the "
            "BLEU of a sentence)",
            choices=("best", "closest"),
            when={"level": ("sequence", "both")},
        )
        keep_targets: bool = option(
            False,
            "train on the given targets too, so that each source is there twice",
            when={"level": ("sequence", "both")},
        )

        RULES: ClassVar[tuple[tuple[str, str], ...]] = (
            ("choose != 'closest' or beam_size > 1", "one hypothesis leaves nothing to choose"),
        )

    config: Config

    def apply(self, model: Model, context: MethodContext) -> Model:
        """The model itself: only what it is trained on and by which loss is another."""
        return model

    @property
    def by_words(self) -> bool:
        """Whether the teachers have a say in the loss."""
        return self.config.level != "sequence"

    @property
    def by_sequences(self) -> bool:
        """Whether the teachers write the training targets."""
        return self.config.level != "word"

    @property
    def search(self) -> dict[str, Any]:
        """The options of the teachers' search."""
        return {
            "beam_size": self.config.beam_size,
            "length_penalty": self.config.length_penalty,
        }

    @property
    def mergeable(self) -> bool:
        return True

    def arithmetic(self) -> list[Arithmetic]:
        config = self.config
        rows = []
        if self.by_words:
            w, t = config.weight, config.temperature
            rows.append(("loss", f"{1 - w:g} · CE + {w * t * t:g} · KL(teachers ‖ student)"))
            rows.append(("temperature T", f"{t:g} (w · T² = {w:g} · {t * t:g})"))
        if self.by_sequences:
            which = "the best" if config.choose == "best" else "the closest to the given target"
            rows.append(("training targets", f"{which} of {config.beam_size} hypotheses"))
            rows.append(("given targets", "learned too" if config.keep_targets else "left out"))
        return [Arithmetic("Distillation", ("what", "value"), rows)]
