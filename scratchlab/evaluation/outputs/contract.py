"""What a model says to examples: made in one place, for evaluators and for ``predict``.

Each kind of data set names the outputs that belong to it (``Dataset.outputs``). Those of a split
are made once for all evaluators; lines that a person gives go the same way.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, ClassVar

from scratchlab.data.contract import Dataset
from scratchlab.errors import UserError
from scratchlab.evaluation.contract import EvaluationContext
from scratchlab.registry import parts

LOGGER = logging.getLogger("scratchlab")


class Outputs(ABC):
    """Registered as ``@register("outputs", NAME)``; built without arguments."""

    registered_name: ClassVar[str]

    def of_split(self, context: EvaluationContext, **how: Any) -> Any:
        """What the model says to the split, made once for all that ask for it in the same way."""
        key = ("outputs", self.registered_name, context.split, *sorted(how.items()))
        return context.once(key, lambda: self.make(context, **how))

    @abstractmethod
    def make(self, context: EvaluationContext, **how: Any) -> Any:
        """What :meth:`of_split` keeps, in the order of the split."""

    @abstractmethod
    def of_lines(
        self, context: EvaluationContext, lines: Iterator[str], at_once: int
    ) -> Iterator[Iterable[str]]:
        """What the model says to each line, in pieces that are shown as they come.

        An empty line stays empty. Up to ``at_once`` lines are waited for and handled together,
        which changes nothing that is said.
        """


class Writing(Outputs):
    """Outputs that are texts about texts: summaries, translations, answers to instructions."""

    @abstractmethod
    def written(
        self, context: EvaluationContext, count: int | None, new_tokens: int
    ) -> tuple[list[str], dict[str, Any]]:
        """The texts about the first ``count`` examples (None: all), and what they depended on."""


def outputs_for(dataset: Dataset, wanted: Any, refusal: UserError, named: str | None = None) -> Any:
    """What makes the outputs for a data set; ``refusal`` is raised if it is no ``wanted`` class.

    ``named``: what the model says is of a kind of its own (a fact ``outputs`` of its registration).
    """
    part = parts("outputs").get(named or dataset.outputs)
    made = None if part is None else part.load()()
    if not isinstance(made, wanted):
        raise refusal
    return made


def say_if_cut(tokens: int, limit: int) -> None:
    """Say that a text is read in part."""
    if tokens > limit:
        LOGGER.warning(
            "a text of %d tokens is cut to %d (dataset.max_length): its end is not read",
            tokens, limit,
        )  # fmt: skip


def batched(lines: Iterator[str], size: int) -> Iterator[list[str]]:
    """Lists of ``size`` lines, the last one perhaps shorter."""
    while group := list(islice(lines, size)):
        yield group
