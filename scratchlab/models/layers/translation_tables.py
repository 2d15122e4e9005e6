"""The embeddings of a translator's two languages."""

from __future__ import annotations

from torch import nn

from scratchlab.data.contract import Spec
from scratchlab.errors import UserError


def translation_tables(
    model: str, spec: Spec, d_model: int, tie: bool
) -> tuple[nn.Embedding, nn.Embedding]:
    """The tables of target and source, one and the same where ids are shared and ``tie`` is set.

    Normal with standard deviation 1/√d_model: small as an output layer, and about one as an input,
    where they are scaled by √d_model when read (Vaswani et al. 2017, section 3.4).

    Raises:
        UserError: the data set of ``model`` has no two languages.
    """
    if spec.vocab_size is None or spec.source_vocab_size is None or spec.pad_id is None:
        raise UserError(
            f"{model} needs a data set with a source and a target vocabulary",
            "Choose a data set of task seq2seq.",
        )
    target = _table(spec.vocab_size, d_model)
    if tie and spec.shared_vocabulary:
        return target, target
    return target, _table(spec.source_vocab_size, d_model)


def _table(rows: int, d_model: int) -> nn.Embedding:
    table = nn.Embedding(rows, d_model)
    nn.init.normal_(table.weight, std=d_model**-0.5)
    return table
