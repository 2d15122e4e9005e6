"""CNN and autoencoder: shapes, learning, pictures, and what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scratchlab.config.compose import compose
from scratchlab.data.contract import Spec
from scratchlab.errors import UserError
from scratchlab.lab import train as experiment
from scratchlab.lab.evaluate import evaluate
from scratchlab.registry import build
from scratchlab.reporting.results import read_results


def spec(*shape: int) -> Spec:
    return Spec(
        task="classification", n_classes=4, n_features=int(np.prod(shape)), image_shape=shape
    )  # type: ignore[arg-type]


def options(name: str, **changes: Any) -> dict[str, Any]:
    return compose([f"model={name}"]).config["model"] | changes


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 11), (1, 28, 28)])
def test_images_of_any_size_and_colour_pass(shape: tuple[int, int, int]) -> None:
    x = torch.rand(2, *shape)
    cnn = build("model", options("cnn", batch_norm=True, channels=[4, 6, 8]), spec(*shape)).eval()
    assert cnn(x).shape == (2, 4)
    height, width = (-(-n // 2) for n in shape[1:])
    assert [m.shape[1] for m in cnn.feature_maps(x)] == [4, 6, 8]
    assert cnn.feature_maps(x)[0].shape == (2, 4, height, width)
    for kind in ("conv", "dense"):
        model = build("model", options("autoencoder", kind=kind), spec(*shape)).eval()
        restored = model(x)
        assert restored.shape == x.shape and 0 <= restored.min() <= restored.max() <= 1
        assert model.features(x).shape[0] == 2


def test_a_block_of_the_cnn_is_convolution_relu_and_pooling() -> None:
    model = build("model", options("cnn", channels=[5]), spec(1, 8, 8)).eval()
    x = torch.rand(2, 1, 8, 8)
    convolution = model.blocks[0].convolution
    plain = torch.zeros(2, 5, 8, 8)
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1))
    for row in range(8):
        for column in range(8):
            patch = padded[:, :, row : row + 3, column : column + 3]
            plain[:, :, row, column] = torch.einsum("bcij,ocij->bo", patch, convolution.weight)
    plain = (plain + convolution.bias[:, None, None]).clamp(min=0)
    pooled = plain.unfold(2, 2, 2).unfold(3, 2, 2).amax((-1, -2))
    assert torch.allclose(model.feature_maps(x)[0], pooled, atol=1e-6)


@pytest.mark.parametrize("kind", ["conv", "dense"])
def test_a_denoiser_of_mostly_black_images_does_not_settle_for_black(kind: str) -> None:
    torch.manual_seed(0)
    model = build("model", options("autoencoder", kind=kind), spec(1, 28, 28)).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    random = torch.Generator().manual_seed(0)

    def batch() -> tuple[torch.Tensor, torch.Tensor]:
        clean = torch.zeros(32, 1, 28, 28)
        for image, place in zip(
            clean, torch.randint(2, 24, (32, 2), generator=random), strict=True
        ):
            image[0, place[0] : place[0] + 3, 4:24] = 1
            image[0, 4:24, place[1] : place[1] + 3] = 1
        noise = 0.5 * torch.randn(clean.shape, generator=random)
        return (clean + noise).clamp(0, 1), clean

    for _ in range(100):
        noisy, clean = batch()
        loss = (model(noisy) - clean).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    noisy, clean = batch()
    assert (model.eval()(noisy) - clean).square().mean() < 0.5 * clean.square().mean()


def test_tables_have_no_images_for_them() -> None:
    table = Spec(task="classification", n_classes=2, n_features=3)
    for name in ("cnn", "autoencoder"):
        with pytest.raises(UserError, match="this data set is a table"):
            build("model", options(name), table)


def run(tmp_path: Path, *words: str) -> Path:
    own = [f"output_dir={tmp_path}", "tracker=[jsonl]", "threads=1", "trainer.precision=fp32"]
    return experiment.train(compose([*words, *own]).config, [], ["train"])


@pytest.mark.slow
def test_a_denoiser_restores_images_that_a_classifier_then_reads(tmp_path: Path) -> None:
    from scratchlab.config.compose import change
    from scratchlab.run.folder import read_config

    cnn = run(
        tmp_path,
        "model=cnn",
        "trainer.epochs=7",
        "name=a",
        "run_id=cnn",
        "evaluator=[classification,feature_maps]",
    )
    accuracy = next(m.value for m in read_results(cnn) if m.name == "accuracy")
    assert accuracy > 0.9
    assert (cnn / "plots/feature_maps.png").is_file()
    denoiser = run(
        tmp_path,
        "model=autoencoder",
        "trainer.epochs=12",
        "name=a",
        "run_id=denoiser",
        "evaluator=[reconstruction,restored_images,feature_space]",
        "evaluator.feature_space.rows=100",
    )
    scores = {m.name: m.value for m in read_results(denoiser)}
    assert scores["psnr"] > scores["psnr_input"] + 3
    assert {p.name for p in (denoiser / "plots").iterdir()} >= {
        "reconstruction.png",
        "feature_space.png",
    }
    found = {}
    for key, more in (("noisy", []), ("restored", ["dataset.restored=a/denoiser"])):
        words = ["dataset=noisy_digits", "evaluator=[classification]", *more]
        config = change(read_config(cnn / "config.yaml"), words)
        measured = evaluate(config, cnn, cnn, ["eval"])
        found[key] = next(m.value for m in measured if m.name == "accuracy")
    # Images this small hold little to restore; still, most of what was wiped out is back.
    assert 0.4 < found["restored"] != found["noisy"] < accuracy
