"""What a language model answers to prompts: of a split, and of a person."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from scratchlab.data.kinds.prompted import PromptedDataset
from scratchlab.decoding.sampling import Sampling
from scratchlab.errors import UserError
from scratchlab.evaluation.contract import EvaluationContext
from scratchlab.evaluation.outputs.contract import Writing, outputs_for, say_if_cut
from scratchlab.registry import register

# Prompts and their continuations that are decoded together, in tokens.
TOKENS_AT_ONCE = 16_384


def prompted_dataset(context: EvaluationContext, evaluator: str) -> PromptedDataset:
    """The data set, which must have prompts and answers."""
    if not isinstance(context.dataset, PromptedDataset):
        raise _no_answers(evaluator)
    return context.dataset


def _no_answers(evaluator: str) -> UserError:
    return UserError(
        f"{evaluator}: the data set has no prompts with answers",
        "It measures, for example, dataset=docstrings and dataset=cnn_dailymail.",
    )


def summarised_dataset(context: EvaluationContext, evaluator: str) -> Any:
    """The data set, which must have texts and what is to be written about them."""
    outputs_for(context.dataset, Writing, _no_answers(evaluator))
    return context.dataset


def written_about(
    context: EvaluationContext, evaluator: str, count: int | None, new_tokens: int
) -> tuple[list[str], dict[str, Any]]:
    """What the model writes about the first ``count`` texts, and what that depended on."""
    writing: Writing = outputs_for(context.dataset, Writing, _no_answers(evaluator))
    return writing.written(context, count, new_tokens)


def answers(context: EvaluationContext, count: int | None, new_tokens: int) -> list[str]:
    """The model's answers to the first ``count`` prompts (None: all), made once."""
    return AnsweringPrompts().written(context, count, new_tokens)[0]


@register("outputs", "answers")
class AnsweringPrompts(Writing):
    """The chosen decoding writes (without one: the most probable tokens)."""

    def make(self, context: EvaluationContext, **how: Any) -> list[str]:
        """Answers of at most ``new_tokens`` tokens to the first ``count`` prompts."""
        prompts = prompted_dataset(context, "generated answers").prompts(context.split)
        return self._write(context, prompts[: how["count"]], how["new_tokens"])

    def written(
        self, context: EvaluationContext, count: int | None, new_tokens: int
    ) -> tuple[list[str], dict[str, Any]]:
        found: list[str] = self.of_split(context, count=count, new_tokens=new_tokens)
        return found, {"new_tokens": new_tokens}

    def of_lines(
        self, context: EvaluationContext, lines: Iterator[str], at_once: int
    ) -> Iterator[Iterable[str]]:
        """A line each: the summary of a text, the answer to an instruction."""
        dataset = prompted_dataset(context, "predict")
        for line in lines:
            if not line.strip():
                yield [""]
                continue
            prompt, tokens, kept = dataset.prompt(line)
            say_if_cut(tokens, kept)
            (text,) = self._write(context, [prompt], None)
            yield [" ".join(text.split())]

    def _write(
        self, context: EvaluationContext, prompts: list[list[int]], new_tokens: int | None
    ) -> list[str]:
        """Prompts of like length share a batch; ``new_tokens``: None for the decoding's own."""
        decoder = context.decoder or Sampling(Sampling.Config(temperature=0.0, seed=context.seed))
        new_tokens = new_tokens or decoder.config.max_new_tokens
        dataset, room = prompted_dataset(context, "answers"), context.model.block_size
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        texts = [""] * len(prompts)
        start = 0
        while start < len(order):
            size = 1
            while start + size < len(order) and size < context.batch_size:
                longest = len(prompts[order[start + size]]) + new_tokens
                if (size + 1) * longest > TOKENS_AT_ONCE:
                    break
                size += 1
            chosen = order[start : start + size]
            rows = [prompts[i] for i in chosen]
            limit = new_tokens
            if room is not None:
                limit = max(1, min(new_tokens, room - max(map(len, rows))))
            found = decoder.generate_batch(context.model, rows, dataset.spec, max_new_tokens=limit)
            for i, ids in zip(chosen, found, strict=True):
                ends = ids and ids[-1] == dataset.spec.eos_id
                texts[i] = dataset.decode(ids[:-1] if ends else ids).strip()
            start += size
        return texts
