"""Embeddings and output layers: every model names them, and no method passes them in silence."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from scratchlab.data.contract import Spec
from scratchlab.errors import UserError
from scratchlab.methods.contract import MethodContext
from scratchlab.methods.int8 import Int8
from scratchlab.methods.lora import LoRA
from scratchlab.methods.nf4 import NormalFloat4
from scratchlab.methods.quantized import Quantizer
from scratchlab.methods.replace import find_layers
from scratchlab.methods.soft_prompt import SoftPrompt
from scratchlab.models.rnn_lm import RNNLM
from scratchlab.models.transformer_mt import TransformerMT
from scratchlab.tasks.language_modeling import LanguageModeling
from scratchlab.tasks.seq2seq import Seq2Seq
from scratchlab.training.updates.muon import Muon
from tests.support.models import CONTEXT, Tiny

V, D = 60, 32
PAIRS = Spec(
    task="seq2seq", vocab_size=V, source_vocab_size=V + 10, pad_id=0, sos_id=1, eos_id=2,
    max_length=24, max_source_length=24,
)  # fmt: skip
TEXTS = Spec(task="language_modeling", vocab_size=V)


def translator(**options: Any) -> TransformerMT:
    torch.manual_seed(0)
    config = TransformerMT.Config(
        d_model=D, n_heads=2, encoder_layers=1, decoder_layers=1, d_ff=64, dropout=0.0, **options
    )
    return TransformerMT(config, PAIRS).eval()


def recurrent(**options: Any) -> RNNLM:
    torch.manual_seed(0)
    config = RNNLM.Config(d_model=D, dropout=0.0, input_dropout=0.0, **options)
    return RNNLM(config, TEXTS).eval()


def stored_bytes(model: nn.Module) -> int:
    tensors = {id(t): t for t in (*model.parameters(), *model.buffers())}
    return sum(t.numel() * t.element_size() for t in tensors.values())


def test_every_model_of_texts_names_the_layers_that_have_a_row_for_each_token(
    models: dict[str, Tiny],
) -> None:
    for tiny in models.values():
        model = tiny.build()
        found = model.token_layers
        assert found is not None
        rows = tiny.context.spec.vocab_size
        of_tokens = [
            m for m in model.modules() if isinstance(m, nn.Embedding) and m.num_embeddings == rows
        ]
        assert {id(m) for m in found.embeddings} == {id(m) for m in of_tokens}, tiny.name
        outputs = [
            m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == rows
        ]
        assert [found.output] == (outputs or [None]), tiny.name


def test_what_is_looked_up_or_compared_with_is_no_matrix_to_muon_whatever_its_name(
    models: dict[str, Tiny],
) -> None:
    """wte, wpe, embed_tokens and lm_head of pretrained models were matrices, by their names."""
    tables = {"wte", "wpe", "embed", "shared", "lm_head", "relative_attention_bias"}
    for tiny in models.values():
        model: Any = tiny.build()
        built = Muon(Muon.Config()).build(model.named_parameters(), model.tables())
        moved = {id(p) for g in built.param_groups if g["muon"] for p in g["params"]}
        names = [n for n, p in model.named_parameters() if id(p) in moved]
        assert names and not [n for n in names if tables & set(n.split("."))], tiny.name
        rows = tiny.context.spec.vocab_size
        assert not [n for n in names if rows in model.get_parameter(n).shape], tiny.name
    adaptive = recurrent(output="adaptive", cutoffs=[20, 40])
    assert {id(adaptive.adaptive.words), id(adaptive.adaptive.rare[0])} <= set(
        map(id, adaptive.tables())
    )


def test_attention_to_the_source_belongs_to_attention() -> None:
    """Its layers are called cross, so that the group mlp had them."""
    names = {t: find_layers(translator(), [t], "targets") for t in ("attention", "mlp", "linear")}
    own, source = ("qkv", "out"), ("q", "kv", "out")
    assert names["attention"] == [
        *(f"encoder.0.attention.{n}" for n in own),
        *(f"decoder.0.attention.{n}" for n in own),
        *(f"decoder.0.cross.{n}" for n in source),
    ]
    assert [n.split(".")[2] for n in names["mlp"]] == ["feed_forward"] * 4
    assert sorted(names["linear"]) == sorted(names["attention"] + names["mlp"])


@pytest.mark.parametrize("tied", [True, False])
def test_int8_stores_both_embeddings_and_the_output_of_a_translator(tied: bool) -> None:
    model = translator(tie_embeddings=tied)
    source, target = torch.randint(1, V, (4, 9)), torch.randint(1, V, (4, 7))
    expected = model(source, target)
    before = stored_bytes(model)
    method = Int8(Int8.Config(path="reference"))
    with torch.no_grad():
        found = method.apply(model, MethodContext(PAIRS))(source, target)
    assert (found - expected).norm() < 0.02 * expected.norm()
    matrices = 4 * D * D * 3 + 2 * 2 * D * 64  # three attentions, two feed-forward blocks
    rows = (V + 10) + V + (0 if tied else V)
    channels = 3 * 4 * D + 2 * (64 + D) + rows  # a scale of 4 bytes each
    assert before - stored_bytes(model) == 3 * (matrices + rows * D) - 4 * channels
    assert method.notes == []


def test_nf4_says_that_it_leaves_embeddings_and_output_as_floats() -> None:
    model = translator()
    method = NormalFloat4(NormalFloat4.Config())
    method.apply(model, MethodContext(PAIRS))
    weights = (V + 10) * D + V * D
    assert method.notes == [
        f"{weights:,} weights of matrices stay floats: source_embedding, "
        "target_embedding and output"
    ]
    left = method.arithmetic()[1]
    assert left.title == "Matrices that stay floats"
    assert left.rows[-1] == ("all", f"{weights:,}", f"{4 * weights:,} bytes")


@pytest.mark.parametrize("method", [Int8, NormalFloat4])
def test_recurrent_layers_have_nothing_linear_and_the_hint_names_what_is_there(method: Any) -> None:
    for targets in (["linear"], ["attention"], ["mlp"]):
        with pytest.raises(UserError) as error:
            method(method.Config(targets=targets)).apply(recurrent(), MethodContext(TEXTS))
        text = str(error.value)
        assert f"targets: '{targets[0]}' matches no layer of this model" in text
        assert "Layers: output." in text and "Did you mean" not in text


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_int8_stores_what_a_recurrent_model_has_for_tokens_and_carries_its_state_in_floats(
    cell: str,
) -> None:
    model = recurrent(cell=cell)
    tokens, starts = torch.randint(0, V, (3, 8)), torch.ones(3, dtype=torch.bool)
    expected = [
        model.project(model.hidden(tokens, cache=model.carried(s))) for s in (starts, ~starts)
    ]
    method = Int8(Int8.Config(targets=[], path="reference"))
    method.apply(model, MethodContext(TEXTS))
    with torch.no_grad():
        found = [
            model.project(model.hidden(tokens, cache=model.carried(s))) for s in (starts, ~starts)
        ]
    for now, then in zip(found, expected, strict=True):
        assert (now - then).norm() < 0.02 * then.norm()
    assert [size[1] for size in method.sizes] == [V * D]  # one matrix, tied
    assert "layers.0" in method.notes[0] and "embedding" not in method.notes[0]


def test_a_tied_output_that_alone_is_stored_in_four_bits_leaves_the_embedding_as_it_was() -> None:
    model = recurrent()
    before = model.embedding.weight.detach().clone()
    method = NormalFloat4(NormalFloat4.Config(targets=["output"]))
    method.apply(model, MethodContext(TEXTS))
    assert torch.equal(model.embedding.weight, before)
    assert "output shared its matrix with embedding" in method.notes[0]
    assert "more memory" in method.notes[0]


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_int8_leaves_no_float_copy_of_a_table_that_three_embeddings_share(
    models: dict[str, Tiny], kind: str
) -> None:
    tiny = models[kind]
    model = tiny.build().eval()
    expected = tiny.call(model)
    method = Int8(Int8.Config(path="reference"))
    with torch.no_grad():
        found = tiny.call(method.apply(model, tiny.context))
    assert (found - expected).norm() < 0.03 * expected.norm()
    rows = [p for p in model.parameters() if p.dim() == 2 and len(p) == 61]
    assert rows == []
    assert [weights for _, weights, _ in method.sizes].count(61 * 32) == 1


def test_int8_on_a_soft_prompt_stores_the_embedding_below_it(models: dict[str, Tiny]) -> None:
    model: nn.Module = models["gpt2"].build()
    method = Int8(Int8.Config(path="reference"))
    for step in (SoftPrompt(SoftPrompt.Config(length=4)), method):
        model = step.apply(model, CONTEXT)
    assert not [p for p in model.parameters() if len(p) == 61]
    assert method.notes[0].endswith("inner.inner.transformer.wpe")


@pytest.mark.parametrize("kind", ["transformer_mt", "rnn_lm"])
@pytest.mark.parametrize("fused", [True, False])
def test_an_adapter_on_the_output_layer_takes_part_in_the_loss(kind: str, fused: bool) -> None:
    """The loss multiplies with the output's matrix itself where that is all the layer does."""
    model: Any = translator() if kind == "transformer_mt" else recurrent()
    spec, task_class = (PAIRS, Seq2Seq) if kind == "transformer_mt" else (TEXTS, LanguageModeling)
    method = LoRA(LoRA.Config(targets=["output"], rank=2))
    method.apply(model, MethodContext(spec))
    nn.init.normal_(method.layers["output"].lora_b)
    task: Any = task_class(task_class.Config(fused_loss=fused), spec)
    batch = task.example_batch(2, 6)
    loss = task.loss(model, batch)
    hidden = task.hidden(model, batch).flatten(0, 1)
    targets = batch.target_out if kind == "transformer_mt" else batch.targets
    expected = nn.functional.cross_entropy(
        model.project(hidden), targets.flatten(), reduction="sum"
    )
    torch.testing.assert_close(loss.nll, expected)
    loss.total.backward()
    assert method.layers["output"].lora_b.grad is not None


def test_quantizing_methods_share_one_way_of_saying_what_they_left() -> None:
    from scratchlab.registry import parts

    quantizing = [p.load() for p in parts("method").values()]
    assert all(issubclass(c, Quantizer) for c in quantizing if c.quantizes)
