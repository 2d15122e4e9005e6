"""What every model answers, and looking inside one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from scratchlab.data.contract import Spec
from scratchlab.errors import UserError
from scratchlab.lab import weights
from scratchlab.models.contract import LanguageModel, Model
from scratchlab.models.gpt import GPT
from scratchlab.models.layers.attention import Attention, recording

SPEC = Spec(task="language_modeling", vocab_size=23, max_length=12)


def small() -> GPT:
    torch.manual_seed(0)
    return GPT(GPT.Config(d_model=16, n_heads=2, n_layers=3, attention_dropout=0.5), SPEC).eval()


def test_a_step_with_a_cache_is_recorded_as_the_row_of_the_whole_text() -> None:
    model, tokens = small(), torch.randint(0, 23, (2, 6))
    whole = model.attention_maps(tokens)
    assert whole is not None and whole.shape == (3, 2, 2, 6, 6)
    cache = model.start_cache(2, 12)
    with torch.no_grad(), recording(model) as maps:
        model.next_logits(tokens[:, :5], cache)
        model.next_logits(tokens[:, 5:], cache)
    assert [layer.shape[2:] for layer in maps["blocks"]] == [(5, 5)] * 3 + [(1, 6)] * 3
    torch.testing.assert_close(torch.stack(maps["blocks"][3:]), whole[..., 5:, :])


def test_recording_changes_no_output_and_ends_with_its_block_whatever_happens() -> None:
    model, tokens = small(), torch.randint(0, 23, (2, 6))
    plain = model(tokens)
    with pytest.raises(ZeroDivisionError), recording(model):
        torch.testing.assert_close(model(tokens), plain, rtol=1e-5, atol=1e-6)
        raise ZeroDivisionError
    assert all(m.recorded is None for m in model.modules() if isinstance(m, Attention))


def test_a_model_that_says_nothing_has_nothing() -> None:
    model = Model()
    assert model.block_size is None and model.token_layers is None and model.tables() == {}
    assert model.carried_state() == {} and model.feature_maps(torch.zeros(1)) == []
    assert model.features(torch.zeros(1)) is None


def test_a_language_model_without_a_cache_reads_its_texts_anew() -> None:
    class Last(LanguageModel):
        """Says the last token again."""

        def __init__(self) -> None:
            super().__init__()
            self.output = nn.Identity()

        def hidden(self, tokens, positions=None, mask=None, cache=None, lengths=None):  # type: ignore[no-untyped-def]
            assert cache is None
            return nn.functional.one_hot(tokens, 5).float()

    model, tokens = Last(), torch.tensor([[1, 2, 3], [4, 0, 0]])
    assert model.start_cache(2, 9) is None and model.attention_maps(tokens) is None
    assert model.next_logits(tokens).argmax(-1).tolist() == [3, 0]
    assert model.next_logits(tokens, None, torch.tensor([3, 1])).argmax(-1).tolist() == [3, 4]


def test_a_class_that_is_no_model_of_the_contract_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(weights, "build", lambda *parts: nn.Linear(1, 1))
    config, dataset = {"model": {"name": "mine"}}, SimpleNamespace(spec=SPEC)
    with pytest.raises(UserError, match="model=mine: Linear inherits from no Model"):
        weights._from_scratch(config, dataset, "meta", None, None)  # type: ignore[arg-type]
