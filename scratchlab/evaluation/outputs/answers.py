"""What a language model answers to the prompts of a split; shared by the evaluators."""

from __future__ import annotations

from typing import Any

from scratchlab.data.contract import TranslationDataset
from scratchlab.data.kinds.prompted import PromptedDataset
from scratchlab.decoding.sampling import Sampling
from scratchlab.errors import UserError
from scratchlab.evaluation.contract import EvaluationContext
from scratchlab.evaluation.outputs.translations import clip_sources, decoder_settings, generate

# Prompts and their continuations that are decoded together, in tokens.
TOKENS_AT_ONCE = 16_384


def prompted_dataset(context: EvaluationContext, evaluator: str) -> PromptedDataset:
    """The data set, which must have prompts and answers."""
    if not isinstance(context.dataset, PromptedDataset):
        raise UserError(
            f"{evaluator}: the data set has no prompts with answers",
            "It measures, for example, dataset=docstrings and dataset=cnn_dailymail.",
        )
    return context.dataset


def summarised_dataset(
    context: EvaluationContext, evaluator: str
) -> PromptedDataset | TranslationDataset:
    """The data set, which must have texts and what is to be written about them."""
    if isinstance(context.dataset, TranslationDataset):
        return context.dataset
    return prompted_dataset(context, evaluator)


def summaries(
    context: EvaluationContext, count: int | None, new_tokens: int
) -> tuple[list[str], dict[str, Any]]:
    """What the model writes about the first ``count`` texts, and what that depended on.

    An encoder-decoder is bounded by the options of its decoding, not by ``new_tokens``.
    """
    dataset = context.dataset
    if not isinstance(dataset, TranslationDataset):
        return answers(context, count, new_tokens), {"new_tokens": new_tokens}

    def write() -> list[str]:
        sources = [dataset.encode_source(t) for t in dataset.sources(context.split)[:count]]
        rows, _ = clip_sources(sources, dataset.spec)
        found = generate(context, rows, context.batch_size)
        return [dataset.decode_target(list(h.ids)) for h in found]

    written = context.once(("summaries", context.split, count), write)
    return written, decoder_settings(context.decoder)


def answers(context: EvaluationContext, count: int | None, new_tokens: int) -> list[str]:
    """The model's answers to the first ``count`` prompts (None: all), made once.

    The chosen decoding writes (without one: the most probable tokens), at most ``new_tokens`` each.
    """
    key = ("answers", context.split, count, new_tokens)
    found: list[str] = context.once(key, lambda: _write(context, count, new_tokens))
    return found


def _write(context: EvaluationContext, count: int | None, new_tokens: int) -> list[str]:
    dataset = prompted_dataset(context, "generated answers")
    prompts = dataset.prompts(context.split)[:count]
    decoder: Any = context.decoder
    if not hasattr(decoder, "generate_batch"):
        decoder = Sampling(Sampling.Config(temperature=0.0, seed=context.seed))
    model: Any = context.model
    room = model.block_size
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
        written = decoder.generate_batch(model, rows, dataset.spec, max_new_tokens=limit)
        for i, ids in zip(chosen, written, strict=True):
            ends = ids and ids[-1] == dataset.spec.eos_id
            texts[i] = dataset.decode(ids[:-1] if ends else ids).strip()
        start += size
    return texts
