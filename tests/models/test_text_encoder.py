"""The from-scratch text encoder: padding, positions, pooling, maps, what it starts from."""

from __future__ import annotations

import pytest
import torch

from scratchlab.data.contract import Spec, TokenBatch
from scratchlab.errors import UserError
from scratchlab.models.text_encoder import TextEncoder, pool
from scratchlab.tasks.masked_lm import MaskedLM

SPEC = Spec("classification", vocab_size=23, pad_id=0, sos_id=1, max_length=12, n_classes=3)
WORDS = Spec("masked_lm", vocab_size=23, pad_id=0, max_length=12)
MODERN = {"norm": "pre", "positions": "rotary", "segments": 0, "embedding_norm": False}


def build(spec: Spec = SPEC, **options: object) -> TextEncoder:
    """A tiny model whose weights are large enough for its outputs to differ clearly."""
    torch.manual_seed(0)
    config = TextEncoder.Config(**{"d_model": 16, "n_heads": 2, "n_layers": 2, **options})
    model = TextEncoder(config, spec)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(5) if parameter.ndim > 1 else parameter.add_(0.1)
    return model.eval()


def texts(lengths: tuple[int, ...] = (12, 3, 1, 7, 12, 5, 9, 2)) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    return [torch.randint(1, 23, (n,), generator=random) for n in lengths]


@pytest.mark.parametrize("pooling", ["mean", "max", "cls"])
@pytest.mark.parametrize("modern", [False, True])
def test_scores_do_not_move_with_the_texts_of_a_batch(pooling: str, modern: bool) -> None:
    model = build(pooling=pooling, pooler=not modern, **(MODERN if modern else {}))
    rows = texts()
    together = model(torch.nn.utils.rnn.pad_sequence(rows, batch_first=True))
    for row, wanted in zip(rows, together, strict=True):
        torch.testing.assert_close(model(row[None])[0], wanted, rtol=1e-4, atol=1e-5)
    three = model(torch.nn.utils.rnn.pad_sequence(rows[1:4], batch_first=True))
    torch.testing.assert_close(three, together[1:4], rtol=1e-4, atol=1e-5)
    assert together.std() > 0.05


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rotary", "none"])
def test_every_token_sees_both_sides_and_only_positions_tell_the_order(positions: str) -> None:
    model = build(positions=positions)
    tokens = texts((8,))[0][None]
    before = model.hidden(tokens)
    for place in (0, 7):
        changed = tokens.clone()
        changed[:, place] = 1 + changed[:, place] % 22
        assert (model.hidden(changed) - before).abs().amax(-1).min() > 1e-4
    turned = model.hidden(tokens.flip(1)).flip(1)
    assert torch.allclose(turned, before, atol=1e-4) is (positions == "none")


def test_pooling_by_hand() -> None:
    hidden = torch.tensor([[[1.0, 5.0], [3.0, -2.0], [9.0, 9.0]]])
    padding = torch.tensor([[False, False, True]])
    assert pool(hidden, padding, "cls").tolist() == [[1.0, 5.0]]
    assert pool(hidden, padding, "mean").tolist() == [[2.0, 1.5]]
    assert pool(hidden, padding, "max").tolist() == [[3.0, 5.0]]
    assert pool(hidden, None, "mean")[0, 0].item() == pytest.approx(13 / 3)


def test_maps_are_distributions_over_the_text_without_its_padding() -> None:
    model = build(n_layers=3)
    tokens = torch.nn.utils.rnn.pad_sequence(texts((9, 4)), batch_first=True)
    maps = model.attention_maps(tokens)
    assert maps.shape == (3, 2, 2, 9, 9)
    torch.testing.assert_close(maps.sum(-1), torch.ones(3, 2, 2, 9))
    assert maps[:, 1, :, :, 4:].abs().max() == 0
    assert maps[:, 0].triu(1).sum() > 1  # it looks ahead as well


def test_the_loss_is_the_sum_of_cross_entropies_over_masked_words() -> None:
    model = build(WORDS)
    assert model.output.weight is model.embedding.weight
    tokens = torch.nn.utils.rnn.pad_sequence(texts((9, 4)), batch_first=True)
    targets = torch.full_like(tokens, -100)
    targets[0, 3], targets[0, 8], targets[1, 0] = 7, 2, 11
    batch = TokenBatch(tokens, targets, torch.arange(2))
    task = MaskedLM(MaskedLM.Config(), WORDS)
    loss = task.loss(model, batch)
    wanted = torch.nn.functional.cross_entropy(
        model(tokens).flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="sum"
    )
    assert loss.count == 3
    torch.testing.assert_close(loss.total, wanted)
    loss.total.backward()
    assert model.embedding.weight.grad is not None
    nothing = task.loss(model, TokenBatch(tokens, torch.full_like(tokens, -100), torch.arange(2)))
    assert nothing.count == 0 and float(nothing.total.detach()) == 0


def test_another_task_takes_the_encoder_and_leaves_the_head() -> None:
    words, classes = build(WORDS), build()
    weights = {n: t for n, t in words.state_dict().items() if n != "output.weight"}
    found = classes.begin_with(weights)
    assert classes.fresh == ("head.",)
    assert set(found) == set(classes.state_dict())
    assert found["blocks.1.attention.qkv.weight"] is weights["blocks.1.attention.qkv.weight"]
    assert torch.equal(found["head.weight"], classes.head.weight)
    assert build(WORDS).begin_with(weights).keys() == weights.keys()
    other = build(Spec("classification", vocab_size=23, pad_id=0, max_length=12, n_classes=5))
    assert other.begin_with(classes.state_dict())["head.weight"].shape == (5, 16)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="13 tokens is longer than the model's block of 12"):
        build()(torch.ones(1, 13, dtype=torch.int64))
    with pytest.raises(UserError, match=r"longer than model\.max_length=8"):
        build(max_length=8)
    with pytest.raises(UserError, match="puts nothing before a text"):
        build(Spec("classification", vocab_size=9, max_length=5, n_classes=2), pooling="cls")
    with pytest.raises(UserError, match="needs texts with classes"):
        build(Spec("classification", n_features=4, n_classes=2))
