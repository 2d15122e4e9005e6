"""BLEU, chrF and the samples: scores of translations that are made once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sacrebleu import BLEU, CHRF, corpus_bleu, corpus_chrf

from scratchlab.data.sets.translation import Phrasebook
from scratchlab.errors import UserError
from scratchlab.evaluation.intervals import JACKKNIFE, bootstrap
from scratchlab.evaluation.outputs.translations import clip_sources, translations
from scratchlab.evaluation.text.bleu import Bleu
from scratchlab.evaluation.text.bleu_by_length import BleuByLength
from scratchlab.evaluation.text.chrf import Chrf
from scratchlab.evaluation.text.samples import Samples

Make = Callable[..., Any]


def test_the_references_themselves_score_100(make_context: Make, knowing: Make) -> None:
    context = make_context(decoder=knowing(lambda reference: reference))
    (bleu,) = Bleu(Bleu.Config()).evaluate(context)
    (chrf,) = Chrf(Chrf.Config()).evaluate(context)
    assert bleu.value == pytest.approx(100.0)
    assert chrf.value == pytest.approx(100.0)
    assert (bleu.low, bleu.high, bleu.spread) == (None, None, None)  # all resamplings alike
    assert (bleu.n, bleu.split, bleu.better) == (30, "test", "higher")


def test_scores_of_spoilt_references_are_sacrebleus_own(make_context: Make, knowing: Make) -> None:
    context = make_context(decoder=knowing(lambda r: " ".join(r.split()[:-2])))
    found = translations(context)
    (bleu,) = Bleu(Bleu.Config()).evaluate(context)
    (chrf,) = Chrf(Chrf.Config(word_order=2)).evaluate(context)
    assert bleu.value == corpus_bleu(found.hypotheses, [found.references]).score
    assert chrf.value == corpus_chrf(found.hypotheses, [found.references], word_order=2).score
    assert chrf.name == "chrf++"
    assert 20 < bleu.value < 95


def test_intervals_are_percentiles_of_sacrebleus_own_resamplings(
    make_context: Make, knowing: Make
) -> None:
    context = make_context(decoder=knowing(lambda r: " ".join(r.split()[: 9 - len(r) % 7])))
    found = translations(context)
    for evaluator, metric in (
        (Bleu(Bleu.Config(bootstrap=1000)), BLEU(force=True)),
        (Chrf(Chrf.Config(bootstrap=1000)), CHRF()),
    ):
        (measured,) = evaluator.evaluate(context)
        own = metric.corpus_score(found.hypotheses, [found.references], n_bootstrap=1000)
        assert measured.settings["signature"] == str(metric.get_signature())
        low, high = measured.low, measured.high
        assert measured.value == own.score and low < measured.value < high
        assert (high - low) / 2 == pytest.approx(own._ci, rel=0.02)
        assert measured.interval == bootstrap(1000) and measured.spread is None
        # A half width around the score would be another interval: this one is not symmetric.
        assert abs((high - measured.value) - (measured.value - low)) > 0.02 * (high - low)


def test_the_jackknifes_interval_of_many_sentences_is_about_that_of_resamplings(
    make_context: Make, knowing: Make
) -> None:
    context = make_context(decoder=knowing(lambda r: " ".join(r.split()[: 9 - len(r) % 7])))
    for evaluator in (Bleu, Chrf):
        (own,) = evaluator(evaluator.Config()).evaluate(context)
        (drawn,) = evaluator(evaluator.Config(bootstrap=1000)).evaluate(context)
        assert own.interval == JACKKNIFE and own.low < own.value == drawn.value < own.high
        assert own.high - own.low == pytest.approx(drawn.high - drawn.low, rel=0.15)


def test_the_signature_and_the_decoding_stand_in_the_settings(
    make_context: Make, beam: Any
) -> None:
    (bleu,) = Bleu(Bleu.Config(tokenize="intl", bootstrap=10)).evaluate(
        make_context(decoder=beam, limit=12)
    )
    assert "tok:intl" in bleu.settings["signature"] and "bs:10" in bleu.settings["signature"]
    assert (bleu.settings["decoding"], bleu.settings["beam_size"]) == ("beam", 3)
    assert bleu.n == 12


def test_case_is_ignored_only_where_outputs_are_lower_cased_or_when_asked(
    make_context: Make, knowing: Make, lower_cased_dataset: Phrasebook
) -> None:
    cased = make_context(decoder=knowing(lambda reference: reference))
    lower = make_context(
        dataset=lower_cased_dataset, decoder=knowing(lambda r: r, lower_cased_dataset)
    )

    def score(context: Any, asked: bool | None) -> tuple[float, str]:
        (bleu,) = Bleu(Bleu.Config(lowercase=asked)).evaluate(context)
        return bleu.value, bleu.settings["signature"]

    assert "case:mixed" in score(cased, None)[1]
    assert "case:lc" in score(cased, True)[1]
    assert "case:lc" in score(lower, None)[1]
    assert "case:mixed" in score(lower, False)[1]
    assert score(lower, False)[0] < score(lower, None)[0]


def test_all_evaluators_share_one_translation_of_the_split(
    make_context: Make, knowing: Make
) -> None:
    decoder = knowing(lambda reference: reference)
    context = make_context(decoder=decoder)
    for evaluator in (Bleu(Bleu.Config()), Chrf(Chrf.Config()), Samples(Samples.Config())):
        evaluator.evaluate(context)
    assert decoder.calls == 1


def test_between_epochs_there_is_no_bootstrap(make_context: Make, knowing: Make) -> None:
    context = make_context(decoder=knowing(lambda reference: reference), quick=True)
    (bleu,) = Bleu(Bleu.Config()).evaluate(context)
    assert bleu.low is None and "bs:" not in bleu.settings["signature"]


def test_translations_do_not_move_with_the_batch_size(make_context: Make, beam: Any) -> None:
    for decoder in (make_context().decoder, beam):
        alone = translations(make_context(decoder=decoder, batch_size=1, limit=12))
        together = translations(make_context(decoder=decoder, batch_size=64, limit=12))
        assert alone.hypotheses == together.hypotheses
        assert alone.log_probabilities == pytest.approx(together.log_probabilities, abs=1e-3)


def test_hypotheses_stand_beside_their_own_sources(make_context: Make, knowing: Make) -> None:
    found = translations(make_context(decoder=knowing(lambda r: r), batch_size=7))
    assert found.hypotheses == found.references
    assert len(set(found.sources)) > 20


def test_without_a_decoder_the_message_names_the_option(make_context: Make) -> None:
    with pytest.raises(UserError, match="decoding=beam"):
        translations(make_context(decoder=None))


def test_sources_too_long_for_the_model_lose_their_end_but_not_the_end_mark(
    dataset: Phrasebook,
) -> None:
    limit = dataset.spec.max_source_length
    assert limit is not None
    rows, clipped = clip_sources([[9] * (limit + 5) + [3], [9, 3]], dataset.spec)
    assert clipped == 1
    assert len(rows[0]) == limit and rows[0][-2:] == [9, 3]
    assert rows[1] == [9, 3]


def test_samples_show_some_rows_and_keep_all_of_them(make_context: Make, knowing: Make) -> None:
    contexts = [make_context(decoder=knowing(lambda r: r.lower()), seed=s) for s in (3, 3, 4)]
    for context in contexts:
        assert Samples(Samples.Config(count=5)).evaluate(context) == []
    tables = [context.sink.tables["samples"] for context in contexts]
    assert tables[0] == tables[1] != tables[2]
    columns, rows = tables[0]
    assert columns == ("source", "reference", "hypothesis", "chrF")
    assert len(rows) == 5
    kept = list(contexts[0].records["translations"].lines())
    assert [row["id"] for row in kept] == list(range(30))
    assert set(kept[0]) == {"id", "given", "expected", "said", "chrf", "log_probability"}
    assert all(0 <= row["chrf"] <= 100 for row in kept)


def test_bleu_by_length_is_sacrebleus_of_each_group_and_draws_them(
    make_context: Make, knowing: Make
) -> None:
    context = make_context(decoder=knowing(lambda r: " ".join(r.split()[:6])))
    assert BleuByLength(BleuByLength.Config(groups=3)).evaluate(context) == []
    columns, rows = context.sink.tables["bleu_by_length"]
    assert columns == ("source length in words", "sentences", "chrF", "BLEU")
    found = translations(context)
    lengths = [len(source.split()) for source in found.sources]
    assert 2 <= len(rows) <= 3 and sum(row[1] for row in rows) == 30
    for label, count, chrf, bleu in rows:
        first, _, last = label.partition("–")
        inside = [i for i, n in enumerate(lengths) if int(first) <= n <= int(last or first)]
        assert len(inside) == count
        written = [found.hypotheses[i] for i in inside]
        wanted = [[found.references[i] for i in inside]]
        assert bleu == pytest.approx(corpus_bleu(written, wanted).score, abs=1e-4)
        assert chrf == pytest.approx(corpus_chrf(written, wanted).score, abs=1e-4)
    assert rows[0][3] > rows[-1][3]  # what is cut off is more of a long sentence
    assert "bleu_by_length" in context.sink.figures
    quick = make_context(decoder=context.decoder, quick=True)
    assert BleuByLength(BleuByLength.Config()).evaluate(quick) == [] and not quick.sink.tables


def test_lengths_may_be_counted_in_characters_and_one_group_is_all(
    make_context: Make, knowing: Make
) -> None:
    context = make_context(decoder=knowing(lambda r: r))
    BleuByLength(BleuByLength.Config(groups=1, unit="character")).evaluate(context)
    ((label, count, chrf, bleu),) = context.sink.tables["bleu_by_length"][1]
    lengths = [len(s) for s in translations(context).sources]
    assert label == f"{min(lengths)}–{max(lengths)}" and count == 30
    assert (chrf, bleu) == (100.0, 100.0)
