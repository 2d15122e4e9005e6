"""What is kept of each example, and the figures that are made again from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sacrebleu import BLEU, CHRF
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

from scratchlab.errors import UserError
from scratchlab.evaluation import records
from scratchlab.evaluation.contract import EvaluationContext, Measurement
from scratchlab.evaluation.records import Records
from scratchlab.evaluation.rescoring import STATISTICS, statistic
from scratchlab.evaluation.rescoring.corpus import bleu_of, chrf_of
from scratchlab.evaluation.text.bleu import Bleu
from scratchlab.evaluation.text.chrf import Chrf
from scratchlab.evaluation.text.perplexity import Perplexity
from scratchlab.evaluation.text.samples import Samples
from scratchlab.reporting.results import write_results
from scratchlab.reporting.sink import FolderSink, NullSink
from tests.support.outputs import made_again

Make = Callable[..., Any]


def nowhere() -> EvaluationContext:
    return EvaluationContext(None, None, None, "test", "cpu", NullSink())  # type: ignore[arg-type]


def test_scores_of_translations_are_made_again_from_one_file(
    make_context: Make, knowing: Make, tmp_path: Path
) -> None:
    context = make_context(decoder=knowing(lambda r: " ".join(r.split()[: 9 - len(r) % 7])))
    chosen = (Bleu(Bleu.Config()), Chrf(Chrf.Config(word_order=2)), Samples(Samples.Config()))
    found: list[Measurement] = [
        m for e in (*chosen, Perplexity(Perplexity.Config())) for m in e.evaluate(context)
    ]
    sink = FolderSink(tmp_path)
    written = {name: sink.outputs(kept) for name, kept in context.records.items()}
    for one in found:
        one.examples = one.examples | written[one.examples["file"]]
    write_results(tmp_path, found)
    assert set(written) == {"translations", "likelihoods"}
    assert made_again(tmp_path) == {"bleu", "chrf++", "perplexity"}
    line = json.loads((tmp_path / "outputs/translations.jsonl").read_text().split("\n")[0])
    assert line["said"] == context.dataset.references("test")[0][: len(line["said"])]


def test_evaluators_share_a_file_and_may_not_mix_examples() -> None:
    context = nowhere()
    first = context.keep("x", said=["a", "b"])
    assert context.keep("x", said=["a", "b"], score=[1, 2]) is first
    assert [*first.lines()] == [
        {"id": 0, "said": "a", "score": 1},
        {"id": 1, "said": "b", "score": 2},
    ]
    with pytest.raises(ValueError, match="other examples"):
        context.keep("x", said=["a"])
    with pytest.raises(ValueError, match="1 values of 'more' for 2 examples"):
        first.add({"more": [1]})


def test_what_is_cut_is_said_and_the_hash_of_the_data_is_of_the_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    long = [f"{i} " * 200 for i in range(3)]
    ours, theirs = (Records("x", range(3)) for _ in range(2))
    ours.add({"given": long, "expected": ["a", "b", "c"], "said": [float("nan"), np.int64(2), "c"]})
    theirs.add({"given": [text + "!" for text in long], "expected": ["a", "b", "c"]})
    first, second, _ = ours.lines()
    assert len(first["given"]) == records.SHOWN + 1 and first["said"] is None
    assert second["said"] == 2 and isinstance(second["said"], int)
    assert ours.cut == f"3 given texts cut to {records.SHOWN} characters"
    assert ours.data() != theirs.data()
    monkeypatch.setattr(records, "MOST", 2)
    assert [line["id"] for line in ours.lines()] == [0, 1]
    assert ours.cut.startswith("2 of 3 examples, evenly spread")


@pytest.mark.parametrize("seed", range(3))
def test_figures_of_sums_are_sacrebleus(seed: int) -> None:
    rng = np.random.default_rng(seed)
    words = np.array(["the", "a", "cat", "sat", "on", "mat", "dog", "."])
    texts = [" ".join(rng.choice(words, rng.integers(1, 9))) for _ in range(40)]
    said = [" ".join(rng.permutation(t.split())[: rng.integers(1, 9)]) for t in texts]
    for metric, score in ((BLEU(force=True), bleu_of), (CHRF(word_order=2), chrf_of)):
        counts = metric._extract_corpus_statistics(said, [texts])
        for chosen in (counts, counts[:1], counts[3:5], counts[7:8], counts[:10]):
            own = metric._aggregate_and_compute(chosen).score
            assert float(score(np.array(chosen, float).sum(0))) == pytest.approx(own, rel=1e-12)
    assert bleu_of(np.zeros(10)) == 0 and chrf_of(np.zeros(18)) == 0


def test_figures_of_classes_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    truth, said = rng.choice(list("abcd"), 80), rng.choice(list("abc"), 80)
    for name, other in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        for weighted in (False, True):
            own = STATISTICS["classes"](
                {"said": said, "expected": truth}, measure=name, weighted=weighted
            )
            average = "weighted" if weighted else "macro"
            expected = other(truth, said, average=average, zero_division=0)
            assert own.value() == pytest.approx(expected), (name, weighted)


def test_ranks_and_areas_are_those_of_the_weighted_sample() -> None:
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 4, 60)
    rating = rng.integers(0, 9, 60) / 8
    names = np.where(rng.random(60) < 0.4, "yes", "no")
    area = STATISTICS["roc_auc"]({"expected": names, "rating": rating}, positive="yes")
    drawn = np.repeat(np.arange(60), weights)
    assert area.of(weights.astype(float)) == pytest.approx(
        roc_auc_score(names[drawn] == "yes", rating[drawn])
    )
    without = [roc_auc_score(np.delete(names, i) == "yes", np.delete(rating, i)) for i in range(60)]
    assert area.without_each() == pytest.approx(np.array(without))
    from scipy.stats import spearmanr

    other = rating + rng.normal(0, 0.3, 60)
    ranks = STATISTICS["spearman"]({"said": rating, "expected": other})
    found = float(ranks.of(weights.astype(float)))
    assert found == pytest.approx(spearmanr(rating[drawn], other[drawn])[0])
    assert ranks.value() == pytest.approx(spearmanr(rating, other)[0])
    alone = [spearmanr(np.delete(rating, i), np.delete(other, i))[0] for i in range(60)]
    assert ranks.without_each() == pytest.approx(np.array(alone))


def test_files_that_lack_what_a_figure_is_made_of_are_refused() -> None:
    how = {"file": "outputs/x.jsonl", "statistic": "mean", "column": "score"}
    with pytest.raises(UserError, match="has no 'score' in its lines"):
        statistic(how, {"id": [0]})
    with pytest.raises(UserError, match="holds a 'score' that is no number"):
        statistic(how, {"id": [0], "score": [None]})
    with pytest.raises(UserError, match="'maen', which is not known here"):
        statistic(how | {"statistic": "maen"}, {"id": [0]})
    with pytest.raises(UserError, match="options that it does not have"):
        statistic(how | {"colour": 1}, {"id": [0], "score": [1]})
