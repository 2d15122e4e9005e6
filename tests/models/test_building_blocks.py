"""What holds of the switches of the from-scratch models: caches, beginnings, methods, formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from scratchlab.data.contract import Spec
from scratchlab.errors import UserError
from scratchlab.evaluation.cost.anatomy import dissect
from scratchlab.methods.contract import MethodContext
from scratchlab.methods.int8 import Int8
from scratchlab.methods.soft_prompt import SoftPrompt
from scratchlab.models.formats.gpt2 import PLAIN, architecture, export_gpt2
from scratchlab.models.gpt import GPT
from scratchlab.models.rnn_lm import RNNLM
from scratchlab.models.transformer_mt import TransformerMT
from scratchlab.registry import find
from scratchlab.tasks.language_modeling import LanguageModeling
from tests.parity.test_building_blocks import EVERYTHING, SWITCHES

SPEC = Spec(task="language_modeling", vocab_size=23, max_length=12)
PAIRS = Spec(
    task="seq2seq", vocab_size=40, source_vocab_size=40, shared_vocabulary=True,
    unk_id=0, pad_id=1, sos_id=2, eos_id=3,
)  # fmt: skip
FOR_PAIRS = ("qk_norm", "activation", "logit_softcap")


def build(stir: float = 0.2, **options: Any) -> GPT:
    torch.manual_seed(0)
    model = GPT(GPT.Config(**{"d_model": 16, "n_heads": 2, "n_layers": 3, **options}), SPEC)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters() if stir else ():
            parameter.add_(stir * torch.randn(parameter.shape))
    return model.eval()


@pytest.mark.parametrize("name", [*SWITCHES, "everything"])
@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_texts_of_unequal_length_go_on_in_a_cache_as_they_do_alone(
    name: str, positions: str
) -> None:
    model = build(positions=positions, **(EVERYTHING if name == "everything" else SWITCHES[name]))
    lengths = torch.tensor([2, 7, 5])
    tokens, more = torch.randint(0, 23, (3, 7)), torch.randint(0, 23, (3, 4))
    cache = model.start_cache(3, 12)
    steps = [model.next_logits(tokens, cache, lengths)]
    steps += [model.next_logits(more[:, t : t + 1], cache) for t in range(2)]
    cache.select(torch.tensor([0, 2]))
    kept = [model.next_logits(more[[0, 2], t : t + 1], cache) for t in range(2, 4)]
    for row, length in enumerate(lengths.tolist()):
        alone = model(torch.cat([tokens[row, :length], more[row]])[None])[0, length - 1 :]
        mine = [step[row] for step in steps]
        mine += [step[row // 2] for step in kept] if row != 1 else []
        torch.testing.assert_close(torch.stack(mine), alone[: len(mine)], rtol=1e-4, atol=1e-5)


def test_fresh_scalars_and_gains_leave_the_model_what_it_is_and_draw_nothing() -> None:
    tokens = torch.randint(0, 23, (2, 9))
    plain = build(stir=0)
    scalars = build(stir=0, residual_scalars=True, qk_norm=True)
    for name, weight in plain.state_dict().items():
        assert torch.equal(weight, scalars.state_dict()[name]), name
    found = build(stir=0, residual_scalars=True).hidden(tokens)
    assert torch.equal(found, plain.hidden(tokens))


def test_blocks_that_begin_at_zero_hand_on_their_input_and_learn_from_the_first_update() -> None:
    tokens = torch.randint(0, 23, (2, 9))
    model = build(stir=0, zero_init=True, positions="none", tie_embeddings=False)
    assert torch.equal(model.hidden(tokens), model.norm(model.embedding(tokens)))
    assert model(tokens).abs().max() == 0
    rates = torch.optim.SGD(model.parameters(), lr=0.5)
    losses = []
    for _ in range(8):
        loss = torch.nn.functional.cross_entropy(model(tokens)[:, :-1].flatten(0, 1),
                                                 tokens[:, 1:].flatten())  # fmt: skip
        losses.append(loss.item())
        rates.zero_grad()
        loss.backward()
        rates.step()
    assert losses[-1] < losses[0] - 0.2
    assert all(b.attention.out.weight.abs().max() > 0 for b in model.blocks)


def test_every_other_layer_up_to_the_last_has_a_table_of_values_that_the_model_names() -> None:
    for layers, wanted in ((1, {"0"}), (4, {"1", "3"}), (5, {"0", "2", "4"})):
        model = build(n_layers=layers, value_embeddings=True)
        assert set(model.values) == wanted
        assert set(model.token_layers.embeddings) == {model.embedding, *model.values.values()}
        assert {id(table.weight) for table in model.values.values()} <= set(map(id, model.tables()))


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_capped_logits_is_that_of_the_logits_themselves(
    fused: bool, smoothing: float
) -> None:
    model = build(logit_softcap=2.0).train()
    task = LanguageModeling(LanguageModeling.Config(smoothing, fused), SPEC)
    batch = task.example_batch(3, 8)
    logits = model(batch.tokens).flatten(0, 1)
    assert 1.0 < logits.abs().max() <= 2.0
    wanted = torch.nn.functional.cross_entropy(
        logits, batch.targets.flatten(), reduction="sum", label_smoothing=smoothing
    )
    loss = task.loss(model, batch)
    torch.testing.assert_close(loss.total, wanted)
    weights = list(model.parameters())
    found, expected = (torch.autograd.grad(x, weights) for x in (loss.total, wanted))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_recurrent_models_cap_their_logits_in_loss_and_generation() -> None:
    torch.manual_seed(0)
    config = RNNLM.Config(d_model=16, dropout=0, input_dropout=0, logit_softcap=0.02)
    model = RNNLM(config, SPEC).eval()
    tokens = torch.randint(0, 23, (2, 6))
    plain = model.output(model.hidden(tokens))
    torch.testing.assert_close(model(tokens), 0.02 * (plain / 0.02).tanh())
    assert plain.abs().max() > 0.02
    task = LanguageModeling(LanguageModeling.Config(), SPEC)
    batch = task.example_batch(2, 6)
    wanted = torch.nn.functional.cross_entropy(
        model(batch.tokens).flatten(0, 1), batch.targets.flatten(), reduction="sum"
    )
    torch.testing.assert_close(task.loss(model, batch).nll, wanted)


@pytest.mark.parametrize("switch", [*FOR_PAIRS, "everything"])
def test_a_translator_decodes_step_by_step_what_it_says_of_whole_sentences(switch: str) -> None:
    options = {key: EVERYTHING[key] for key in FOR_PAIRS if switch in (key, "everything")}
    torch.manual_seed(0)
    small = {"d_model": 16, "n_heads": 2, "d_ff": 32, "encoder_layers": 2, "decoder_layers": 2}
    model = TransformerMT(TransformerMT.Config(**{**small, **options}), PAIRS).eval()
    plain = TransformerMT(TransformerMT.Config(**small), PAIRS).eval()
    plain.load_state_dict(model.state_dict(), strict=False)
    source, target = torch.randint(4, 40, (3, 8)), torch.randint(4, 40, (3, 6))
    source[0, 5:] = source[2, 2:] = 1
    with torch.no_grad():
        expected = model(source, target)
        padding = model.padding(source)
        cache = model.start_cache(model.encode(source, padding), padding, 6)
        steps = [model.next_logits(target[:, t : t + 1], cache) for t in range(6)]
        assert (plain(source, target) - expected).abs().max() > 1e-3
    torch.testing.assert_close(torch.cat(steps, 1), expected, rtol=1e-4, atol=1e-5)


def test_a_translator_that_begins_at_zero_hands_its_embeddings_on() -> None:
    small = {"d_model": 16, "n_heads": 2, "d_ff": 32, "encoder_layers": 1, "decoder_layers": 1}
    model = TransformerMT(TransformerMT.Config(**small, zero_init=True), PAIRS).eval()
    source, target = torch.randint(4, 40, (2, 5)), torch.randint(4, 40, (2, 4))
    first = model.embed(target, model.target_embedding, model.target_positions, slice(0, 4))[0]
    found = model.decode(target, model.encode(source))
    torch.testing.assert_close(found, model.decoder_norm(first))


def test_gpt2s_format_refuses_what_it_has_no_place_for_in_one_line(tmp_path: Path) -> None:
    for switch in SWITCHES.values():
        (name, value), = switch.items()  # fmt: skip
        with pytest.raises(UserError, match=rf"no place for model\.{name}={str(value).lower()}\n"):
            export_gpt2(build(positions="learned", **switch), tmp_path)
    assert not list(tmp_path.iterdir())
    export_gpt2(build(positions="learned", zero_init=True), tmp_path)
    assert architecture(tmp_path).items() >= PLAIN.items()


def test_every_architectural_option_of_gpt_is_decided_by_what_training_starts_from() -> None:
    from scratchlab.lab.architecture import DECIDED

    training = {"dropout", "attention_dropout", "zero_init"}
    declared = {o.name for o in find("model", "gpt").options}
    assert set(DECIDED["gpt"]) == declared - training


def test_int8_stores_tables_of_values_and_a_soft_prompt_says_that_it_has_no_rows_there() -> None:
    model, tokens = build(value_embeddings=True, qk_norm=True), torch.randint(0, 23, (2, 8))
    expected = model(tokens)
    Int8(Int8.Config(path="reference")).apply(model, MethodContext(SPEC))
    with torch.no_grad():
        assert (model(tokens) - expected).norm() < 0.03 * expected.norm()
    assert not [p for p in model.parameters() if p.ndim == 2 and len(p) == 23]
    with pytest.raises(UserError, match="value embeddings"):
        prompt = SoftPrompt(SoftPrompt.Config(length=2, init="random"))
        prompt.apply(build(value_embeddings=True), MethodContext(SPEC))


def test_inspect_counts_the_weights_of_each_switch_and_no_product_more() -> None:
    from scratchlab.training.updates.optimizers import AdamW

    def looked_at(**options: Any) -> Any:
        with torch.device("meta"):
            model = GPT(GPT.Config(d_model=16, n_heads=2, n_layers=3, **options), SPEC)
        task = LanguageModeling(LanguageModeling.Config(), SPEC)
        return dissect("", model, task, AdamW(AdamW.Config()), 2, 12)

    plain = looked_at()
    more = {"qk_norm": 3 * 2 * 8, "value_embeddings": 2 * 23 * 16, "residual_scalars": 3 * 2}
    for switch in SWITCHES.values():
        (name, _), = switch.items()  # fmt: skip
        found = looked_at(**switch)
        assert found.parameters - plain.parameters == more.get(name, 0), name
        assert found.training_flops == plain.training_flops, name
