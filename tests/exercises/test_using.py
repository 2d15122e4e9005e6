"""``exercise use``: a model trains with a person's part, and the run remembers whose it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from scratchlab.commands import eval as evaluation
from scratchlab.commands import predict, train
from scratchlab.commands.exercise import main
from scratchlab.config.compose import compose
from scratchlab.errors import UserError
from scratchlab.exercises.checking.solution import load_exercise, read_solution
from scratchlab.exercises.using import in_place, refused
from tests.exercises.alternatives import right, with_mistakes

COMMON = ["threads=1", "pictures=false", "tracker=[jsonl]"]
TORCH = [
    *COMMON,
    "trainer.precision=fp32",
    "trainer.validation_evaluators=[]",
    "trainer.max_steps=4",
]
GPT = [*TORCH, "model=gpt", "model.d_model=16", "model.n_heads=2", "model.n_layers=1",
       "dataset=text_file", "dataset.block_size=16", "dataset.batch_size=4",
       "evaluator=[perplexity]"]  # fmt: skip
MT = [*TORCH, "model=transformer_mt", "model.d_model=16", "model.n_heads=2", "model.d_ff=32",
      "model.encoder_layers=1", "model.decoder_layers=1", "dataset=phrasebook_en_fr",
      "dataset.train_pairs=300", "dataset.val_pairs=20", "dataset.test_pairs=20",
      "dataset.vocab_size=300", "dataset.batch_tokens=256", "evaluator=[perplexity]"]  # fmt: skip
RNN = [*TORCH, "model=rnn_lm", "model.cell_impl=scratch", "model.d_model=16", "model.n_layers=1",
       "dataset=text_file", "evaluator=[perplexity]"]  # fmt: skip
WAYS = {
    "attention": [GPT, MT,
                  [*GPT, "evaluator=[perplexity,attention_shares]", "dataset.block_size=32"],
                  [*GPT, "model.attention_dropout=0.5"]],
    "multi_head_attention": [[*GPT, "model.positions=learned", "decoding.max_new_tokens=5",
                              "evaluator=[perplexity,generation_samples]"]],
    "layer_norm": [GPT, MT, [*GPT, "model.bias=false"]],
    "positions": [[*GPT, "model.positions=sinusoidal"], MT],
    "rotary": [[*GPT, "model.positions=rotary"], [*MT, "model.positions=rotary"]],
    "dropout": [[*GPT, "model.dropout=0.1"]],
    "lstm": [RNN],
    "cross_entropy": [GPT, MT, RNN],
    "adam": [[*GPT, "optimizer=adam"], [*MT, "optimizer=adamw"]],
    "lora": [[*GPT, "method=lora", "method.lora.rank=2"]],
    "int8": [[*GPT, "method=[int8,lora]", "method.lora.rank=2", "method.int8.path=reference",
              f"method.int8.scheme={scheme}", f"method.int8.per={per}"]
             for scheme, per in (("absmax", "channel"), ("zero_point", "tensor"))],
    "nf4": [[*GPT, "method=[nf4,lora]", "method.lora.rank=2", "method.nf4.double=false",
             "method.nf4.path=reference"]],
    "backprop": [[*COMMON, "model=mlp", "model.epochs=2", "model.hidden=[8]", "model.l2=0.01"]],
    "skipgram": [[*COMMON, "model=skipgram", "model.epochs=2", "model.vector_size=8",
                  "model.min_count=1", "dataset=text_file", "evaluator=[]"]],
    "kneser_ney": [[*COMMON, "model=ngram", "model.order=3", "dataset=text_file",
                    "evaluator=[perplexity]"]],
    "tfidf": [[*COMMON, "model=logistic", "model.epochs=5", "dataset=docstring_topics",
               "representation=tfidf", "representation.max_features=100"]],
    "bpe": [MT],
    "beam_search": [[*MT, "evaluator=[perplexity,bleu]", "decoding.beam_size=3"]],
    "nucleus": [[*GPT, "evaluator=[generation_samples]", "decoding.top_p=0.8",
                 "decoding.max_new_tokens=5"]],
}  # fmt: skip
CHANCE = ("dropout", "lora", "bpe", "nucleus")
"""What draws other numbers, or parts words otherwise where pairs are equally frequent."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCRATCHLAB_CACHE", str(tmp_path / "cache"))
    words = [f"w{i * i % 23}" for i in range(900)]
    lines = [" ".join(words[i : i + 9]) for i in range(0, 900, 9)]
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}.txt").write_text("\n".join(lines))
    return tmp_path


