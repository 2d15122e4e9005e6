"""Perplexity, size, latency and attention maps of a real, tiny model."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from scratchlab.data.contract import DataContext
from scratchlab.data.sets.translation import Phrasebook
from scratchlab.errors import UserError
from scratchlab.evaluation.cost.latency import Latency, percentile
from scratchlab.evaluation.cost.size import Size
from scratchlab.evaluation.inside.attention_maps import AttentionMaps
from scratchlab.evaluation.text.perplexity import Perplexity
from scratchlab.evaluation.text.text_scores import first_examples
from scratchlab.figures.attention import attention_figure
from scratchlab.figures.style import png
from scratchlab.models.transformer_mt import TransformerMT

Make = Callable[..., Any]


def by_hand(model: Any, dataset: Phrasebook, split: str, count: int) -> tuple[float, int]:
    """Perplexity and number of targets, one sentence at a time through the plain forward pass."""
    total, n = 0.0, 0
    spec = dataset.spec
    for source, reference in list(
        zip(dataset.sources(split), dataset.references(split), strict=True)
    )[:count]:
        target = dataset.encode_target(reference)
        with torch.no_grad():
            logits = model(
                torch.tensor([dataset.encode_source(source)]),
                torch.tensor([[spec.sos_id, *target]]),
            )
        wanted = torch.tensor([*target, spec.eos_id])
        total -= float(logits[0].log_softmax(-1)[range(len(wanted)), wanted].sum())
        n += len(wanted)
    return math.exp(total / n), n


@pytest.mark.parametrize("limit", [None, 7])
def test_perplexity_is_that_of_the_sentences_one_by_one(
    make_context: Make, model: TransformerMT, dataset: Phrasebook, limit: int | None
) -> None:
    (measured,) = Perplexity(Perplexity.Config()).evaluate(make_context(limit=limit))
    value, targets = by_hand(model, dataset, "test", limit or 30)
    assert measured.value == pytest.approx(value, rel=1e-5)
    assert measured.n == targets
    assert measured.settings["examples"] == (limit or 30)
    assert (measured.settings["unit"], measured.better) == (dataset.spec.unit, "lower")


def test_perplexity_does_not_move_with_the_size_of_batches(
    make_context: Make, dataset: Phrasebook, tmp_path_factory: pytest.TempPathFactory
) -> None:
    values = []
    for tokens in (60, 5000):
        config = dataclasses.replace(dataset.config, eval_batch_tokens=tokens)
        other = Phrasebook(config, DataContext(None, tmp_path_factory.mktemp("cache")))
        assert other.spec == dataset.spec
        (measured,) = Perplexity(Perplexity.Config()).evaluate(make_context(dataset=other))
        values.append(measured.value)
    assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_a_model_that_yields_no_numbers_is_reported_and_not_scored(
    make_context: Make, dataset: Phrasebook, model: TransformerMT
) -> None:
    broken = TransformerMT(model.config, dataset.spec).eval()
    torch.nn.init.constant_(broken.target_embedding.weight, float("nan"))
    with pytest.raises(UserError, match="split 'test' is nan"):
        Perplexity(Perplexity.Config()).evaluate(make_context(model=broken))


def test_a_limit_keeps_running_text_whole() -> None:
    @dataclasses.dataclass
    class Text:
        ids: torch.Tensor

    batch = Text(torch.arange(4))
    assert first_examples(batch, 2) is batch


def test_sizes_are_those_of_the_weights_with_tied_ones_counted_once(
    make_context: Make, model: TransformerMT
) -> None:
    frozen = next(model.encoder.parameters())
    frozen.requires_grad_(False)
    try:
        found = {m.name: m.value for m in Size(Size.Config()).evaluate(make_context())}
    finally:
        frozen.requires_grad_(True)
    assert model.output.weight is model.target_embedding.weight
    total = sum(p.numel() for p in model.parameters())
    assert found["parameters"] == total
    assert found["trainable_parameters"] == total - frozen.numel()
    unique = {v.data_ptr(): v for v in model.state_dict().values()}
    file = len(save({str(i): v.contiguous() for i, v in enumerate(unique.values())}))
    assert found["checkpoint_size"] <= file <= found["checkpoint_size"] + 100 * len(unique)
    assert found["memory_size"] >= 4 * total


def test_latency_counts_real_time_of_real_sentences(make_context: Make) -> None:
    class Slow:
        """A decoder that takes 2 ms a call, and remembers how it was called."""

        def __init__(self, inner: Any) -> None:
            self.inner, self.sizes = inner, []

        def generate_all(self, model: Any, rows: Any, spec: Any, batch_size: int) -> Any:
            import time

            time.sleep(0.002)
            self.sizes.append(len(rows))
            return self.inner.generate_all(model, rows, spec, batch_size)

    slow = Slow(make_context().decoder)
    config = Latency.Config(sentences=6, batch=8, batches=2, warm_up=2)
    found = {m.name: m for m in Latency(config).evaluate(make_context(decoder=slow))}
    assert slow.sizes == [1] * (2 + 6) + [8] * (1 + 2)
    assert all(m.timing for m in found.values())
    p50, p95 = found["latency_p50"].value, found["latency_p95"].value
    assert 2.0 <= p50 <= p95
    assert 0 < found["throughput"].value < 8 / 0.002
    assert found["throughput"].settings["batch"] == 8
    assert found["latency_p50"].settings["batch"] == 1


def test_latency_is_left_out_between_epochs(make_context: Make) -> None:
    assert Latency(Latency.Config()).evaluate(make_context(quick=True)) == []


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(i) for i in range(1, 101)]
    assert percentile(values, 95) == 95.0
    assert percentile(values, 50) == 50.0
    assert percentile([4.0], 95) == 4.0


def test_the_attention_map_shows_one_panel_a_head_and_their_mean(
    make_context: Make, model: TransformerMT, dataset: Phrasebook
) -> None:
    context = make_context()
    AttentionMaps(AttentionMaps.Config(sentence=2)).evaluate(context)
    figure = context.sink.figures["attention"]
    panels = [axis for axis in figure.axes if axis.images]
    assert [axis.get_title("left") for axis in panels] == [
        "head 1", "head 2", "head 3", "mean of all heads",
    ]  # fmt: skip
    maps = [np.asarray(axis.images[0].get_array()) for axis in panels]
    assert np.allclose(np.mean(maps[:3], axis=0), maps[3], atol=1e-6)
    assert np.allclose([m.sum(axis=1) for m in maps], 1.0, atol=1e-5)
    source = dataset.encode_source(dataset.sources("test")[2])
    labels = [t.get_text() for t in panels[-1].get_xticklabels()]
    assert labels == dataset.source_tokens(source)
    assert (
        panels[0].get_yticklabels()[-1].get_text()
        == dataset.target_tokens([dataset.spec.eos_id])[0]
    )


def test_an_attention_layer_or_sentence_that_does_not_exist_is_named(make_context: Make) -> None:
    with pytest.raises(UserError, match="no decoder layer 2"):
        AttentionMaps(AttentionMaps.Config(layer=2)).evaluate(make_context())
    with pytest.raises(UserError, match="no sentence 30"):
        AttentionMaps(AttentionMaps.Config(sentence=30)).evaluate(make_context())


def test_models_without_attention_have_no_map(
    make_context: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = make_context()
    monkeypatch.setattr(context.model, "attention_maps", lambda source, target_in: {})
    assert AttentionMaps(AttentionMaps.Config()).evaluate(context) == []
    assert context.sink.figures == {}


def test_equal_maps_give_equal_pictures_and_odd_labels_are_shown_as_they_are() -> None:
    weights = np.full((2, 2, 3), 1 / 3)
    words = ["$x$", "a_very_long_word_indeed", "<eos>"]

    figures = [attention_figure(weights, words, ["b", "c"], "Title") for _ in range(2)]
    first, second = map(png, figures)
    assert first == second and first[:4] == b"\x89PNG"
    labels = [t.get_text() for t in figures[0].axes[2].get_xticklabels()]
    assert labels == [r"\$x\$", "a_very_long…", "<eos>"]
