"""Mistakes around methods and pretrained models: one clear message each, before any training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from scratchlab.data.sources.pretrained_files import dequantized, find_pretrained
from scratchlab.errors import UserError
from scratchlab.methods.adapted import Adapted
from scratchlab.methods.int8 import Int8
from scratchlab.methods.lora import LoRA
from scratchlab.methods.soft_prompt import SoftPrompt
from tests.support.models import CONTEXT, Tiny


def message(error: pytest.ExceptionInfo[UserError]) -> str:
    return str(error.value)


def test_a_target_that_matches_nothing_is_refused_with_the_names_there_are(
    models: dict[str, Tiny],
) -> None:
    with pytest.raises(UserError) as error:
        LoRA(LoRA.Config(targets=["attention", "c_atn"])).apply(models["gpt2"].build(), CONTEXT)
    text = message(error)
    assert "method.lora.targets: 'c_atn' matches no layer" in text
    assert "attn.c_attn" in text and "mlp.c_proj" in text


def test_a_rank_larger_than_the_layer_is_refused(models: dict[str, Tiny]) -> None:
    with pytest.raises(UserError) as error:
        LoRA(LoRA.Config(rank=33)).apply(models["gpt"].build(), CONTEXT)
    assert "rank=33 is larger than the layer blocks.0.attention.qkv of 32 × 96" in message(error)
    assert "at most 32" in message(error)


def test_a_block_that_is_not_there_is_refused(models: dict[str, Tiny]) -> None:
    with pytest.raises(UserError) as error:
        Int8(Int8.Config(blocks=[5])).apply(models["llama"].build(), CONTEXT)
    assert "no block 5" in message(error) and "0 to 1" in message(error)


def test_a_quantized_model_says_that_it_cannot_be_trained(models: dict[str, Tiny]) -> None:
    method = Int8(Int8.Config())
    adapted = Adapted(method.apply(models["gpt"].build(), CONTEXT), [method])
    text = str(adapted.untrainable())
    assert "int8 stores the weights in fewer bits" in text and "method=[int8,lora]" in text


def test_weights_of_another_size_are_named_with_both_sizes() -> None:
    adapted = Adapted(torch.nn.Linear(3, 2))
    with pytest.raises(UserError) as error:
        adapted.load({"weight": torch.zeros(4, 3), "bias": torch.zeros(2)}, Path("run"))
    assert "weight is 4×3 in the checkpoint and 2×3 in the model" in message(error)
    with pytest.raises(UserError) as error:
        adapted.load({"weight": torch.zeros(2, 3)}, Path("run"))
    assert "bias is not in the checkpoint" in message(error)


def test_a_soft_prompt_that_leaves_no_room_is_refused(models: dict[str, Tiny]) -> None:
    with pytest.raises(UserError) as error:
        SoftPrompt(SoftPrompt.Config(length=50)).apply(models["gpt"].build(), CONTEXT)
    assert "do not fit into the model's context of 64" in message(error)


def test_a_hub_name_without_a_network_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("huggingface_hub")
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError) as error:
        find_pretrained("nobody/no-such-model", tmp_path)
    text = message(error)
    assert "nobody/no-such-model" in text and "by hand" in text and "smollm2" in text


def test_a_folder_of_pickled_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"weights")
    with pytest.raises(UserError) as error:
        find_pretrained(str(tmp_path), tmp_path)
    assert "no safetensors" in message(error) and "run code" in message(error)


@pytest.mark.parametrize("content", [b"", b"no gguf at all", b"GGUF" + bytes(60)])
def test_a_damaged_gguf_file_is_named(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("gguf")
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        dequantized(path, tmp_path / "cache")
    assert str(path) in message(error) and "damaged" in message(error)
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_texts_longer_than_the_context_are_cut_and_summaries_are_not(tmp_path: Path) -> None:
    from scratchlab.data.contract import IGNORE, DataContext
    from scratchlab.data.sets.summaries import Docstrings

    options: dict[str, Any] = {"vocab_size": 600, "train_examples": 200}
    context = DataContext(None, tmp_path)
    dataset = Docstrings(Docstrings.Config(max_length=64, batch_tokens=256, **options), context)
    whole = 0
    for batch in dataset.batches("train", seed=0, epoch=0):
        assert batch.tokens.shape[1] <= 64
        for row, index in enumerate(batch.indices.tolist()):
            answer = dataset.encoded("train")[index].answer
            targets = batch.targets[row]
            assert targets[targets != IGNORE].tolist() == answer
            whole += 1
    assert whole == 200
    assert any(e.cut for e in dataset.encoded("train"))
    with pytest.raises(UserError) as error:
        Docstrings(Docstrings.Config(max_length=12, **options), context).encoded("train")
    assert "does not fit into dataset.max_length=12" in message(error)


def test_an_integer_product_that_torch_lacks_is_refused_only_where_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from scratchlab.methods import int8_kernels

    def missing(*_: Any) -> None:
        raise NotImplementedError("no kernel")

    monkeypatch.setattr(int8_kernels, "integer_product", missing)
    assert int8_kernels.fastest("auto", "8") is None
    with pytest.raises(UserError, match=r"method\.int8\.path=integer"):
        int8_kernels.fastest("integer", "8")
