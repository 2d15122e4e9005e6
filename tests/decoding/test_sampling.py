"""Generation: with and without a cache, in batches of unequal texts, seeds, top-k and top-p."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from scratchlab.data.contract import Spec
from scratchlab.decoding.sampling import Sampling
from scratchlab.models.gpt import GPT
from scratchlab.models.rnn_lm import RNNLM

SPEC = Spec(task="language_modeling", vocab_size=31, max_length=12, eos_id=1, unk_id=0)
PROMPTS = [[5], [7, 8, 9, 3, 2, 11, 30], [4, 6, 6], [2] * 12, list(range(2, 22))]


def build(kind: str) -> Any:
    torch.manual_seed(0)
    if kind in ("lstm", "gru", "rnn"):
        model: Any = RNNLM(RNNLM.Config(cell=kind, d_model=16, n_layers=2), SPEC)
    else:
        model = GPT(GPT.Config(d_model=16, n_heads=2, n_layers=2, positions=kind), SPEC)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6) if parameter.ndim > 1 else None
    return model.eval()


def sampler(**options: Any) -> Sampling:
    return Sampling(Sampling.Config(**{"max_new_tokens": 25, "temperature": 1.2, **options}))


@pytest.mark.parametrize("kind", ["learned", "rotary", "sinusoidal", "lstm", "gru"])
def test_the_text_is_the_same_with_and_without_a_cache_and_beyond_the_block(kind: str) -> None:
    model = build(kind)
    cached, plain = (
        sampler(cache=cache, stop_at_eos=False).generate_batch(model, PROMPTS, SPEC)
        for cache in (True, False)
    )
    assert cached == plain
    assert {len(text) for text in cached} == {25}
    assert len({tuple(text) for text in cached}) == len(PROMPTS)


@pytest.mark.parametrize("kind", ["learned", "rotary", "lstm"])
def test_a_batch_of_unequal_prompts_writes_what_each_prompt_gets_alone(kind: str) -> None:
    model, draw = build(kind), sampler(top_p=0.9)
    together = draw.generate_batch(model, PROMPTS, SPEC)
    assert together == [draw.generate_batch(model, [p], SPEC)[0] for p in PROMPTS]
    assert together == [list(draw.stream(model, p, SPEC)) for p in PROMPTS]
    ends = [text for text in together if len(text) < 25]
    assert ends and all(text[-1] == SPEC.eos_id for text in ends)


def test_texts_of_unequal_length_go_on_when_only_equal_ones_are_left() -> None:
    model, draw = build("rotary"), sampler(temperature=0, max_new_tokens=6, stop_at_eos=False)
    whole = draw.generate_batch(model, PROMPTS[:3], SPEC)
    stop = whole[0][1]  # ends the first text after two tokens; the others may go on
    alone = [draw.generate_batch(model, [p], SPEC, stop=(stop,))[0] for p in PROMPTS[:2]]
    assert len(alone[0]) <= 2 < len(alone[1])
    assert draw.generate_batch(model, PROMPTS[:2], SPEC, stop=(stop,)) == alone


def test_greedy_takes_the_most_probable_token_at_every_step() -> None:
    model = build("learned")
    text = sampler(temperature=0, stop_at_eos=False, max_new_tokens=8).generate_batch(
        model, [[5, 6]], SPEC
    )[0]
    for end in range(8):
        logits = model(torch.tensor([[5, 6, *text[:end]]]))[0, -1].clone()
        logits[SPEC.unk_id] = -torch.inf
        assert text[end] == int(logits.argmax())


def test_draws_have_the_frequencies_of_the_model_cut_off_by_top_k_and_top_p() -> None:
    p = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05])
    logits = p.log().expand(20_000, 5)
    draws = torch.rand(20_000, generator=torch.Generator().manual_seed(0))

    def frequencies(**options: Any) -> torch.Tensor:
        chosen = sampler(temperature=1.0, **options).choose(logits.clone(), draws)
        return chosen.bincount(minlength=5) / len(chosen)

    torch.testing.assert_close(frequencies(), p, atol=0.01, rtol=0)
    wanted = torch.tensor([0.4, 0.3, 0, 0, 0]) / 0.7
    torch.testing.assert_close(frequencies(top_k=2), wanted, atol=0.01, rtol=0)
    torch.testing.assert_close(frequencies(top_p=0.69), wanted, atol=0.01, rtol=0)
    wanted = torch.tensor([0.4, 0.3, 0.15, 0, 0]) / 0.85
    torch.testing.assert_close(frequencies(top_p=0.71), wanted, atol=0.01, rtol=0)
    assert frequencies(top_p=0.3)[0] == 1


def test_unknown_tokens_are_written_only_if_allowed() -> None:
    model = build("learned")
    free = sampler(allow_unknown=True, stop_at_eos=False, max_new_tokens=200)
    kept = sampler(stop_at_eos=False, max_new_tokens=200)
    with torch.no_grad():
        model.norm.bias.add_(model.embedding.weight[0] * 2)  # <unk> is the model's favourite
    assert 0 in free.generate_batch(model, [[3]], SPEC)[0]
    assert 0 not in kept.generate_batch(model, [[3]], SPEC)[0]
