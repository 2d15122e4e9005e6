"""What ``inspect`` counts: operations of the backward pass and memory, by method, exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scratchlab.config.compose import compose
from scratchlab.evaluation.cost.anatomy import Anatomy, Layer
from scratchlab.lab.inspect import inspect, repeated

B, T, D, L, H = 2, 16, 32, 3, 4  # texts, tokens, width, blocks, heads
N = B * T
RANK = 4


def inspected(tmp_path: Path, *words: str) -> tuple[Anatomy, int]:
    """The anatomy of a tiny gpt on characters, and the size of its vocabulary."""
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over the lazy dog\n" * 40)
    own = [
        "model=gpt", f"model.d_model={D}", f"model.n_heads={H}", f"model.n_layers={L}",
        "model.positions=rotary", "model.bias=false", "model.tie_embeddings=false",
        "dataset=text_file", f"dataset.paths=[{tmp_path / 'text.txt'}]", "dataset.tokenizer=char",
        f"dataset.block_size={T}", "optimizer=adamw", f"cache_dir={tmp_path / 'cache'}",
    ]  # fmt: skip
    config: dict[str, Any] = compose([*own, *words]).config
    found = inspect(config, B, T)
    vocabulary = next(x for x in found.layers if x.name.startswith("embedding"))
    return found, vocabulary.parameters // D


def product(rows: int, inside: int, outside: int) -> int:
    return 2 * rows * inside * outside


ATTENTION = 2 * (2 * B * T * T * D)  # scores and their product with the values, one block
BLOCK = product(N, D, 3 * D) + product(N, D, D) + 2 * product(N, D, 4 * D)  # weights of one block


def test_a_model_that_trains_as_a_whole_computes_twice_the_forward_pass_backward(
    tmp_path: Path,
) -> None:
    found, vocabulary = inspected(tmp_path)
    output = product(N, D, vocabulary)
    assert found.forward_flops == L * (BLOCK + ATTENTION) + output
    assert found.backward_flops == 2 * found.forward_flops
    weights = 2 * vocabulary * D + L * (12 * D * D + 2 * D) + D
    assert found.parameters == found.trainable == weights
    assert found.gradient_bytes == 4 * weights and found.optimizer_bytes == 8 * weights


def test_below_the_first_weight_that_trains_there_is_no_backward_pass(tmp_path: Path) -> None:
    found, vocabulary = inspected(
        tmp_path, "method=finetune", "method.finetune.train=blocks", "method.finetune.last_blocks=1"
    )
    output = product(N, D, vocabulary)
    assert found.forward_flops == L * (BLOCK + ATTENTION) + output
    # The frozen output passes its gradient on. The last block has both products, but the input of
    # its first layer belongs to what is frozen: only its norm, before that layer, trains.
    assert found.backward_flops == output + 2 * (BLOCK + ATTENTION)
    assert found.gradient_bytes == 4 * (12 * D * D + 2 * D)
    head, _ = inspected(tmp_path, "method=finetune", "method.finetune.train=head")
    assert head.backward_flops == output
    assert head.gradient_bytes == 4 * vocabulary * D


def test_frozen_weights_under_lora_have_no_product_for_their_own_gradient(tmp_path: Path) -> None:
    words = ["method=lora", f"method.lora.rank={RANK}", "method.lora.targets=[attention]"]
    found, vocabulary = inspected(tmp_path, *words)
    output = product(N, D, vocabulary)
    qkv = product(N, D, RANK) + product(N, RANK, 3 * D)
    out = product(N, D, RANK) + product(N, RANK, D)
    assert found.forward_flops == L * (BLOCK + ATTENTION + qkv + out) + output
    backward = output + L * (BLOCK + 2 * ATTENTION + 2 * (qkv + out))
    # In the first block nothing below the first layer trains: neither the frozen layer nor A pass
    # a gradient on.
    backward -= product(N, D, 3 * D) + product(N, D, RANK)
    assert found.backward_flops == backward
    trained = L * RANK * ((D + 3 * D) + (D + D))
    assert found.trainable == trained
    assert (found.gradient_bytes, found.optimizer_bytes) == (4 * trained, 8 * trained)
    assert found.whole is not None
    assert found.whole.backward_flops == 2 * found.whole.forward_flops
    assert found.activation_bytes < found.whole.activation_bytes


@pytest.mark.parametrize(("method", "bits"), [("int8", 8.0), ("nf4", 4.5), ("bitsandbytes", 4.5)])
def test_stored_integers_count_as_weights(tmp_path: Path, method: str, bits: float) -> None:
    if method == "bitsandbytes":
        pytest.importorskip("bitsandbytes")
    words = [f"method={method}", *(["method.int8.embedding=false"] if method == "int8" else [])]
    words += ["method.nf4.double=false"] if method == "nf4" else []
    found, _ = inspected(tmp_path, *words)
    plain, _ = inspected(tmp_path)
    numbers = L * 12 * D * D
    saved = plain.weight_bytes - found.weight_bytes
    scales = 4 * L * (3 * D + D + 4 * D + D) if method == "int8" else 0  # one for each row
    assert saved == numbers * (4 - bits / 8) - scales
    assert found.backward_flops == 0 and found.gradient_bytes == 0
    assert found.parameters == plain.parameters == sum(layer.parameters for layer in found.layers)
    assert found.trainable == 0


def test_an_adapter_on_stored_integers_is_a_share_of_all_weights(tmp_path: Path) -> None:
    words = ["method=[nf4,lora]", f"method.lora.rank={RANK}", "method.lora.targets=[linear]"]
    found, _ = inspected(tmp_path, *words)
    plain, _ = inspected(tmp_path)
    trained = L * RANK * ((D + 3 * D) + (D + D) + 2 * (D + 4 * D))
    assert (found.parameters, found.trainable) == (plain.parameters + trained, trained)
    assert sum(layer.parameters for layer in found.layers) == found.parameters


def test_a_tied_matrix_in_eight_bits_counts_once(tmp_path: Path) -> None:
    words = ["model.tie_embeddings=true"]
    found, _ = inspected(tmp_path, *words, "method=int8")
    plain, _ = inspected(tmp_path, *words)
    assert found.parameters == plain.parameters == sum(layer.parameters for layer in found.layers)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "muon"])
def test_moments_are_counted_for_each_weight_as_the_optimizer_keeps_them(
    tmp_path: Path, optimizer: str
) -> None:
    words = [f"optimizer={optimizer}", *(["optimizer.momentum=0.9"] if optimizer == "sgd" else [])]
    found, vocabulary = inspected(tmp_path, *words)
    matrices, tables, norms = L * 12 * D * D, 2 * vocabulary * D, (2 * L + 1) * D
    kept = {
        "adamw": 2 * (matrices + tables + norms),
        "sgd": matrices + tables + norms,  # the velocity of its momentum
        "muon": matrices + 2 * (tables + norms),
    }
    assert found.parameters == matrices + tables + norms
    assert found.optimizer_bytes == 4 * kept[optimizer]
    plain, _ = inspected(tmp_path, "optimizer=sgd")
    assert plain.optimizer_bytes == 0


def layer(name: str, shape: str = "8×8", parameters: int = 64) -> Layer:
    return Layer(name, "Linear", (shape,), "", parameters, parameters)


def test_layers_that_differ_by_a_number_only_are_shown_as_one() -> None:
    names = ["embedding", *(f"blocks.{i}.{part}" for i in range(3) for part in ("q", "out"))]
    found = repeated([layer(name) for name in names])
    assert [(name, len(alike)) for name, alike in found] == [
        ("embedding", 1),
        ("blocks.0-2.q", 3),
        ("blocks.0-2.out", 3),
    ]


def test_layers_of_another_shape_or_with_gaps_between_them_are_told_apart() -> None:
    layers = [layer("blocks.0.q"), layer("blocks.1.q", "9×8"), layer("blocks.2.q")]
    found = repeated(layers)
    assert [name for name, _ in found] == ["blocks.0,2.q", "blocks.1.q"]
    assert sum(len(alike) for _, alike in found) == len(layers)


def test_a_number_within_a_word_is_no_layer_number() -> None:
    assert len(repeated([layer("conv1.weight"), layer("conv2.weight")])) == 2
