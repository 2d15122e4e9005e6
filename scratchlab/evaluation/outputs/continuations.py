"""How a language model goes on: with texts of a split, and with what a person begins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from scratchlab.data.contract import TextDataset
from scratchlab.decoding.continuation import Continuation, draw_line
from scratchlab.decoding.sampling import Sampling
from scratchlab.errors import UserError
from scratchlab.estimators.ngrams.model import NGram
from scratchlab.evaluation.contract import EvaluationContext
from scratchlab.evaluation.outputs.contract import LOGGER, Outputs, batched
from scratchlab.registry import register


@register("outputs", "continuations")
class Continuing(Outputs):
    """Texts of the split that are given in part beside what the model adds, and the original."""

    def make(self, context: EvaluationContext, **how: Any) -> list[tuple[str, str, str]]:
        """(given, written, original) texts.

        ``prompts`` to go on from, or ``count`` texts of the split of which ``prompt_tokens`` are
        given; ``new_tokens`` are written. The chosen decoding writes (without one: temperature 0.8,
        top-p 0.95).
        """
        texts: Any = context.dataset  # each kind of text can be opened
        dataset = context.dataset
        if not isinstance(dataset, TextDataset):
            raise UserError("generation_samples: the data set holds no text to go on from.")
        given: Sequence[tuple[list[int], list[int]]] = [
            (dataset.encode(text), []) for text in how["prompts"]
        ] or texts.openings(context.split, how["count"], how["prompt_tokens"])
        prompts = [[int(i) for i in prompt] for prompt, _ in given]
        written = self._write(context, prompts, how["new_tokens"])
        return [
            (dataset.decode(prompt), dataset.decode(text), dataset.decode(list(original)))
            for prompt, text, (_, original) in zip(prompts, written, given, strict=True)
        ]

    def _write(
        self, context: EvaluationContext, prompts: list[list[int]], new: int
    ) -> list[list[int]]:
        decoder = context.decoder or Sampling(
            Sampling.Config(temperature=0.8, top_p=0.95, seed=context.seed)
        )
        model, spec = context.model, context.dataset.spec
        if isinstance(model, NGram):  # it draws with the same temperature
            end, temperature = spec.eos_id, decoder.config.temperature
            return [draw_line(model, p, end, context.seed, new, temperature) for p in prompts]
        found: list[list[int]] = decoder.generate_batch(model, prompts, spec, max_new_tokens=new)
        return found

    def of_lines(
        self, context: EvaluationContext, lines: Iterator[str], at_once: int
    ) -> Iterator[Iterable[str]]:
        """Each line with what the model adds to it."""
        dataset = context.dataset
        assert isinstance(dataset, TextDataset)
        if context.decoder is None:
            raise UserError("this run has no decoding", "Add decoding=sampling.")
        writer = Continuation(context.model, dataset, context.decoder, LOGGER.warning)
        number = 0
        for group in batched(lines, at_once):
            wheres = [f"prompt {number + i}" for i in range(1, len(group) + 1)]
            number += len(group)
            if len(group) == 1:
                pieces = writer.stream(group[0], wheres[0])  # refuses before anything is shown
                yield chain(group, pieces)
            else:
                yield from zip(group, writer.batch(group, wheres), strict=True)
