"""ROUGE of texts in any script."""

from __future__ import annotations

import pytest

from scratchlab.evaluation.text.rouge import rouge_scores
from scratchlab.evaluation.text.rouge_words import CHARACTERS, PLAIN, UNICODE, UnicodeWords

pytest.importorskip("rouge_score")

ENGLISH = [
    "Officials say the café reopened.",
    *["Nobody was hurt in the fires of last week. Its owner had left the town an hour before."] * 9,
]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Officials said that nobody was hurt. It ended.", PLAIN),
        ("Il est tard. Élise dort déjà à côté.", UNICODE),
        ("Уже поздно. Элиза спит.", UNICODE),
        ("हम घर जाते हैं। वे सोते हैं।", UNICODE),
        ("天晚了。他睡了！", CHARACTERS),
        ("คนไทยกินข้าว", CHARACTERS),
    ],
)
def test_equal_texts_have_full_marks_in_every_script(text: str, words: str) -> None:
    scores, settings = rouge_scores([text], [text], stemmer=True)
    assert scores.tolist() == [[100.0] * 4]
    assert settings == {"words": words, "stemmer": words == PLAIN}


def test_english_is_scored_as_the_library_does_it_a_few_accents_included() -> None:
    from rouge_score.rouge_scorer import RougeScorer

    references = ENGLISH
    written = ["The cafe reopened, officials say.", *["No one was hurt. The town burnt."] * 9]
    scores, settings = rouge_scores(written, references, stemmer=True)
    assert settings == {"words": PLAIN, "stemmer": True}
    scorer = RougeScorer(["rouge1", "rougeL"], use_stemmer=True)
    for row, text, reference in zip(scores, written, references, strict=True):
        plain = scorer.score(reference, text)
        assert row[0] == 100 * plain["rouge1"].fmeasure
        assert row[2] == 100 * plain["rougeL"].fmeasure


def test_words_keep_their_marks_and_characters_stand_alone_where_there_are_no_spaces() -> None:
    assert UnicodeWords().tokenize("L’École, e\u0301te\u0301 2024!") == [
        "l",
        "école",
        "été",
        "2024",
    ]
    assert UnicodeWords().tokenize("हिन्दी में") == ["हिन्दी", "में"]
    assert UnicodeWords().tokenize("GPT在2024年") == ["gpt", "在", "2024", "年"]
