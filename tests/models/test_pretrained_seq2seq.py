"""Pretrained encoder-decoders: the library's logits, and its translations by our decoding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from scratchlab.decoding.beam import Beam
from scratchlab.decoding.greedy import Greedy
from scratchlab.errors import UserError
from tests.support.models import Tiny, tiny_models, write_checkpoints, write_tokenizer

transformers = pytest.importorskip("transformers")

KINDS = ("t5", "bart")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    write_checkpoints(folder)
    return folder


@pytest.fixture(scope="module")
def models(checkpoints: Path) -> dict[str, Tiny]:
    return tiny_models(checkpoints)


def sources() -> torch.Tensor:
    random = torch.Generator().manual_seed(5)
    rows = torch.randint(3, 61, (6, 9), generator=random)
    rows[:, -1] = 1
    for row, length in enumerate((9, 4, 7, 3, 9, 6)):
        rows[row, length - 1] = 1
        rows[row, length:] = 0
    return rows


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_the_librarys_with_padding_too(
    kind: str, models: dict[str, Tiny], checkpoints: Path
) -> None:
    model: Any = models[kind].build().eval()
    library = transformers.AutoModelForSeq2SeqLM.from_pretrained(checkpoints / kind).eval()
    source, target = sources(), sources()[:, :5]
    with torch.no_grad():
        expected = library(
            input_ids=source, attention_mask=source != 0, decoder_input_ids=target
        ).logits
        torch.testing.assert_close(model(source, target), expected, rtol=1e-4, atol=1e-4)
        maps = model.attention_maps(source, target)
    assert maps["cross"].shape == (2, 6, 4, 5, 9)
    assert maps["encoder"].shape == (2, 6, 4, 9, 9)
    torch.testing.assert_close(maps["cross"].sum(-1), torch.ones(2, 6, 4, 5))
    one = model.attention_maps(source[:1], target[:1])["cross"][:, 0]
    torch.testing.assert_close(one, maps["cross"][:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_decoding_writes_what_generate_of_the_library_writes(
    kind: str, models: dict[str, Tiny], checkpoints: Path
) -> None:
    tiny = models[kind]
    library = transformers.AutoModelForSeq2SeqLM.from_pretrained(checkpoints / kind).eval()
    library.generation_config.forced_eos_token_id = None
    spec = tiny.context.spec
    decoder = Greedy(Greedy.Config(max_length_factor=0.0, max_length_extra=12))
    found = decoder.generate(tiny.build().eval(), sources(), spec)
    written = library.generate(
        sources(), attention_mask=sources() != 0, max_new_tokens=11, do_sample=False,
        num_beams=1, bad_words_ids=[[0]],
    )  # fmt: skip
    for hypothesis, row in zip(found, written.tolist(), strict=True):
        ids = row[1:]
        ids = ids[: ids.index(1)] if 1 in ids else ids
        assert hypothesis.ids[: len(ids)] == ids


@pytest.mark.parametrize("kind", KINDS)
def test_beams_keep_their_own_past_and_do_not_depend_on_their_neighbours(
    kind: str, models: dict[str, Tiny]
) -> None:
    tiny = models[kind]
    model: Any = tiny.build().eval()
    spec = tiny.context.spec
    config = Beam.Config(beam_size=3, max_length_factor=0.0, max_length_extra=9)
    together = Beam(config).n_best(model, sources(), spec, 3)
    for row, hypotheses in zip(sources(), together, strict=True):
        length = int((row != 0).sum())
        alone = Beam(config).n_best(model, row[None, :length], spec, 3)[0]
        assert [h.ids for h in alone] == [h.ids for h in hypotheses]
        for h in hypotheses:  # the score is that of the whole text, read again without a cache
            ids = [*h.ids, spec.eos_id]
            target = torch.tensor([[spec.sos_id, *ids[:-1]]])
            with torch.no_grad():
                log_p = model(row[None, :length], target).log_softmax(-1)[0]
            expected = float(log_p[torch.arange(len(ids)), ids].sum())
            assert h.log_probability == pytest.approx(expected, abs=1e-3)


def test_an_architecture_whose_logits_are_made_otherwise_is_refused(
    models: dict[str, Tiny], monkeypatch: pytest.MonkeyPatch
) -> None:
    from scratchlab.models.pretrained_seq2seq import PretrainedSeq2Seq

    plain = PretrainedSeq2Seq.project
    monkeypatch.setattr(PretrainedSeq2Seq, "project", lambda self, h: 2 * plain(self, h))
    with pytest.raises(UserError, match="makes its logits in a way"):
        models["t5"].build()


@pytest.mark.parametrize("kind", KINDS)
def test_source_and_target_are_framed_as_the_checkpoint_was_trained(
    kind: str, checkpoints: Path, tmp_path: Path
) -> None:
    from scratchlab.data.tokenizers.files import from_json
    from scratchlab.data.tokenizers.pretrained import load_pretrained_tokenizer

    write_tokenizer(checkpoints / kind, prefix=kind == "bart")
    tokenizer = load_pretrained_tokenizer(str(checkpoints / kind), tmp_path, decoder=True)
    ids = tokenizer.encode("the list </s> of")
    assert ids[: len(tokenizer.prefix)] == ([2] if kind == "bart" else [])
    assert 1 not in ids  # a text that reads like the end mark is none
    assert (tokenizer.pad_id, tokenizer.eos_id) == (0, 1)
    assert tokenizer.sos_id == (1 if kind == "bart" else 0)
    again = from_json(tokenizer.to_json(), "here")
    assert again.encode("a file") == tokenizer.encode("a file")
    assert again.decode([*again.encode("a file"), 60]) == "a file"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["t5", pytest.param("bart", marks=pytest.mark.slow)])
def test_a_run_trains_with_lora_translates_and_is_measured(
    kind: str, checkpoints: Path, launcher: Any, tmp_path: Path
) -> None:
    write_tokenizer(checkpoints / kind, prefix=kind == "bart")
    lines = [
        f"the list of {a} a {b}\t{b} the {a}\n"
        for a in ("string", "number", "file", "path")
        for b in ("value", "function", "list", "string")
    ]
    (tmp_path / "pairs.tsv").write_text("".join(lines))
    words = [
        f"model={kind}", f"model.checkpoint={checkpoints / kind}", "dataset=parallel_text",
        "dataset.tokenizer=pretrained", "dataset.tsv=pairs.tsv", "dataset.val_sentences=2",
        "dataset.test_sentences=4", "dataset.max_length=64", "method=lora", "optimizer.lr=1e-2",
        "trainer.max_steps=4", "trainer.log_every=1", "decoding.max_length_extra=8", "threads=1",
        "name=pairs",
        "evaluator=[rouge,lead3,bleu,perplexity,size,attention_maps,samples]",
    ]  # fmt: skip
    done = launcher.run("train", *words, cwd=tmp_path)
    assert done.code == 0, done.err
    run = tmp_path / "outputs/pairs/latest"
    results = {r["name"]: r for r in json.loads((run / "results.json").read_text())}
    assert {"rouge1", "lead3_rougeL", "bleu", "perplexity"} <= results.keys()
    assert results["rouge1"]["settings"]["decoding"] == "greedy"
    assert results["trainable_parameters"]["value"] < 0.5 * results["parameters"]["value"]
    assert (run / "plots/attention.png").is_file()
    said = launcher.run("predict", str(run), "the list of file a value", cwd=tmp_path)
    assert said.code == 0, said.err
    seen = launcher.run("inspect", *words[:9], cwd=tmp_path)
    assert seen.code == 0 and "LoRALinear" in seen.out, seen.err
