"""Questions that are answered from documents: what is found for each stands in its prompt.

An example is read as ``instruction, passages, question → answer <eos>``, as the checkpoint's chat
template writes it. The passages are searched under the run's representation and fill a budget of
tokens, the best ones first. Without a representation (or with ``passages=0``) the model is asked
without documents.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from scratchlab.data.batching.encoded_texts import learned
from scratchlab.data.batching.plans import Shuffle
from scratchlab.data.contract import DataContext
from scratchlab.data.documents.index import PassageIndex
from scratchlab.data.documents.passages import Passages, passages_of
from scratchlab.data.documents.reading import Document, PassageOptions
from scratchlab.data.kinds.base import log
from scratchlab.data.kinds.prompted import Encoded, Example, PromptedDataset, PromptedOptions
from scratchlab.data.sources.locating import Located, Pair
from scratchlab.data.tokenizers.contract import Tokenizer
from scratchlab.errors import UserError
from scratchlab.registry import option

INDEX = "index.safetensors"
LEAST = 16  # tokens of a passage that is cut


@dataclass(frozen=True)
class DocumentQuestionOptions(PassageOptions, PromptedOptions):
    """What of the documents is shown to the model, and how it is asked."""

    passages: int = option(3, "most passages that a prompt holds; 0: none", min=0, max=100)
    passage_tokens: int = option(384, "tokens that they may have together", min=1)
    instruction: str = option(
        "Answer the question from the passages, with a name or a value only.",
        "what the model is told before the passages",
    )
    instruction_without: str = option(
        "Answer the question, with a name or a value only.", "the same where there are none"
    )
    examples: int = option(
        0,
        "training questions with their answers that stand before, to show the form",
        min=0,
        max=32,
    )
    chat: bool = option(False, "ask as the checkpoint's chat template asks, where it has one")
    show_prompt: bool = option(False, "predict shows the prompt before the answer")


@dataclass
class AnsweredDocuments(Located):
    """Questions with answers, as pairs, and the documents; ``accepted``: of a question all answers
    that are right; ``kinds``: of a question what kind it is, where there are several."""

    documents: list[Document] = field(default_factory=list)
    accepted: dict[str, list[str]] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)


class DocumentQuestions(PromptedDataset):
    """Questions on a collection of documents; subclasses say where both come from."""

    outputs = "cited_answers"
    content_name = "questions"

    def __init__(self, config: Any, context: DataContext) -> None:
        self._given: dict[str, list[list[int]]] = {}
        super().__init__(config, context)

    def _learned(self) -> Tokenizer:
        """Of the documents, the training questions and what stands around them."""
        asked = [self.framed(question, answer, []) for question, answer in self.pairs["train"]]
        texts = [f"{e.opening}{e.text}{e.separator}{e.answer}" for e in asked]
        texts += [f"{self.config.instruction} [1]", *self.passages.texts]
        return learned(self.context.cache, self.config, texts, lines=True)

    @classmethod
    @abstractmethod
    def locate(cls, config: Any, context: DataContext) -> AnsweredDocuments:
        """Find questions and documents; UserError if there are no documents."""

    @functools.cached_property
    def pairs(self) -> dict[str, list[Pair]]:
        """None at all where there are documents only."""
        if self.unmeasured:
            return {split: [] for split in self.splits}
        pairs: dict[str, list[Pair]] = super().pairs
        return pairs

    @property
    def unmeasured(self) -> str:
        return "" if self.located.accepted else "no questions are given (dataset.questions=FILE)"

    @property
    def notes(self) -> list[str]:
        found = [*super().notes]
        if self.config.passages and self.context.representation is None:
            found.append("without a representation (representation=bm25) prompts hold no passages")
        return found

    def plan_epoch(self, split: str, shuffle: Shuffle) -> Any:
        """No batches where there are no questions."""
        return super().plan_epoch(split, shuffle) if self.size(split) else []

    # --- documents ------------------------------------------------------------------------------

    @property
    def documents(self) -> list[Document]:
        """The collection, in its order."""
        found: list[Document] = self.located.documents
        return found

    @functools.cached_property
    def passages(self) -> Passages:
        """What of it is searched."""
        config = self.config
        return passages_of(self.documents, config.passage_words, config.passage_overlap)

    @functools.cached_property
    def index(self) -> PassageIndex | None:
        """The passages under the representation; None without one."""
        if self.context.representation is None or not self.config.passages:
            return None
        made = PassageIndex(self.context.representation)
        kept = self.context.vocabulary / INDEX if self.context.vocabulary else None
        if kept is None or not kept.is_file():
            return made.fit(self.passages)
        try:
            made.set_state(load_file(kept))
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            raise UserError(
                f"{kept} does not fit the representation of this configuration: {error}",
                "Leave the options of the representation as the run was made with.",
            ) from error
        if changed := made.changed(self.passages):
            log.warning("%s. Those are left out; make the run again to index all.", changed)
        return made

    def save_vocabulary(self, folder: Path) -> None:
        super().save_vocabulary(folder)
        if self.index is not None:
            state = self.index.get_state()
            save_file({name: np.asarray(a, order="C") for name, a in state.items()}, folder / INDEX)

    def search(self, questions: Sequence[str]) -> list[list[int]]:
        """The numbers of the passages that belong to each question, best first."""
        if self.index is None:
            return [[] for _ in questions]
        found = self.index.search(questions, self.config.passages, self.passages)
        return [numbers.tolist() for numbers, _ in found]

    # --- prompts --------------------------------------------------------------------------------

    def given(self, split: str) -> list[list[int]]:
        """The passages that stand in the prompt of each question of a split."""
        if split not in self._given:
            found = self.search(self.texts(split))
            self._given[split] = [self.fitting(numbers)[0] for numbers in found]
        return self._given[split]

    def fitting(self, numbers: Sequence[int]) -> tuple[list[int], list[str]]:
        """Passages with their texts, as many as the budget of tokens holds; the last may be cut."""
        kept: list[int] = []
        texts: list[str] = []
        left = self.config.passage_tokens
        for number in numbers:
            text = self.passages.texts[number]
            ids = self.encode(text)
            if len(ids) > left:
                if left < LEAST and kept:
                    break
                ids = ids[:left]
                text = self.decode(ids)
            kept.append(number)
            texts.append(text)
            left -= len(ids)
            if left <= 0:
                break
        return kept, texts

    def example(self, text: str, answer: str = "") -> Example:
        (found,) = self.search([text])
        return self.framed(text, answer, found)

    def cases(self, split: str) -> list[Example]:
        pairs = self.of_split(self.pairs, split)
        rows = zip(pairs, self.given(split), strict=True)
        return [self.framed(question, answer, found) for (question, answer), found in rows]

    def framed(self, question: str, answer: str, found: Sequence[int]) -> Example:
        """A question with the passages that stand before it."""
        config = self.config
        _, texts = self.fitting(found)
        solved = [pair for pair in self.pairs["train"] if pair[0] != question][: config.examples]
        told = [
            config.instruction if texts else config.instruction_without,
            *(f"Question: {asked}\nAnswer: {said}" for asked, said in solved),
            *(f"[{place}] {text}" for place, text in enumerate(texts, 1)),
        ]
        before = "\n\n".join(told)
        if config.chat and self.pretrained is not None:
            return Example(question, answer, *self.chat_frame(f"{before}\n\nQuestion:"))
        return Example(question, f" {answer}", f"{before}\n\nQuestion: ", "\nAnswer:")

    def bare_prompts(self, split: str) -> list[list[int]]:
        """Ids of the same questions without any passage."""
        found: list[Encoded] = [
            self._encode(self.framed(question, "", []), []) for question in self.texts(split)
        ]
        return [e.prompt for e in found]

    def references(self, split: str) -> list[str]:
        return [answer for _, answer in self.of_split(self.pairs, split)]

    def accepted(self, split: str) -> list[list[str]]:
        """All answers that are right, question by question."""
        return [self.located.accepted[question] for question in self.texts(split)]

    def kinds(self, split: str) -> list[str]:
        """The kind of each question; empty texts where there is one kind only."""
        return [self.located.kinds.get(question, "") for question in self.texts(split)]

    def owners(self, numbers: Sequence[int]) -> list[str]:
        """The names of the documents that passages belong to."""
        owners: NDArray[np.int64] = self.passages.owners
        return [self.documents[owners[number]].name for number in numbers]
