"""Targets as a teacher would write them: sequence-level distillation (Kim & Rush 2016, 3.2).

The student's training targets are replaced by the best hypothesis of the teacher's beam search, or
by that of the beam which is closest to the given target (section 3.3, by the BLEU of a sentence).
What was written is kept in the cache in parts, each under the hash of all that it depends on, so a
command that was stopped goes on with the part that it had come to.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchlab.data.batching.cache import Arrays, cached, content_key, pack_text, unpack_text
from scratchlab.data.contract import TranslationDataset
from scratchlab.decoding.contract import Decoder, Hypothesis, pad_rows, required_ids

PART = 512  # sentences that are kept together
AT_ONCE = 64  # sentences that are searched together


@dataclass(frozen=True)
class Writer:
    """A teacher's model with the data set whose vocabulary it has, and its search; ``identity``
    (JSON) tells it from every other. With ``closest`` a target decides which hypothesis is kept."""

    model: Any
    dataset: TranslationDataset
    search: Decoder
    identity: Mapping[str, Any]
    closest: bool = False


def written_anew(
    writer: Writer,
    sources: Sequence[str],
    targets: Sequence[str],
    cache: Path,
    tell: Callable[[int], None] = lambda done: None,
) -> list[str]:
    """What the teacher writes for each source; ``tell`` hears how many are done after each part."""
    found: list[str] = []
    for start in range(0, len(sources), PART):
        part = [side[start : start + PART] for side in (sources, targets)]
        given = {"sources": part[0], "targets": part[1] if writer.closest else None}
        key = content_key(**writer.identity, **given)
        arrays = cached(cache, "written_anew", key, functools.partial(_packed, writer, *part))
        found += unpack_text(arrays["text"], arrays["offsets"])
        tell(len(found))
    return found


def _packed(writer: Writer, sources: Sequence[str], targets: Sequence[str]) -> Arrays:
    text, offsets = pack_text(_written(writer, sources, targets))
    return {"text": text, "offsets": offsets}


def _written(writer: Writer, sources: Sequence[str], targets: Sequence[str]) -> list[str]:
    dataset, search = writer.dataset, writer.search
    rows = [dataset.encode_source(text) for text in sources]
    if not writer.closest:
        best = search.generate_all(writer.model, rows, dataset.spec, AT_ONCE)
        return [dataset.decode_target(one.ids) for one in best]
    texts = [
        [dataset.decode_target(one.ids) for one in hypotheses]
        for hypotheses in _all_hypotheses(writer, rows)
    ]
    return [closest(few, target) for few, target in zip(texts, targets, strict=True)]


def _all_hypotheses(writer: Writer, rows: Sequence[Sequence[int]]) -> list[list[Hypothesis]]:
    """All of the beam of each sentence; those of similar length are searched together."""
    device = next(writer.model.parameters()).device
    spec, beams = writer.dataset.spec, writer.search.config.beam_size
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    found: dict[int, list[Hypothesis]] = {}
    for start in range(0, len(order), AT_ONCE):
        few = order[start : start + AT_ONCE]
        batch = pad_rows([rows[i] for i in few], required_ids(spec)[0]).to(device)
        found.update(zip(few, writer.search.n_best(writer.model, batch, spec, beams), strict=True))
    return [found[i] for i in range(len(rows))]


def closest(hypotheses: Sequence[str], target: str) -> str:
    """The hypothesis with the highest sentence BLEU against a target; the first of equal ones."""
    from sacrebleu import sentence_bleu

    scores = [sentence_bleu(text, [target]).score for text in hypotheses]
    return hypotheses[scores.index(max(scores))]