def whole(words: list[str]) -> list[str]:
    """The words of a command, with the files of a text where it reads one."""
    files = ["dataset.paths=[train.txt]", "dataset.val_paths=[val.txt]",
             "dataset.test_paths=[test.txt]"]  # fmt: skip
    return [*words, *(files if "dataset=text_file" in words else [])]


def solution_of(name: str, text: str | None = None) -> Any:
    Path(f"{name}.py").write_text(right(name) if text is None else text, encoding="utf-8")
    return read_solution(f"{name}.py")


def figures(run: str) -> dict[str, float]:
    found = json.loads(Path("outputs", run, "results.json").read_text(encoding="utf-8"))
    return {m["name"]: m["value"] for m in found if not m["timing"]}


def test_a_run_with_a_part_of_ones_own_is_used_with_that_file_only(here: Path) -> None:
    solution, words = solution_of("attention"), whole(GPT)
    assert main(["use", "attention.py", *words, "name=a", "run_id=own"]) == 0
    assert train.main([*words, "name=a", "run_id=plain"]) == 0
    assert figures("a/own") == pytest.approx(figures("a/plain"), rel=1e-5)
    manifest = json.loads(Path("outputs/a/own/manifest.json").read_text(encoding="utf-8"))
    told = {"exercise": "attention", "file": "attention.py", "sha256": solution.sha256,
            "right": True}  # fmt: skip
    assert manifest["own_part"] == told
    assert manifest["command"][:4] == ["scratchlab", "exercise", "use", "attention.py"]
    state = json.loads(Path("outputs/a/own/checkpoints/best/state.json").read_text())["state"]
    assert state["own_part"] == told
    assert str(here) not in json.dumps(manifest["own_part"]) + json.dumps(state)
    alone = shutil.copytree("outputs/a/own/checkpoints/best", "alone")
    refusals = [
        lambda: evaluation.main(["outputs/a/own"]),
        lambda: evaluation.main([str(alone)]),
        lambda: predict.main(["outputs/a/own", "w1"]),
        lambda: train.main(["resume=outputs/a/own", "trainer.max_steps=6"]),
        lambda: train.main([*words, "init_from=outputs/a/own"]),
    ]
    for refused_command in refusals:
        with pytest.raises(UserError, match=r"was made with attention of attention\.py") as error:
            refused_command()
        assert "scratchlab exercise use attention.py" in error.value.hint
    used("attention", evaluation.main, "outputs/a/own", "evaluate_split=val")
    used("attention", predict.main, "alone", "w1 w4", "decoding.max_new_tokens=2")
    used("attention", train.main, "resume=outputs/a/own", "trainer.max_steps=6")
    with pytest.raises(UserError, match=r"was begun without attention\.py"):
        used("attention", train.main, "resume=outputs/a/plain", "trainer.max_steps=6")
    used("attention", evaluation.main, "outputs/a/plain")
    Path("attention.py").write_text(right("attention") + "\n# another thought\n")
    with pytest.raises(UserError, match="as it was then"):
        used("attention", evaluation.main, "outputs/a/own")


def used(name: str, command: Any, *words: str) -> None:
    """As ``exercise use`` runs a command, without checking the file again."""
    with in_place(read_solution(f"{name}.py"), load_exercise(name), True):
        assert command(list(words)) == 0


