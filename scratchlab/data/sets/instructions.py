"""Instructions with answers, written as the chat template of a checkpoint writes a conversation."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchlab.data.contract import DataContext, Provenance
from scratchlab.data.kinds.prompted import Example, PromptedDataset, PromptedOptions
from scratchlab.data.sources.hub import fingerprint
from scratchlab.data.sources.locating import Located, own_file
from scratchlab.data.sources.reading import sha256_of
from scratchlab.data.sources.two_columns import two_columns
from scratchlab.data.splits.examples import split_off, text_key
from scratchlab.errors import UserError
from scratchlab.registry import option, register


@register(
    "dataset",
    "instructions",
    task="language_modeling",
    sources=("embedded", "files"),
    holds=("answers",),
)
class Instructions(PromptedDataset):
    """Prompts with responses: a file of your own (JSONL, CSV, TSV), or a sample about Python.

    Only the response has targets. With a pretrained tokenizer the conversation is written by the
    checkpoint's chat template.
    """

    @dataclass(frozen=True)
    class Config(PromptedOptions):
        path: str | None = option(
            None, "JSONL, CSV or TSV file; null: questions made of Python's docstrings", path="data"
        )
        val_path: str | None = option(
            None, "file to validate on; null: a tenth of path", path="data"
        )
        test_path: str | None = option(None, "file to test on; null: a tenth of path", path="data")
        prompt_field: str = option("prompt", "field of the instruction")
        response_field: str = option("response", "field of the answer")

    @classmethod
    def locate(cls, config: Any, context: DataContext) -> Located:
        notes: list[str] = []
        if config.path is None:
            pairs = _embedded()
            provenance = Provenance(
                "embedded",
                f"questions about functions of Python {sys.version.split()[0]}",
                {s: fingerprint(p) for s, p in pairs.items()},
            )
        else:
            named = {"train": config.path, "val": config.val_path, "test": config.test_path}
            paths = {split: own_file(name, context.root) for split, name in named.items() if name}
            fields = (config.prompt_field, config.response_field)
            pairs = {split: read_prompts(path, fields, notes) for split, path in paths.items()}
            if shares := {split: 0.1 for split in ("val", "test") if split not in pairs}:
                rows = pairs["train"]
                chosen = split_off([text_key(prompt) for prompt, _ in rows], shares)
                # Training examples keep their order; some files go from easy to hard.
                pairs |= {s: [rows[i] for i in sorted(numbers)] for s, numbers in chosen.items()}
            hashes = {str(path): sha256_of(path) for path in paths.values()}
            provenance = Provenance("files", str(paths["train"]), hashes)
        return Located(provenance, lambda: dict(pairs), notes)

    def example(self, text: str, answer: str = "") -> Example:
        if self.pretrained is None:
            return Example(text, " " + answer, "Question: ", "\nAnswer:")
        before, after = self.chat_frame()
        return Example(text, answer, before, after)


def _embedded() -> dict[str, list[tuple[str, str]]]:
    from scratchlab.data.generated.docstrings import docstring_splits

    return {
        split: [
            (f"What does {r['name']} in Python do?\n\n{r['body']}", r["summary"]) for r in records
        ]
        for split, records in docstring_splits().items()
    }


def read_prompts(path: Path, fields: tuple[str, str], notes: list[str]) -> list[tuple[str, str]]:
    """Prompts and responses of a file; ``notes`` gets remarks."""
    found = []
    for number, *texts in two_columns(path, *fields, notes):
        for name, text in zip(fields, texts, strict=True):
            if not text.strip():
                raise UserError(
                    f"{path}, line {number}: no text in the field {name!r}",
                    "Take the line out, or mend it.",
                )
        found.append((texts[0], texts[1]))
    if len(found) < 2:
        raise UserError(f"{path} has too few instructions", "Give at least two lines.")
    return found
