"""The from-scratch GPT against transformers' GPT2LMHeadModel, in both directions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from scratchlab.data.contract import Spec
from scratchlab.decoding.sampling import Sampling
from scratchlab.errors import UserError
from scratchlab.models.formats.gpt2 import export_gpt2, load_gpt2, load_gpt2_weights
from scratchlab.models.gpt import GPT

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

TINY = {"vocab_size": 61, "n_positions": 24, "n_embd": 32, "n_layer": 3, "n_head": 4}


def reference(seed: int = 0, **changes: object):
    """A GPT2LMHeadModel with random weights, biases and norms too, in eval mode."""
    torch.manual_seed(seed)
    config = transformers.GPT2Config(**{**TINY, **changes}, bos_token_id=0, eos_token_id=0)
    model = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for _name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
            else:
                parameter.mul_(5)
    return model


def ours(seed: int = 0, **options: object) -> GPT:
    torch.manual_seed(seed)
    options = {"d_model": 32, "n_heads": 4, "n_layers": 2, "block_size": 16, **options}
    return GPT(GPT.Config(**options), Spec(task="language_modeling", vocab_size=61)).eval()


def test_logits_and_gradients_equal_those_of_transformers(tmp_path: Path) -> None:
    theirs = reference()
    theirs.save_pretrained(tmp_path)
    model = load_gpt2(tmp_path).eval()
    tokens = torch.randint(0, 61, (3, 24))
    mine, wanted = model(tokens), theirs(tokens).logits
    assert (mine - wanted).abs().max() < 1e-4
    assert wanted.std() > 0.3  # the comparison is of something
    coefficients = torch.randn_like(mine)
    (mine * coefficients).sum().backward()
    (wanted * coefficients).sum().backward()
    blocks, their_blocks = model.blocks, theirs.transformer.h
    pairs = [
        (model.embedding.weight.grad, theirs.transformer.wte.weight.grad),
        (model.positions.weight.grad, theirs.transformer.wpe.weight.grad),
        (blocks[1].attention.qkv.weight.grad.t(), their_blocks[1].attn.c_attn.weight.grad),
        (blocks[2].feed_forward.inner.bias.grad, their_blocks[2].mlp.c_fc.bias.grad),
        (blocks[0].attention_norm.weight.grad, their_blocks[0].ln_1.weight.grad),
    ]
    for my_grad, their_grad in pairs:
        assert (my_grad - their_grad).abs().max() < 1e-4 * their_grad.abs().max()


def test_an_export_is_read_by_from_pretrained_with_equal_logits(tmp_path: Path) -> None:
    for name, options in {
        "tied": {},
        "untied": {"tie_embeddings": False},
        "no_bias": {"bias": False},
        "wide": {"d_ff": 40},
    }.items():
        model = ours(**options)
        export_gpt2(model, tmp_path / name, eos_id=3)
        theirs, report = transformers.GPT2LMHeadModel.from_pretrained(
            tmp_path / name, output_loading_info=True
        )
        assert not report["missing_keys"] and not report["unexpected_keys"]
        tokens = torch.randint(0, 61, (2, 16))
        assert (model(tokens) - theirs.eval()(tokens).logits).abs().max() < 1e-4
        assert theirs.config.eos_token_id == 3


def test_an_export_read_back_is_the_same_model_bit_for_bit(tmp_path: Path) -> None:
    model = ours(tie_embeddings=False)
    export_gpt2(model, tmp_path)
    again = load_gpt2(tmp_path)
    assert again.config.n_heads == 4 and not again.config.tie_embeddings
    for name, parameter in model.state_dict().items():
        assert torch.equal(parameter, again.state_dict()[name]), name


def test_sharded_checkpoints_and_names_without_prefix_are_read(tmp_path: Path) -> None:
    theirs = reference()
    theirs.transformer.save_pretrained(tmp_path, max_shard_size="40KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    model = load_gpt2(tmp_path).eval()
    tokens = torch.randint(0, 61, (2, 9))
    assert (model(tokens) - theirs(tokens).logits).abs().max() < 1e-4


def test_greedy_generation_equals_that_of_transformers(tmp_path: Path) -> None:
    theirs = reference(n_positions=64)
    theirs.save_pretrained(tmp_path)
    model = load_gpt2(tmp_path).eval()
    prompt = torch.randint(1, 61, (1, 5))
    wanted = theirs.generate(
        prompt, max_new_tokens=40, do_sample=False, eos_token_id=None, pad_token_id=0
    )[0, 5:].tolist()
    sampling = Sampling(Sampling.Config(temperature=0.0, max_new_tokens=40))
    spec = Spec(task="language_modeling", vocab_size=61)
    assert sampling.generate_batch(model, [prompt[0].tolist()], spec)[0] == wanted
    assert len(set(wanted)) >= 3


@pytest.mark.slow
def test_logits_agree_at_the_full_shape_of_gpt2_in_both_directions(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config()).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    model = load_gpt2(tmp_path / "theirs").eval()
    assert sum(p.numel() for p in model.parameters()) == 124_439_808
    tokens = torch.randint(0, 50257, (1, 1024))
    with torch.inference_mode():
        assert (model(tokens) - theirs(tokens).logits).abs().max() < 1e-4
    export_gpt2(model, tmp_path / "ours", 50256, 50256)
    again = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "ours").eval()
    for name, parameter in theirs.state_dict().items():
        assert torch.equal(parameter, again.state_dict()[name]), name


def test_what_the_format_has_no_place_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="learned positions, not rotary"):
        export_gpt2(ours(positions="rotary"), tmp_path)
    with pytest.raises(UserError, match="full softmax"):
        export_gpt2(ours(output="adaptive", cutoffs=[20, 40]), tmp_path)
    assert not list(tmp_path.iterdir())


def test_checkpoints_of_something_else_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no config\.json"):
        load_gpt2(tmp_path)
    model = ours()
    export_gpt2(model, tmp_path)
    config = tmp_path / "config.json"
    right = json.loads(config.read_text())
    for change, message in (
        ({"model_type": "llama"}, "model_type is 'llama'"),
        ({"activation_function": "relu"}, "activation_function is 'relu'"),
        ({"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon"),
        ({"n_layer": 1}, "more than 1 blocks"),
        ({"n_layer": 3}, r"lacks the tensor 'h\.2\.ln_1\.weight'"),
        ({"n_positions": 32}, r"wpe\.weight is \[16, 32\] in the checkpoint"),
        ({"n_embd": None}, "no GPT-2 configuration"),
        ({"n_head": 0}, "no GPT-2 configuration: n_head"),
        ({"n_embd": 10**12}, "no GPT-2 configuration: n_embd"),
        ({"n_inner": "many"}, "no GPT-2 configuration: n_inner"),
    ):
        config.write_text(json.dumps({**right, **change}))
        with pytest.raises(UserError, match=message):
            load_gpt2(tmp_path)
    config.write_text(json.dumps(right))
    other = ours(seed=1, bias=False)
    kept = {n: p.clone() for n, p in other.state_dict().items()}
    with pytest.raises(UserError, match="has biases"):
        load_gpt2_weights(other, tmp_path)
    assert torch.equal(other.embedding.weight, kept["embedding.weight"])
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(UserError, match="cannot be read"):
        load_gpt2(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"holds no model\.safetensors"):
        load_gpt2(tmp_path)
    index = {"weight_map": {"wte.weight": "../model.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="outside its folder"):
        load_gpt2(tmp_path)