def test_a_wrong_part_is_used_as_it_is_and_said_to_be_wrong(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*COMMON, "model=mlp", "model.epochs=1", "model.hidden=[4]", "name=a"]
    (mistake,) = [m for m in load_exercise("backprop").MISTAKES if m.name == "gradient of the sum"]
    solution_of("backprop", with_mistakes("backprop", mistake))
    assert main(["use", "backprop.py", *words, "run_id=own"]) == 0
    said = "is not right (loss_and_gradients: gradient of the sum); it is used as it is"
    assert said in capsys.readouterr().err
    results = json.loads(Path("outputs/a/own/results.json").read_text(encoding="utf-8"))
    assert "which is not right" in results[0]["settings"]["own_part"]
    for code, told in (("raise NotImplementedError", "is not written yet"),
                       ("return x.nothing", "has no attribute 'nothing'")):  # fmt: skip
        head = "def loss_and_gradients(x, targets, weights, biases):"
        Path("backprop.py").write_text(f'"""Exercise backprop"""\n\n\n{head}\n    {code}\n')
        with pytest.raises(UserError, match=told):
            main(["use", "backprop.py", *words, "run_id=other"])
    assert not Path("outputs/a/other").exists()


def test_an_exception_in_a_run_names_the_line_and_everything_is_put_back(here: Path) -> None:
    from torch import nn

    before = nn.LayerNorm.forward
    text = right("layer_norm").replace("    mean =", "    assert x.shape[-1] < 9\n    mean =", 1)
    with in_place(solution_of("layer_norm", text), load_exercise("layer_norm"), True):
        assert nn.LayerNorm.forward is not before
        with pytest.raises(UserError, match=r"layer_norm\.py, line 7: assert x\.shape"):
            train.main(whole(GPT))
    assert nn.LayerNorm.forward is before


def test_no_configuration_can_name_a_file(here: Path) -> None:
    solution_of("attention")
    for word in ("own_part=attention.py", "exercise=attention.py", "model.own_part=attention.py",
                 "+own_part=attention.py"):  # fmt: skip
        with pytest.raises(UserError):
            compose([*whole(GPT), word])


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(WAYS))
def test_a_model_trained_with_a_right_solution_is_the_built_in_one(here: Path, name: str) -> None:
    solution, exercise = solution_of(name), load_exercise(name)
    for number, words in enumerate(map(whole, WAYS[name])):
        assert refused(solution, exercise, compose(words).config) is None
        with in_place(solution, exercise, True) as used:
            train.main([*words, "name=u", f"run_id=own{number}"])
            assert used.calls
        train.main([*words, "name=u", f"run_id=plain{number}"])
        if name in CHANCE or "model.attention_dropout=0.5" in words:
            continue
        own, plain = figures(f"u/own{number}"), figures(f"u/plain{number}")
        assert own == pytest.approx(plain, rel=2e-4)
        for file in Path(f"outputs/u/plain{number}/outputs").glob("*.jsonl"):
            said = [texts_of(run, number, file.name) for run in ("own", "plain")]
            assert said[0] == said[1], file.name


def texts_of(run: str, number: int, name: str) -> list[dict[str, Any]]:
    """What a run said to each example, without numbers that rounding moves."""
    lines = Path(f"outputs/u/{run}{number}/outputs", name).read_text(encoding="utf-8").splitlines()
    records = map(json.loads, lines)
    return [{k: v for k, v in one.items() if not isinstance(v, float | list)} for one in records]


@pytest.mark.slow
def test_word_vectors_of_a_solution_are_those_of_the_compiled_update(here: Path) -> None:
    from safetensors.numpy import load_file

    words = whole(WAYS["skipgram"][0])
    with in_place(solution_of("skipgram"), load_exercise("skipgram"), True):
        train.main([*words, "name=u", "run_id=own"])
    train.main([*words, "name=u", "run_id=plain"])
    own, plain = (load_file(f"outputs/u/{run}/checkpoints/last/model.safetensors")
                  for run in ("own", "plain"))  # fmt: skip
    assert abs(own["inputs"] - plain["inputs"]).max() < 1e-4


def test_every_exercise_that_says_so_is_used_somewhere() -> None:
    from scratchlab.exercises.checking.solution import exercise_parts

    assert set(WAYS) == {n for n, part in exercise_parts().items() if "use" in part.facts}
