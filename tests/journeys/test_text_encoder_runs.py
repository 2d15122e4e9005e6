"""Text encoders as runs: masked words first, classes after; weights from elsewhere."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scratchlab.config.compose import change, compose
from scratchlab.errors import UnansweredRows, UserError
from scratchlab.lab import predict as predicting
from scratchlab.lab import train as training
from scratchlab.lab.evaluate import evaluate
from scratchlab.lab.parts import load_trained
from scratchlab.run.folder import read_config
from scratchlab.studies.runs import require_same
from tests.support.kinds import sentence
from tests.support.outputs import made_again

SMALL = ["model.d_model=16", "model.n_heads=2", "model.n_layers=1", "trainer.precision=fp32",
         "scheduler=constant", "scheduler.warmup=0", "optimizer.lr=3e-3", "threads=1"]  # fmt: skip


def write_texts(folder: Path) -> None:
    lines = [sentence(i, 4 + i % 6) for i in range(120)]
    (folder / "text.txt").write_text("\n".join(lines) + "\n")
    rows = [f"{line}\t{'yes' if 'cat' in line else 'no'}\n" for line in lines]
    (folder / "rows.tsv").write_text("text\tlabel\n" + "".join(rows))


def train(folder: Path, run_id: str, *words: str) -> Path:
    if not (folder / "text.txt").exists():
        write_texts(folder)
    return training.train(composed(folder, run_id, *words), list(words), ["train"])


def composed(folder: Path, run_id: str, *words: str) -> dict[str, Any]:
    own = [f"output_dir={folder}", "name=x", f"run_id={run_id}", "tracker=[jsonl]"]
    return compose([*own, f"cache_dir={folder}/cache", *words]).config


def masked(folder: Path, run_id: str, *words: str) -> Path:
    data = ["dataset=text_file", f"dataset.paths=[{folder}/text.txt]", "dataset.tokenizer=word"]
    data += ["dataset.block_size=12", "dataset.batch_size=4", "dataset.batching=shuffled"]
    return train(folder, run_id, "model=text_encoder_pretraining", *SMALL, *data, *words)


def classes(folder: Path, run_id: str, *words: str) -> Path:
    return train(folder, run_id, *class_words(folder), *words)


def class_words(folder: Path) -> list[str]:
    data = ["dataset=text_classification", f"dataset.path={folder}/rows.tsv"]
    data += ["dataset.max_length=14", "dataset.batch_tokens=60"]
    return ["model=text_encoder", *SMALL[3:], *data]


def results(run: Path) -> dict[str, float]:
    found = json.loads((run / "results.json").read_text())
    return {m["name"]: m["value"] for m in found if not m["timing"]}


def test_masked_words_are_learned_resumed_filled_and_classes_learned_after(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = masked(tmp_path, "whole", "trainer.max_steps=30", "evaluator=[masked_lm]")
    assert made_again(whole) == {"masked_accuracy", "masked_perplexity", "pseudo_perplexity"}
    found = results(whole)
    assert 0 <= found["masked_accuracy"] <= 1
    assert 1 < found["masked_perplexity"] < 18  # of 17 tokens
    assert (whole / "tables/masked_samples.csv").is_file()
    # stopped anywhere and gone on with, it ends with the same bits
    part = masked(tmp_path, "part", "trainer.max_steps=13", "evaluate=false")
    config = change(read_config(part / "config.yaml"), ["trainer.max_steps=30", "resume=true"])
    training.train(config, [], ["train"])
    a, b = (r / "checkpoints/last/model.safetensors" for r in (whole, part))
    assert a.read_bytes() == b.read_bytes()

    # figures are those of the places one by one, whatever the batches are
    config = change(read_config(whole / "config.yaml"), ["dataset.eval_batch_size=1"])
    trained = load_trained(config, whole)
    batches = list(trained.dataset.batches("test", seed=0, epoch=0))
    logits = [trained.model(batch.tokens).log_softmax(-1) for batch in batches]
    nll, hits, count = 0.0, 0, 0
    for scores, batch in zip(logits, batches, strict=True):
        for place, target in enumerate(batch.targets[0].tolist()):
            if target >= 0:
                nll -= float(scores[0, place, target].detach())
                hits += int(scores[0, place].argmax()) == target
                count += 1
    assert found["masked_accuracy"] == hits / count
    assert found["masked_perplexity"] == pytest.approx(math.exp(nll / count), rel=1e-5)
    (ids, *_) = (row for batch in batches for row in batch.tokens)
    assert len(ids) == 14 and trained.dataset.texts_in("test") == len(batches)

    answers = predicting.predict(config | {"task": {**config["task"], "shown": 3}}, whole,
                                 iter(["the [MASK] sees the red cat", "nothing here"]))  # fmt: skip
    with pytest.raises(UnansweredRows, match="1 of 2 lines"):
        said = next(answers)
        list(answers)
    text, candidates = "".join(said).split("\t")
    words = candidates.split("  ")
    assert text.startswith("the ") and text.endswith(" sees the red cat") and len(words) == 3
    shares = [float(word.split()[1]) for word in words]
    assert shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 1.001

    tuned = classes(tmp_path, "tuned", f"init_from={whole}", "trainer.max_steps=8",
                    "evaluator=[classification,encoder_attention]")  # fmt: skip
    config = read_config(tuned / "config.yaml")
    assert config["model"]["d_model"] == 16 and config["model"]["max_length"] == 14
    assert config["dataset"]["tokenizer"] == "word"
    tokens = [json.loads((r / "checkpoints/best/text_tokenizer.json").read_text())
              for r in (whole, tuned)]  # fmt: skip
    assert tokens[0] == tokens[1]
    assert (tuned / "plots/encoder_attention_heads.png").is_file()
    assert load_trained(config, tuned).dataset.spec.class_names == ("no", "yes")
    # asked for again it is the same run, although the command does not say its sizes
    again = [f"init_from={whole}", "trainer.max_steps=8", "resume=true", "run_id=tuned",
             "evaluator=[classification,encoder_attention]"]  # fmt: skip
    asked = composed(tmp_path, "tuned", *class_words(tmp_path), *again)
    require_same(tuned, asked, again)
    assert training.already_done(asked, again) == tuned
    with pytest.raises(UserError, match=r"was made with trainer\.max_steps=8, now it is 9"):
        require_same(tuned, {**asked, "trainer": {**asked["trainer"], "max_steps": 9}}, again)
    for words, message in (
        (["model.d_model=32"], r"model\.d_model=32: the checkpoint .* has 16"),
        (["dataset.tokenizer=bpe"], r"dataset\.tokenizer=bpe: the checkpoint .* has word"),
        (["dataset.max_length=40"], r"longer than model\.max_length=14"),
    ):
        with pytest.raises(UserError, match=message):
            classes(tmp_path, "wrong", f"init_from={whole}", *words)
    with pytest.raises(UserError, match="holds a text_encoder, not a gpt"):
        train(tmp_path, "gpt", "model=gpt", "dataset=text_file",
              f"dataset.paths=[{tmp_path}/text.txt]", f"init_from={whole}")  # fmt: skip
    with pytest.raises(UserError, match="there is no run 'nowhere', and nowhere is not on this"):
        classes(tmp_path, "wrong", "init_from=nowhere")


def test_labelled_texts_teach_masked_words_without_their_labels(tmp_path: Path) -> None:
    write_texts(tmp_path)
    run = classes(
        tmp_path, "masked", "model=text_encoder_pretraining", "dataset.tokenizer=word", *SMALL[:3],
        "trainer.max_steps=4", "evaluator=[masked_lm]", "task.whole_words=true",
    )  # fmt: skip
    found = results(run)
    assert found["pseudo_perplexity"] > 1
    # of one text by hand: each token masked by itself
    trained = load_trained(read_config(run / "config.yaml"), run)
    dataset: Any = trained.dataset
    config = change(read_config(run / "config.yaml"), ["evaluator.masked_lm.pseudo_texts=1"])
    again = evaluate(config, run, tmp_path / "again", ["eval"])
    value = next(m.value for m in again if m.name == "pseudo_perplexity")
    ids = torch.tensor([dataset.encode(dataset.inner.texts("test")[0])])
    nll = []
    for place in range(1, ids.shape[1] - 1):
        spoilt = ids.clone()
        spoilt[0, place] = dataset.vocabulary.mask_id
        scores = trained.model(spoilt)[0, place].log_softmax(-1)
        nll.append(-float(scores[ids[0, place]].detach()))
    assert value == pytest.approx(math.exp(np.mean(nll)), rel=1e-5)


def test_words_begin_with_vectors_that_stay_as_they_are(tmp_path: Path) -> None:
    from safetensors import safe_open

    write_texts(tmp_path)
    vectors = np.random.default_rng(0).standard_normal((2, 16))
    lines = [f"{w} {' '.join(f'{x:.5f}' for x in v)}" for w, v in zip(("cat", "dog"), vectors,
                                                                      strict=True)]  # fmt: skip
    (tmp_path / "vectors.txt").write_text("\n".join(lines) + "\n")
    words = [*SMALL[:3], f"init_from={tmp_path}/vectors.txt", "model.embedding=frozen"]
    run = classes(tmp_path, "frozen", *words, "trainer.max_steps=3", "evaluate=false")
    tokens = json.loads((run / "checkpoints/last/text_tokenizer.json").read_text())
    places = [len(tokens["special"]) + tokens["tokens"].index(w) for w in ("cat", "dog")]
    with safe_open(run / "checkpoints/last/model.safetensors", "pt") as file:
        rows = file.get_tensor("embedding.weight")[places].numpy()
    for row, vector in zip(rows, vectors, strict=True):
        cosine = row @ vector / np.linalg.norm(row) / np.linalg.norm(vector)
        assert cosine == pytest.approx(1, abs=1e-5)


def test_published_weights_are_begun_with_adapted_measured_and_exported(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    from tests.support.kinds import _write_checkpoint

    write_texts(tmp_path)
    folder = tmp_path / "bert"
    _write_checkpoint(folder)
    torch.manual_seed(0)
    settings = transformers.BertConfig(
        vocab_size=16, hidden_size=16, intermediate_size=20, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=32, pad_token_id=0,
    )  # fmt: skip
    transformers.BertModel(settings).save_pretrained(folder)
    words = [f"init_from={folder}", "method=lora", "method.lora.rank=2", "trainer.max_steps=6"]
    cls = ["model.pooling=cls", "model.pooler=true", "export=hf"]
    run = classes(tmp_path, "lora", *words, *cls)
    config = read_config(run / "config.yaml")
    assert (config["model"]["n_layers"], config["dataset"]["checkpoint"]) == (2, str(folder))
    names = set(torch_names(run / "checkpoints/best/model.safetensors"))
    assert "head.weight" in names and not [n for n in names if n.startswith("embedding.")]
    found = evaluate(change(config, []), run, tmp_path / "again", ["eval"])
    before = results(run)
    assert {m.name: m.value for m in found if m.name in before and not m.timing} == before
    theirs = transformers.BertForSequenceClassification.from_pretrained(run / "export/hf").eval()
    trained = load_trained(config, run)
    batch = next(iter(trained.dataset.batches("test", seed=0, epoch=0)))
    given = {"input_ids": batch.inputs, "attention_mask": (batch.inputs != 0).long()}
    with torch.no_grad():
        gap = theirs(**given).logits - trained.model(batch.inputs)
    assert gap.abs().max() < 1e-4
    assert theirs.config.id2label == {0: "no", 1: "yes"}
    tokenizer = transformers.AutoTokenizer.from_pretrained(run / "export/hf")
    assert tokenizer.mask_token is None and tokenizer.pad_token == "[PAD]"
    # an adapter that is trained on, and a folder that was exported here, whose vocabulary is told
    more = classes(tmp_path, "more", f"init_from={run}", *words[1:], *cls[:2])
    assert json.loads((more / "checkpoints/last/state.json").read_text())["state"]["base"]
    told = classes(tmp_path, "told", f"init_from={run}/export/hf", "trainer.max_steps=0", *cls[:2])
    assert results(told)["accuracy"] == before["accuracy"]
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="holds no safetensors"):
        load_trained(config, run)


def torch_names(path: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return list(file.keys())
