"""A soft prompt before the texts of classifiers that find their padding themselves."""

from __future__ import annotations

import pytest
import torch

from scratchlab.data.contract import Spec
from scratchlab.methods.contract import MethodContext
from scratchlab.methods.soft_prompt import SoftPrompt
from scratchlab.registry import build, find

SPEC = Spec(task="classification", vocab_size=20, pad_id=0, n_classes=3, max_length=12)


@pytest.mark.parametrize("name", ["text_cnn", "rnn_classifier"])
def test_the_prompt_is_read_and_padding_is_not(name: str) -> None:
    torch.manual_seed(0)
    model = build("model", {"name": name, **find("model", name).defaults()}, SPEC).eval()
    tokens = torch.tensor([[5, 9, 14, 3, 7, 2], [8, 8, 11, 0, 0, 0]])
    plain = model(tokens)
    prompted = (
        SoftPrompt(SoftPrompt.Config(length=3, init="tokens"))
        .apply(model, MethodContext(SPEC))
        .eval()
    )
    found = prompted(tokens)
    assert (found - plain).abs().max() > 1e-3
    torch.testing.assert_close(prompted(torch.nn.functional.pad(tokens, (0, 2))), found)
