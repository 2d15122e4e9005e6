"""What ``export=ctranslate2`` writes, read by CTranslate2 and beside what its own classes write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scratchlab.data.contract import DataContext
from scratchlab.data.sets.corpora import TextFile
from scratchlab.data.sets.translation import ParallelText
from scratchlab.decoding.beam import Beam
from scratchlab.decoding.greedy import Greedy
from scratchlab.decoding.sampling import Sampling
from scratchlab.errors import UserError
from scratchlab.models.formats.exporting import export_model
from scratchlab.models.gpt import GPT
from scratchlab.models.layers.positions import sinusoidal_table
from scratchlab.models.transformer_mt import TransformerMT
from scratchlab.tasks.seq2seq import Seq2Seq

TOLERANCE = 2e-5
NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
LIMITS: dict[str, Any] = {"max_length_factor": 0.0, "max_length_extra": 12}


@pytest.fixture(scope="module")
def engine() -> Any:
    return pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> ParallelText:
    folder = tmp_path_factory.mktemp("pairs")
    lines = [
        f"{a} {b} {c}\t{c.upper()} {b.upper()}\n"
        for i, a in enumerate(NUMBERS)
        for j, b in enumerate(NUMBERS)
        for c in (NUMBERS[(i * j) % 10], NUMBERS[(i + j) % 10])
    ]
    (folder / "pairs.tsv").write_text("".join(lines))
    sizes = {"val_sentences": 5, "test_sentences": 5, "min_frequency": 1}
    options = {"tsv": str(folder / "pairs.tsv"), "tokenizer": "word", "batch_tokens": 128, **sizes}
    return ParallelText(ParallelText.Config(**options), DataContext(None, folder / "cache"))


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> TextFile:
    folder = tmp_path_factory.mktemp("text")
    (folder / "text.txt").write_text("One for sorrow,\nTwo for joy,\nThree for a girl.\n" * 20)
    options = {"paths": [str(folder / "text.txt")], "block_size": 24}
    return TextFile(TextFile.Config(**options), DataContext(None, folder / "cache"))


def translator(dataset: ParallelText, **options: Any) -> TransformerMT:
    """A model that has learnt a little: its outputs vary and end by themselves."""
    torch.manual_seed(0)
    sizes = {"d_model": 16, "n_heads": 2, "d_ff": 32, "encoder_layers": 1, "decoder_layers": 2}
    model = TransformerMT(
        TransformerMT.Config(**{"dropout": 0.0, **sizes, **options}), dataset.spec
    )
    task = Seq2Seq(Seq2Seq.Config(), dataset.spec)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for epoch in range(3):
        for batch in dataset.batches("train", seed=0, epoch=epoch):
            loss = task.loss(model, batch)
            (loss.total / loss.count).backward()
            optimizer.step()
            optimizer.zero_grad()
    return model.eval()


def sources(dataset: ParallelText) -> list[list[int]]:
    chosen = [" ".join(NUMBERS[k * k % 10] for k in range(i, i + 2 + i % 3)) for i in range(8)]
    return [dataset.encode_source(text) for text in chosen]


@pytest.mark.parametrize(
    ("positions", "norm", "activation", "tied"),
    [
        ("sinusoidal", "pre", "relu", True),
        ("learned", "post", "gelu", False),
        ("rotary", "pre", "gelu", True),
        ("none", "post", "relu", True),
    ],
)
def test_a_translator_says_the_same_there(
    engine: Any,
    pairs: ParallelText,
    tmp_path: Path,
    positions: str,
    norm: str,
    activation: str,
    tied: bool,
) -> None:
    more: dict[str, Any] = {"positions": positions, "norm": norm, "activation": activation}
    model = translator(pairs, tie_embeddings=tied, **more)
    folder = export_model(model, pairs, "ctranslate2", tmp_path)
    theirs = engine.Translator(str(folder), compute_type="float32", intra_threads=1)
    rows, tokens = sources(pairs), pairs.target_tokenizer.tokens
    words = [[pairs.source_tokenizer.tokens[i] for i in row[:-1]] for row in rows]  # no <eos>
    outputs = set()
    for beams in (1, 4):
        said = theirs.translate_batch(
            words,
            beam_size=beams,
            length_penalty=0,
            patience=4,
            min_decoding_length=0,
            max_decoding_length=12,
            return_scores=True,
        )
        decoder: Any = Greedy(Greedy.Config(**LIMITS))
        if beams > 1:
            decoder = Beam(Beam.Config(beam_size=beams, length_penalty=0.0, **LIMITS))
        found = decoder.generate_all(model, rows, pairs.spec)
        for ours, other in zip(found, said, strict=True):
            assert [tokens[i] for i in ours.ids] == other.hypotheses[0]
            assert other.scores[0] == pytest.approx(ours.log_probability, abs=TOLERANCE)
            outputs.add(tuple(ours.ids))
    assert len(outputs) > 3
    targets = [[*row[:-1], *row[:-1]] for row in rows]  # whatever is said
    judged = theirs.score_batch(words, [[tokens[i] for i in ids] for ids in targets])
    for row, ids, scored in zip(rows, targets, judged, strict=True):
        before = torch.tensor([[pairs.spec.sos_id, *ids]])
        with torch.no_grad():
            log_p = model(torch.tensor([row]), before)[0].log_softmax(-1)
        expected = [float(log_p[t, i]) for t, i in enumerate([*ids, pairs.spec.eos_id])]
        assert scored.log_probs == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "rotary", "none"])
def test_a_language_model_says_the_same_there(
    engine: Any, text: TextFile, tmp_path: Path, positions: str
) -> None:
    torch.manual_seed(0)
    sizes = {"d_model": 16, "n_heads": 2, "n_layers": 2, "bias": positions != "none"}
    more: dict[str, Any] = {"sinusoidal": {"logit_softcap": 2.0, "activation": "relu"}}
    more |= {"rotary": {"tie_embeddings": False, "activation": "gelu"}}
    options = {**sizes, **more.get(positions, {}), "positions": positions}
    model = GPT(GPT.Config(**options), text.spec).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) / 5)
    folder = export_model(model, text, "ctranslate2", tmp_path)
    theirs = engine.Generator(str(folder), compute_type="float32", intra_threads=1)
    ids = text.encode("Two for a girl,")
    said = theirs.forward_batch([ids], return_log_probs=False)
    with torch.no_grad():
        expected = model(torch.tensor([ids]))
    assert torch.allclose(torch.from_numpy(np.array(said)), expected, atol=10 * TOLERANCE)
    greedy = Sampling(Sampling.Config(temperature=0.0, stop_at_eos=False, allow_unknown=True))
    tokens = text.tokenizer.tokens
    start = [tokens[i] for i in ids[:4]]
    (found,) = theirs.generate_batch(
        [start], max_length=16, end_token=[], include_prompt_in_result=False
    )
    assert found.sequences_ids[0] == list(
        greedy.stream(model, ids[:4], text.spec, max_new_tokens=16)
    )


def test_the_files_are_those_that_its_own_classes_write(
    engine: Any, pairs: ParallelText, tmp_path: Path
) -> None:
    from ctranslate2.specs import TransformerSpec, common_spec

    model = TransformerMT(
        TransformerMT.Config(d_model=16, n_heads=2, encoder_layers=1, decoder_layers=2), pairs.spec
    )
    folder = export_model(model, pairs, "ctranslate2", tmp_path)
    spec = TransformerSpec.from_config((1, 2), 2)
    spec.register_source_vocabulary(pairs.source_tokenizer.tokens)
    spec.register_target_vocabulary(pairs.target_tokenizer.tokens)
    spec.config.bos_token = spec.config.decoder_start_token = "<sos>"
    spec.config.eos_token, spec.config.layer_norm_epsilon = "<eos>", 1e-5
    spec.config.add_source_eos = True

    def linear(there: common_spec.LinearSpec, here: torch.nn.Linear) -> None:
        there.weight = here.weight.detach().numpy()
        if here.bias is not None:
            there.bias = here.bias.detach().numpy()

    def norm(there: common_spec.LayerNormSpec, here: torch.nn.LayerNorm) -> None:
        there.gamma, there.beta = here.weight.detach().numpy(), here.bias.detach().numpy()

    stacks: Any = ((spec.encoder, model.encoder), (spec.decoder, model.decoder))
    for there, blocks in stacks:
        for layer, block in zip(there.layer, blocks, strict=True):
            norm(layer.self_attention.layer_norm, block.attention_norm)
            linear(layer.self_attention.linear[0], block.attention.qkv)
            linear(layer.self_attention.linear[1], block.attention.out)
            if there is spec.decoder:
                norm(layer.attention.layer_norm, block.cross_norm)
                linear(layer.attention.linear[0], block.cross.q)
                linear(layer.attention.linear[1], block.cross.kv)
                linear(layer.attention.linear[2], block.cross.out)
            norm(layer.ffn.layer_norm, block.feed_forward_norm)
            linear(layer.ffn.linear_0, block.feed_forward.inner)
            linear(layer.ffn.linear_1, block.feed_forward.out)
        there.position_encodings.encodings = sinusoidal_table(1024, 16).float().numpy()
    norm(spec.encoder.layer_norm, model.encoder_norm)
    norm(spec.decoder.layer_norm, model.decoder_norm)
    spec.encoder.embeddings[0].weight = model.source_embedding.weight.detach().numpy()
    spec.decoder.embeddings.weight = model.target_embedding.weight.detach().numpy()
    linear(spec.decoder.projection, model.output)
    spec.validate()
    spec.optimize()
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    spec.save(str(theirs))
    assert (folder / "model.bin").read_bytes() == (theirs / "model.bin").read_bytes()
    for name in ("config.json", "shared_vocabulary.json"):
        assert json.loads((folder / name).read_text()) == json.loads((theirs / name).read_text())
    assert {f.name for f in theirs.iterdir()} <= {f.name for f in folder.iterdir()}


def test_what_the_format_has_no_place_for_is_refused_by_the_name_of_its_option(
    text: TextFile, tmp_path: Path
) -> None:
    refused: list[dict[str, Any]] = [{"output": "adaptive", "cutoffs": [4]}, {"qk_norm": True}]
    for options, usual in zip(refused, ("output=full", "qk_norm=false"), strict=True):
        model = GPT(GPT.Config(d_model=16, **options), text.spec)
        with pytest.raises(UserError) as raised:
            export_model(model, text, "ctranslate2", tmp_path)
        name, value = next(iter(options.items()))
        assert f"no place for model.{name}={str(value).lower()}" in raised.value.message
        assert raised.value.hint == f"Train with model.{usual}."
    assert not list(tmp_path.iterdir())
