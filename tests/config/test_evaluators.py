"""Whether evaluators fit a data set, a model and its methods is known before anything starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scratchlab.config.compose import compose
from scratchlab.config.evaluators import ASKS, DATA
from scratchlab.errors import ConfigError, TrainingError
from scratchlab.lab import train as experiment
from scratchlab.lab.evaluate import evaluate
from scratchlab.registry import parts

MISFITS = {
    "rows for texts": (
        ["dataset=sst2", "model=minilm", "evaluator=[feature_space,classification]"],
        "evaluator.feature_space: feature_space is for rows of numbers (a table or images), which",
    ),
    "answers for running text": (
        ["model=gpt", "evaluator=[rouge]"],
        "evaluator.rouge: rouge is for texts with the answers that are wanted, which python_docs",
    ),
    "questions for summaries": (
        ["model=gpt", "dataset=docstrings", "evaluator=[exact_match]"],
        "exact_match is for questions with one right answer, which docstrings does not hold",
    ),
    "another task": (
        ["model=gpt", "evaluator=[bleu]"],
        "bleu is for seq2seq, but the data set python_docs poses language_modeling",
    ),
    "another task at validation": (
        ["model=gpt", "trainer.validation_evaluators=[bleu]"],
        "trainer.validation_evaluators: bleu is for seq2seq, but the data set python_docs",
    ),
    "rows for texts at validation": (
        ["dataset=sst2", "model=minilm", "trainer.validation_evaluators=[feature_importance]"],
        "trainer.validation_evaluators: feature_importance is for rows of numbers",
    ),
    "nothing quantized": (
        ["model=gpt", "method=lora", "evaluator=[quantization_error]"],
        "quantization_error is for quantized weights; gpt has none "
        "(it goes with method=bf16 and method=bitsandbytes and method=int8 "
        "and method=nf4)",
    ),
    "no members": (
        ["model=logistic", "dataset=digits", "evaluator=[ensemble]"],
        "ensemble is for the members of an ensemble; logistic has none (it goes with model=bagging",
    ),
    "no convolutions": (
        ["model=mlp", "dataset=digits", "evaluator=[feature_maps]"],
        "feature_maps is for convolutions; mlp has none (it goes with model=cnn)",
    ),
    "no search": (
        ["model=transformer_mt", "decoding=null", "evaluator=[bleu]"],
        "bleu is for what the model writes, and no decoding is chosen (for example decoding=beam)",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_an_evaluator_that_does_not_fit_is_refused_with_those_that_do(case: str) -> None:
    words, expected = MISFITS[case]
    with pytest.raises(ConfigError) as error:
        compose(words)
    assert expected in str(error.value)
    assert "Evaluators that fit: " in str(error.value)
    wrong = expected.partition(" is for")[0].rpartition(" ")[2]
    (hint,) = [f.hint for f in error.value.faults]
    assert wrong not in hint and "size" in hint


@pytest.mark.parametrize(
    "words",
    [
        ["dataset=docstrings", "model=gpt", "evaluator=[rouge,lead3,perplexity]"],
        ["dataset=docstring_pairs", "model=transformer_mt", "evaluator=[rouge]", "decoding=beam"],
        ["dataset=birthplaces", "model=gpt", "evaluator=[exact_match]"],
        ["dataset=digits", "model=cnn", "evaluator=[feature_maps,feature_space,mistakes]"],
        ["dataset=wine_cultivars", "model=bagging", "evaluator=[ensemble,feature_importance]"],
        ["model=gpt", "method=[nf4,lora]", "evaluator=[quantization_error]"],
        ["dataset=digits", "model=autoencoder", "evaluator=[reconstruction,feature_space]"],
        ["dataset=mr", "model=text_encoder", "evaluator=[classification,encoder_attention]"],
        ["dataset=mr", "model=text_encoder_pretraining", "evaluator=[masked_lm,size]"],
    ],
)
def test_evaluators_that_fit_are_taken(words: list[str]) -> None:
    compose(words)


def test_what_data_sets_say_that_they_hold_is_what_their_classes_are() -> None:
    from scratchlab.data.contract import ArrayDataset, TranslationDataset
    from scratchlab.data.kinds.document_questions import DocumentQuestions
    from scratchlab.data.kinds.image_rows import ImageDataset
    from scratchlab.data.kinds.prompted import PromptedDataset
    from scratchlab.data.kinds.questions import QuestionDataset
    from scratchlab.data.kinds.retrieval import RetrievalDataset
    from scratchlab.data.kinds.text_classes import TextClassDataset

    kinds = {
        "rows": (ArrayDataset,),
        "images": (ImageDataset,),
        "answers": (PromptedDataset, TranslationDataset),
        "questions": (QuestionDataset,),
        "texts": (TextClassDataset,),
        "queries": (RetrievalDataset,),
        "cited_answers": (DocumentQuestions,),
        "passages": (RetrievalDataset, DocumentQuestions),
    }
    assert set(kinds) == set(DATA)
    for name, part in parts("dataset").items():
        cls = part.load()
        expected = {kind for kind, classes in kinds.items() if issubclass(cls, classes)}
        assert set(part.facts.get("holds", ())) == expected, name


def test_what_evaluators_ask_for_is_offered_somewhere_and_has_words() -> None:
    offered = {
        fact
        for kind in ("model", "estimator", "method")
        for part in parts(kind).values()
        for fact in part.facts.get("offers", ())
    }
    asked = {p.facts["asks"] for p in parts("evaluator").values() if "asks" in p.facts}
    assert asked == offered == set(ASKS)


def test_one_evaluator_that_fails_leaves_the_results_of_the_others(tmp_path: Path) -> None:
    words = [
        "model=logistic",
        "dataset=wine_cultivars",
        "evaluator=[mistakes,classification,size]",
        "evaluator.mistakes.compare=[no-such-run]",
        "tracker=jsonl",
        "run_id=one",
        f"output_dir={tmp_path}",
        f"cache_dir={tmp_path / 'cache'}",
    ]
    config = compose(words).config
    for when in ("train", "eval"):
        with pytest.raises(TrainingError) as error:
            if when == "train":
                experiment.train(config, words, ["train", *words])
            else:
                run = next(tmp_path.glob("*/one"))
                evaluate(config, run, run, ["eval"])
        assert error.value.exit_code == 1
        assert "evaluator mistakes failed: compare: there is no run 'no-such-run'" in str(
            error.value
        )
        run = next(tmp_path.glob("*/one"))
        folder = run if when == "train" else next((run / "evaluations").glob("2*"))
        found = json.loads((folder / "results.json").read_text())
        rows = found["measurements"] if isinstance(found, dict) else found
        assert "accuracy" in {row["name"] for row in rows}
        assert json.loads((folder / "status.json").read_text())["status"] == "failed"


def test_an_evaluator_without_memory_says_what_to_change_and_the_others_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scratchlab.evaluation.cost.size import Size

    def full(*_: object) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(Size, "evaluate", full)
    words = ["model=logistic", "dataset=wine_cultivars", "evaluator=[size,classification]",
             "tracker=[]", "run_id=one", f"output_dir={tmp_path}",
             f"cache_dir={tmp_path / 'cache'}"]  # fmt: skip
    with pytest.raises(TrainingError) as error:
        experiment.train(compose(words).config, words, ["train", *words])
    said = str(error.value)
    assert "evaluator size failed: out of memory: there was no room for 20.00 GiB more" in said
    assert "Try fewer rows or features" in said and "The other results are written." in said
    assert "accuracy" in (next(tmp_path.glob("*/one")) / "results.json").read_text()


@pytest.mark.parametrize(
    ("text", "tokenizer", "message"),
    [
        ("the cat <s> sat on the mat\n", "whitespace", "the word '<s>' stands twice"),
        ("one ␣ two three four\n", "char", "the word '␣' stands twice"),
    ],
)
def test_a_text_that_an_arpa_file_cannot_hold_is_refused_before_training(
    tmp_path: Path, text: str, tokenizer: str, message: str
) -> None:
    from scratchlab.errors import UserError

    (tmp_path / "text.txt").write_text(text * 60)
    words = [
        "model=ngram",
        "dataset=text_file",
        f"dataset.paths=[{tmp_path / 'text.txt'}]",
        f"dataset.tokenizer={tokenizer}",
        "export=arpa",
        "tracker=jsonl",
        "run_id=one",
        f"output_dir={tmp_path / 'out'}",
        f"cache_dir={tmp_path / 'cache'}",
    ]
    with pytest.raises(UserError) as error:
        experiment.train(compose(words).config, words, ["train", *words])
    assert message in str(error.value)
    assert not list(tmp_path.glob("out/*/one/checkpoints/*"))
