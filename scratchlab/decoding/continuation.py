"""What a language model says to a person: texts that go on, as they are written, and answers.

The pieces of a continuation come out one by one. Joined, they are exactly the text of all its
tokens: how a word is joined to its neighbours is decided by the tokenizer, from all words so far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from scratchlab.data.contract import TextDataset
from scratchlab.data.kinds.questions import QuestionDataset
from scratchlab.decoding.sampling import Sampling
from scratchlab.errors import UserError
from scratchlab.estimators.ngrams.model import NGram

Say = Callable[[str], None]


class Continuation:
    """Goes on with texts: a model, the data set whose vocabulary it has, and how to draw.

    ``say`` is told what a person should know of a prompt (words that the vocabulary lacks, a
    context that is longer than the model's block), once for each kind of remark.
    """

    def __init__(self, model: Any, dataset: TextDataset, decoder: Sampling, say: Say) -> None:
        self.model, self.dataset, self.decoder, self.say = model, dataset, decoder, say
        self.said: set[str] = set()

    def stream(self, text: str, where: str = "the prompt") -> Iterator[str]:
        """The pieces of the text that goes on after ``text``, as they are drawn."""
        prompt = self.encode(text, where)
        if isinstance(self.model, NGram):
            return self._appended(prompt, [self._counted(prompt)])
        tokens = self.decoder.stream(self.model, prompt, self.dataset.spec)
        return self._appended(prompt, ([token] for token in tokens))

    def batch(self, texts: Sequence[str], wheres: Sequence[str]) -> list[str]:
        """The same of several texts at once; equal texts go on alike, as they do one by one."""
        numbers: dict[str, int] = {}
        for i, text in enumerate(texts):
            numbers.setdefault(text, i)
        prompts = [self.encode(text, wheres[i]) for text, i in numbers.items()]
        if isinstance(self.model, NGram):
            found = [self._counted(prompt) for prompt in prompts]
        else:
            found = self.decoder.generate_batch(self.model, prompts, self.dataset.spec)
        pairs = zip(prompts, found, strict=True)
        written = ["".join(self._appended(prompt, [ids])) for prompt, ids in pairs]
        return [dict(zip(numbers, written, strict=True))[text] for text in texts]

    def encode(self, text: str, where: str) -> list[int]:
        """The ids of a prompt; UserError if a character has none, remarks about the rest."""
        dataset = self.dataset
        ids = dataset.tokenizer.encode(text, where)
        spec = dataset.spec
        if spec.unk_id is not None and (unknown := ids.count(spec.unk_id)):
            self.remark(
                "unknown",
                f"{where}: {unknown} of {len(ids)} {spec.unit}s are not in the vocabulary "
                "and are read as the unknown one",
            )
        block = self.model.block_size
        if block is not None and len(ids) > block:
            self.remark(
                "block",
                f"{where} has {len(ids)} {spec.unit}s, more than the model's block of {block}: "
                f"only the last ones are read, at most {block}",
            )
        return [int(i) for i in ids]

    def remark(self, kind: str, text: str) -> None:
        if kind not in self.said:
            self.said.add(kind)
            self.say(text)

    def _appended(self, prompt: list[int], drawn: Any) -> Iterator[str]:
        """What each of the lists ``drawn`` of ids adds to the text of the prompt."""
        shown, ids = self.dataset.decode(prompt), list(prompt)
        for new in drawn:
            ids += new
            text = self.dataset.decode(ids)
            if text.startswith(shown):
                yield text[len(shown) :]
                shown = text

    def _counted(self, prompt: list[int]) -> list[int]:
        config = self.decoder.config
        narrowed = {"top_k": config.top_k is not None, "top_p": config.top_p != 1}
        for name in (name for name, asked in narrowed.items() if asked):
            raise UserError(
                f"decoding.{name}: an n-gram model draws from all words",
                "Lower decoding.temperature to make it surer.",
            )
        return draw_line(
            self.model,
            prompt,
            self.dataset.spec.eos_id,
            config.seed,
            config.max_new_tokens,
            config.temperature,
            config.allow_unknown,
        )


def draw_line(
    model: Any,
    prompt: Sequence[int],
    line_end: int | None,
    seed: int,
    max_length: int,
    temperature: float,
    unknown: bool = False,
) -> list[int]:
    """How an n-gram model goes on with the line that ``prompt`` ends in; it stops at its end."""
    inside = list(prompt)
    if line_end in inside:
        inside = inside[len(inside) - inside[::-1].index(line_end) :]
    (drawn,) = model.sample(
        1,
        seed,
        max_length=max_length,
        temperature=temperature,
        prefix=np.array(inside, dtype=np.int64),
        unknown=unknown,
    )
    return [int(i) for i in drawn if i >= 0]


def answers(model: Any, dataset: QuestionDataset, questions: Sequence[str]) -> list[str]:
    """The model's most probable answer to each question, up to the mask that closes it."""
    prompts = []
    for number, question in enumerate(questions, 1):
        ids = dataset.tokenizer.encode(question.strip(), f"question {number}")
        room = model.block_size
        if room is not None and len(ids) + 2 > room:
            raise UserError(
                f"question {number} has {len(ids)} {dataset.tokenizer.unit}s; with an answer, "
                f"the model reads at most {room - 2}",
                "Ask a shorter one, for example: Where was Ada Lovelace born?",
            )
        prompts.append([*ids, dataset.mask_id])
    # One more than the longest answer and its end: what has not ended by then is wrong anyway.
    decoder = Sampling(Sampling.Config(temperature=0.0, max_new_tokens=dataset.longest_answer + 2))
    found = decoder.generate_batch(model, prompts, dataset.spec, stop=(dataset.mask_id,))
    return [dataset.read_answer(ids) for ids in found]
