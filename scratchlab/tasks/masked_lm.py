"""Masked words: what stood where a text has been spoilt is told from all around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from scratchlab.data.batching.masking import Masking
from scratchlab.data.contract import IGNORE, Dataset, Spec, TokenBatch
from scratchlab.data.kinds.masked_tokens import MaskedTokens
from scratchlab.models.text_encoder import TextEncoder
from scratchlab.registry import option, register
from scratchlab.tasks.contract import Loss, Predicted, Task
from scratchlab.tasks.example_rows import example_rows
from scratchlab.tasks.language_modeling import projected_cross_entropy


@register("task", "masked_lm", masks=True)
class MaskedLM(Task):
    """Cross-entropy of each masked word given what is left of its text (Devlin et al. 2019)."""

    @dataclass(frozen=True)
    class Config:
        share: float = option(0.15, "share of the tokens that are predicted", above=0, max=1)
        masked: float = option(0.8, "share of these in whose place the mask stands", min=0, max=1)
        replaced: float = option(
            0.1, "share of these in whose place any token stands; the rest stay", min=0, max=1
        )
        whole_words: bool = option(False, "mask all pieces of a word or none")
        shown: int = option(5, "words that predict shows for a mask", min=1)

        RULES: ClassVar[tuple[tuple[str, str], ...]] = (
            ("masked + replaced <= 1", "masked and replaced are shares of the same tokens"),
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)

    def reading(self, dataset: Dataset) -> Dataset:
        config = self.config
        masking = Masking(config.share, config.masked, config.replaced, config.whole_words)
        found = MaskedTokens(dataset, masking)
        self.spec = found.spec
        return found

    def loss(self, model: TextEncoder, batch: TokenBatch) -> Loss:
        """Sums over the masked words; the output layer sees no other token."""
        hidden, target, _ = self.predicted(model, batch)
        total, nll = projected_cross_entropy(model, hidden, target)
        return Loss(total=total, count=len(target), nll=nll.detach())

    def predicted(self, model: Any, batch: TokenBatch) -> Predicted:
        """What the model makes of the masked words [N, D], and their ids [N]."""
        target = batch.targets.flatten()
        hidden = model.hidden(batch.tokens, model.padding(batch.tokens)).flatten(0, 1)
        if target.device.type == "meta":  # where contents are unknown, as many as there would be
            count = max(1, round(self.config.share * len(target)))
            return Predicted(hidden[:count], target[:count], model.project)
        rows = (target != IGNORE).nonzero()[:, 0]
        return Predicted(hidden[rows], target[rows], model.project)

    def example_batch(self, batch_size: int, length: int, device: str = "cpu") -> TokenBatch:
        tokens, indices = example_rows(self.spec, batch_size, device, length)
        places = torch.arange(tokens.shape[1], device=device)
        every = max(1, round(1 / self.config.share))
        targets = torch.where(places % every == 0, tokens, IGNORE)
        return TokenBatch(tokens, targets, indices)
