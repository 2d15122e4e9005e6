"""Texts that come out the same alone and among others, with a cache and without one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from scratchlab.data.contract import Spec, TranslationDataset
from scratchlab.decoding.contract import pad_rows
from scratchlab.decoding.sampling import Sampling
from scratchlab.evaluation.outputs.translations import clip_sources
from scratchlab.models.contract import LanguageModel, Seq2SeqModel
from scratchlab.registry import build, find
from scratchlab.verifying.findings import (
    DoesNotApply,
    Finding,
    Gap,
    Tolerance,
    gap_of,
    judged,
    largest,
    texts_gap,
)
from scratchlab.verifying.subject import EXAMPLES, Subject

NEW_TOKENS = 8
PROMPT = 8  # tokens of a running text that is gone on with
LONGEST = 24  # tokens of a question, say, that is answered: its last ones
TOGETHER = "alone, by 3, all together"
CACHED = "with a cache, without"
TEXTS = EXAMPLES // 2

Ids = list[list[int]]


def generation(subject: Subject) -> Iterator[Finding]:
    """Texts one at a time, some together, all together; greedily and as the run decodes."""
    parts, spec = subject.parts, subject.parts.dataset.spec
    model, texts = _writer(subject), _texts(subject)
    chosen = {"greedy": _greedy(model, subject)}
    if parts.decoder is not None and parts.decoder.config != chosen["greedy"].config:
        chosen["as decoded"] = parts.decoder
    for how, decoder in chosen.items():
        ids, sure = written(decoder, model, texts, spec, len(texts))
        others = [written(decoder, model, texts, spec, size) for size in (1, 3)]
        gaps = [texts_gap(ids, other, "text") for other, _ in others]
        yield judged(TOGETHER, f"texts ({how})", largest(gaps))
        if sure:
            gaps = [gap_of("log-probability", sure, other) for _, other in others]
            what = f"log-probabilities ({how})"
            yield judged(TOGETHER, what, largest(gaps), subject.tolerance())


def cache(subject: Subject) -> Iterator[Finding]:
    """What comes next by a cache of the tokens before, and by reading them all anew."""
    model, texts, spec = _writer(subject), _texts(subject), subject.parts.dataset.spec
    tolerance = subject.tolerance()
    if isinstance(model, LanguageModel):
        yield cached_texts(model, texts, spec)
        yield cached_logits(model, texts, tolerance)
    else:
        greedy = _greedy(model, subject)
        targets, _ = written(greedy, model, texts, spec, len(texts))
        yield cached_translations(model, texts, targets, spec, tolerance)


def written(decoder: Any, model: Any, texts: Ids, spec: Spec, size: int) -> tuple[Ids, list[float]]:
    """What a decoder writes about each of some texts, ``size`` of them at once; and how probable
    the model finds it (of language models: not told)."""
    ids: Ids = []
    sure: list[float] = []
    for first in range(0, len(texts), size):
        rows = texts[first : first + size]
        if isinstance(model, LanguageModel):
            new = _room(model, texts)
            ids += decoder.generate_batch(model, rows, spec, max_new_tokens=new)
        else:
            found = decoder.generate_all(model, rows, spec, size)
            ids += [hypothesis.ids for hypothesis in found]
            sure += [hypothesis.log_probability for hypothesis in found]
    return ids, sure


def cached_texts(model: LanguageModel, texts: Ids, spec: Spec) -> Finding:
    """Greedy continuations with the cache, and with each text read anew for every token."""
    with_cache, without = (
        written(Sampling(Sampling.Config(temperature=0.0, cache=kept)), model, texts, spec, TEXTS)[
            0
        ]
        for kept in (True, False)
    )
    return judged(CACHED, "texts (greedy)", texts_gap(without, with_cache, "text"))


@torch.no_grad()
def cached_logits(model: LanguageModel, texts: Ids, tolerance: Tolerance) -> Finding:
    """Logits of some next tokens: texts of unequal length with one cache, and each alone without.

    Raises:
        DoesNotApply: the model keeps nothing, or its texts fill its block.
    """
    device, new = next(model.parameters()).device, _room(model, texts)
    kept = model.start_cache(len(texts), max(map(len, texts)) + new)
    if kept is None:
        raise DoesNotApply("the model keeps no cache")
    lengths = torch.tensor([len(text) for text in texts], device=device)
    longer = [[*text, *_followers(text, new)] for text in texts]
    steps = [model.next_logits(pad_rows(texts, 0).to(device), kept, lengths)]
    for step in range(new - 1):
        newest = [[text[len(given) + step]] for text, given in zip(longer, texts, strict=True)]
        steps.append(model.next_logits(torch.tensor(newest, device=device), kept))
    gaps = []
    for row, (text, given) in enumerate(zip(longer, texts, strict=True)):
        whole = model(torch.tensor([text[:-1]], device=device))[0, len(given) - 1 :]
        found = torch.stack([logits[row] for logits in steps])  # [new, V]
        gaps.append(_logits_gap(whole, found, f"text {row + 1}"))
    return judged(CACHED, "logits", largest(gaps), tolerance)


@torch.no_grad()
def cached_translations(
    model: Seq2SeqModel, sources: Ids, targets: Ids, spec: Spec, tolerance: Tolerance
) -> Finding:
    """Logits of every token of some targets: step by step with one cache, and each pair alone."""
    device = next(model.parameters()).device
    longest = max(1, *(len(target) for target in targets))
    first = int(spec.sos_id or 0)
    rows = [[first, *target, *[first] * (longest - len(target))] for target in targets]
    source = pad_rows(sources, spec.pad_id or 0).to(device)
    padding = model.padding(source)
    kept = model.start_cache(model.encode(source, padding), padding, longest + 1)
    newest = torch.tensor(rows, device=device)
    steps = [model.next_logits(newest[:, i : i + 1], kept)[:, 0] for i in range(longest)]
    gaps = []
    for row, target in enumerate(targets):
        count = max(1, len(target))
        whole = model(torch.tensor([sources[row]], device=device), newest[row : row + 1, :count])[0]
        found = torch.stack([logits[row] for logits in steps[:count]])
        gaps.append(_logits_gap(whole, found, f"text {row + 1}"))
    return judged(CACHED, "logits", largest(gaps), tolerance)


def _logits_gap(expected: Tensor, found: Tensor, where: str) -> Gap:
    one = gap_of(where, expected.float(), found.float())
    return dataclasses.replace(one, where=one.where.replace("[", " [token, id] [", 1))


def _writer(subject: Subject) -> LanguageModel | Seq2SeqModel:
    """The model, if it writes texts by the contract of those that do."""
    name = subject.config["model"]["name"]
    subject.require_torch("it decodes no tokens and keeps no cache")
    model = subject.parts.model
    if not isinstance(model, LanguageModel | Seq2SeqModel):
        raise DoesNotApply(f"{name} writes no texts")
    model.eval()
    return model


def _greedy(model: Any, subject: Subject) -> Any:
    if isinstance(model, LanguageModel):
        return Sampling(Sampling.Config(temperature=0.0, seed=subject.config["seed"]))
    return build("decoding", {"name": "greedy", **find("decoding", "greedy").defaults()})


def _texts(subject: Subject) -> Ids:
    """Texts of the split that is scored, of unequal lengths, to go on with or to translate."""
    dataset: Any = subject.parts.dataset
    if isinstance(dataset, TranslationDataset):
        sources = dataset.sources(subject.split)[:EXAMPLES]
        rows = [dataset.encode_source(text) for text in sources]
        return clip_sources(rows, dataset.spec)[0]
    if not hasattr(dataset, "openings"):
        raise DoesNotApply(f"{subject.config['dataset']['name']} has no texts to go on with")
    found = dataset.openings(subject.split, TEXTS, PROMPT)
    prompts = [[int(i) for i in prompt] for prompt, _ in found]
    lengths = [max(1, min(len(prompt), LONGEST) - row) for row, prompt in enumerate(prompts)]
    return [prompt[-length:] for prompt, length in zip(prompts, lengths, strict=True)]


def _room(model: LanguageModel, texts: Ids) -> int:
    """How many tokens fit behind the longest text."""
    longest = max(map(len, texts))
    room = NEW_TOKENS if model.block_size is None else min(NEW_TOKENS, model.block_size - longest)
    if room < 2:
        raise DoesNotApply(f"the texts fill the model's block of {model.block_size} tokens")
    return room


def _followers(text: Sequence[int], count: int) -> list[int]:
    """Tokens that may follow: those of the text again."""
    return [text[i % len(text)] for i in range(count)]
