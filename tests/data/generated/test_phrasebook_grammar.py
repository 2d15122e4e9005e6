"""The phrasebook's grammar against translations written by hand, phenomenon by phenomenon."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest

from scratchlab.data.generated.phrasebook.grammar import (
    WHO,
    Clause,
    Existence,
    NounPhrase,
    Place,
    Sentence,
    english,
    french,
    join_french,
)
from scratchlab.data.generated.phrasebook.lexicon import (
    ADJECTIVES,
    BE,
    FREQUENCIES,
    GENERIC,
    NOUNS,
    NUMBERS,
    POSSESSIVES,
    PREPOSITIONS,
    PRONOUNS,
    THE,
    THIS,
    TIMES,
    VERBS,
    A,
)
from scratchlab.data.generated.phrasebook.sampling import sample_sentence
from scratchlab.data.generated.phrasebook.words import (
    Determiner,
    conjugate_er,
    conjugate_ir,
    conjugate_re,
    starts_with_vowel,
)

NOUN = {n.en: n for n in NOUNS}
ADJECTIVE = {a.en: a for a in ADJECTIVES}
VERB = {v.base: v for v in (*VERBS, BE)}
TIME = {t.en: t for t in TIMES}
OFTEN, ALWAYS = FREQUENCIES[:2]
MY, YOUR, HIS, HER, OUR, THEIR = POSSESSIVES
ME, HE, SHE, WE, YOU, THEY = PRONOUNS


def phrase(
    determiner: Determiner, text: str, plural: bool = False, owner: NounPhrase | None = None
) -> NounPhrase:
    """A noun phrase from dictionary forms: ``phrase(THE, "little black cat")``."""
    *adjectives, noun = text.split()
    before = [ADJECTIVE[a] for a in adjectives if ADJECTIVE[a].before_noun]
    after = [ADJECTIVE[a] for a in adjectives if not ADJECTIVE[a].before_noun]
    sides = before[0] if before else None, after[0] if after else None
    return NounPhrase(determiner, NOUN[noun], plural, *sides, owner)


def place(preposition: str, governed: NounPhrase) -> Place:
    return Place(PREPOSITIONS[preposition], governed)


def the(text: str) -> tuple[NounPhrase]:
    return (phrase(THE, text),)


def many(text: str) -> tuple[NounPhrase]:
    return (phrase(THE, text, plural=True),)


EAT, DRINK, SEE, BUY, GIVE = (VERB[v] for v in ("eat", "drink", "see", "buy", "give"))
GO, COME, STAY, SLEEP = (VERB[v] for v in ("go", "come", "stay", "sleep"))
RED_APPLES = phrase(THE, "red apple", plural=True)
HAPPY = ADJECTIVE["happy"]

STATEMENTS: list[tuple[Clause, str, str]] = [
    (
        Clause(the("little girl"), EAT, negation="not", complement=RED_APPLES),
        "The little girl does not eat the red apples.",
        "La petite fille ne mange pas les pommes rouges.",
    ),
    (
        Clause(the("doctor"), SEE, complement=phrase(A, "old man")),
        "The doctor sees an old man.",
        "Le médecin voit un vieil homme.",
    ),
    (
        Clause(ME, VERB["love"], complement=phrase(THIS, "beautiful bird")),
        "I love this beautiful bird.",
        "J'aime ce bel oiseau.",
    ),
    (
        Clause(WE, VERB["know"], complement=phrase(A, "new hotel")),
        "We know a new hotel.",
        "Nous connaissons un nouvel hôtel.",
    ),
    (
        Clause(SHE, BUY, "past", complement=phrase(THIS, "orange")),
        "She bought this orange.",
        "Elle a acheté cette orange.",
    ),
    (
        Clause((phrase(THIS, "child"),), DRINK, complement=phrase(A, "water")),
        "This child drinks some water.",
        "Cet enfant boit de l'eau.",
    ),
    (
        Clause(THEY, EAT, "progressive", complement=phrase(A, "French cheese")),
        "They are eating some French cheese.",
        "Ils mangent du fromage français.",
    ),
    (
        Clause(WE, EAT, "past", complement=phrase(A, "meat")),
        "We ate some meat.",
        "Nous avons mangé de la viande.",
    ),
    (
        Clause(HE, EAT, negation="never", complement=phrase(A, "egg", plural=True)),
        "He never eats any eggs.",
        "Il ne mange jamais d'œufs.",
    ),
    (
        Clause(YOU, DRINK, "future", "no longer", complement=phrase(A, "coffee")),
        "You will no longer drink any coffee.",
        "Vous ne boirez plus de café.",
    ),
    (
        Clause(the("woman"), VERB["have"], negation="not", complement=phrase(A, "dog")),
        "The woman does not have a dog.",
        "La femme n'a pas de chien.",
    ),
    (
        Clause(SHE, SEE, "past", complement=phrase(A, "beautiful white horse", plural=True)),
        "She saw some beautiful white horses.",
        "Elle a vu de beaux chevaux blancs.",
    ),
    (
        Clause(many("girl"), GO, "past", place=place("to", phrase(THE, "market"))),
        "The girls went to the market.",
        "Les filles sont allées au marché.",
    ),
    (
        Clause(
            (*the("mother"), *the("sister")), COME, "past", place=place("from", *the("hospital"))
        ),
        "The mother and the sister came from the hospital.",
        "La mère et la sœur sont venues de l'hôpital.",
    ),
    (
        Clause((*the("boy"), *the("girl")), STAY, "past", place=place("at", phrase(THE, "school"))),
        "The boy and the girl stayed at the school.",
        "Le garçon et la fille sont restés à l'école.",
    ),
    (
        Clause((*the("mother"), *many("girl")), BE, complement=HAPPY),
        "The mother and the girls are happy.",
        "La mère et les filles sont heureuses.",
    ),
    (
        Clause(HE, COME, place=place("from", phrase(THE, "garden"))),
        "He comes from the garden.",
        "Il vient du jardin.",
    ),
    (
        Clause(ME, GO, "future", place=place("to", phrase(THE, "church"))),
        "I will go to the church.",
        "J'irai à l'église.",
    ),
    (
        Clause(
            THEY,
            GIVE,
            "past",
            complement=phrase(A, "flower"),
            receiver=phrase(THE, "nurse", plural=True),
        ),
        "They gave a flower to the nurses.",
        "Ils ont donné une fleur aux infirmières.",
    ),
    (
        Clause(SHE, VERB["talk"], "imperfect", complement=phrase(THE, "hero")),
        "She was talking to the hero.",
        "Elle parlait au héros.",
    ),
    (
        Clause(ME, VERB["talk"], "past", complement=SHE),
        "I talked to her.",
        "Je lui ai parlé.",
    ),
    (
        Clause(HE, SEE, "past", complement=SHE),
        "He saw her.",
        "Il l'a vue.",
    ),
    (
        Clause(YOU, BUY, "past", "not", complement=THEY),
        "You did not buy them.",
        "Vous ne les avez pas achetés.",
    ),
    (
        Clause(THEY, VERB["wait"], "progressive", "no longer", complement=ME),
        "They are no longer waiting for me.",
        "Ils ne m'attendent plus.",
    ),
    (
        Clause(SHE, VERB["love"], negation="not", complement=HE),
        "She does not love him.",
        "Elle ne l'aime pas.",
    ),
    (
        Clause(WE, SEE, modal="want", negation="not", complement=SHE),
        "We do not want to see her.",
        "Nous ne voulons pas la voir.",
    ),
    (
        Clause(the("nurse"), VERB["open"], modal="can", negation="not", complement=the("box")[0]),
        "The nurse cannot open the box.",
        "L'infirmière ne peut pas ouvrir la boîte.",
    ),
    (
        Clause(ME, VERB["work"], modal="must", place=place("at", phrase(THE, "station"))),
        "I must work at the station.",
        "Je dois travailler à la gare.",
    ),
    (
        Clause(the("cat"), SLEEP, "imperfect", place=place("under", phrase(THE, "table"))),
        "The cat was sleeping under the table.",
        "Le chat dormait sous la table.",
    ),
    (
        Clause(WE, EAT, "imperfect", complement=phrase(THE, "cake")),
        "We were eating the cake.",
        "Nous mangions le gâteau.",
    ),
    (
        Clause(ME, EAT, "habit", complement=phrase(A, "orange"), time=TIME["every morning"]),
        "I used to eat an orange every morning.",
        "Je mangeais une orange tous les matins.",
    ),
    (
        Clause(SHE, VERB["want"], "past", "not", complement=phrase(MY, "clock")),
        "She did not want my clock.",
        "Elle ne voulait pas mon horloge.",
    ),
    (
        Clause(HE, VERB["wear"], frequency=OFTEN, complement=phrase(HIS, "old coat")),
        "He often wears his old coat.",
        "Il porte souvent son vieux manteau.",
    ),
    (
        Clause(WE, DRINK, "past", frequency=ALWAYS, complement=phrase(OUR, "milk")),
        "We always drank our milk.",
        "Nous avons toujours bu notre lait.",
    ),
    (
        Clause(
            the("woman"),
            BUY,
            "future",
            complement=phrase(A, "new dress"),
            time=TIME["tomorrow"],
            time_first=True,
        ),
        "Tomorrow, the woman will buy a new dress.",
        "Demain, la femme achètera une nouvelle robe.",
    ),
    (
        Clause(YOU, SLEEP, "past", place=place("at home", phrase(THEIR, "sister"))),
        "You slept at their sister's house.",
        "Vous avez dormi chez leur sœur.",
    ),
    (
        Clause(ME, GO, place=place("to home", phrase(MY, "friend", plural=True))),
        "I go to my friends' house.",
        "Je vais chez mes amis.",
    ),
    (
        Clause(HE, VERB["look"], complement=phrase(THE, "hat", owner=phrase(THE, "teacher"))),
        "He looks for the teacher's hat.",
        "Il cherche le chapeau du professeur.",
    ),
    (
        Clause(ME, SEE, complement=phrase(THE, "black cat", True, phrase(THE, "child", True))),
        "I see the children's black cats.",
        "Je vois les chats noirs des enfants.",
    ),
    (
        Clause(
            (phrase(NUMBERS[0], "big dog", plural=True),), SLEEP, place=place("in", *the("car"))
        ),
        "Two big dogs sleep in the car.",
        "Deux grands chiens dorment dans la voiture.",
    ),
    (
        Clause(SHE, VERB["love"], complement=phrase(GENERIC, "flower", plural=True)),
        "She loves flowers.",
        "Elle aime les fleurs.",
    ),
    (
        Clause(the("old church"), BE, "future", complement=ADJECTIVE["open"]),
        "The old church will be open.",
        "La vieille église sera ouverte.",
    ),
    (
        Clause(many("little key"), BE, "past", "no longer", place=place("on", *the("chair"))),
        "The little keys were no longer on the chair.",
        "Les petites clés n'étaient plus sur la chaise.",
    ),
]

QUESTIONS: list[tuple[Sentence, str, str]] = [
    (
        Sentence(Clause(HE, DRINK, complement=phrase(A, "hot tea")), "whether"),
        "Does he drink some hot tea?",
        "Est-ce qu'il boit du thé chaud ?",
    ),
    (
        Sentence(Clause((phrase(A, "bird"),), COME, "past"), "whether"),
        "Did a bird come?",
        "Est-ce qu'un oiseau est venu ?",
    ),
    (
        Sentence(Clause(YOU, GO, "progressive"), "where"),
        "Where are you going?",
        "Où est-ce que vous allez ?",
    ),
    (
        Sentence(Clause(many("blue box"), BE), "where"),
        "Where are the blue boxes?",
        "Où sont les boîtes bleues ?",
    ),
    (
        Sentence(Clause(THEY, STAY, "future", place=place("at", *the("hotel"))), "when"),
        "When will they stay at the hotel?",
        "Quand est-ce qu'ils resteront à l'hôtel ?",
    ),
    (
        Sentence(Clause(the("boy"), VERB["wait"], "past", "not", complement=WE), "why"),
        "Why did the boy not wait for us?",
        "Pourquoi est-ce que le garçon ne nous a pas attendus ?",
    ),
    (
        Sentence(Clause(WHO, VERB["choose"], "past", complement=phrase(YOUR, "hat")), "who"),
        "Who chose your hat?",
        "Qui a choisi votre chapeau ?",
    ),
    (
        Sentence(Clause(SHE, VERB["look"], "imperfect"), "what"),
        "What was she looking for?",
        "Qu'est-ce qu'elle cherchait ?",
    ),
    (
        Sentence(Clause(HE, EAT, modal="want", complement=phrase(THE, "soup")), "whether"),
        "Does he want to eat the soup?",
        "Est-ce qu'il veut manger la soupe ?",
    ),
    (
        Sentence(Clause(HE, BE, complement=ADJECTIVE["tired"]), report=(SHE, 0)),
        "She thinks that he is tired.",
        "Elle pense qu'il est fatigué.",
    ),
    (
        Sentence(Existence(phrase(A, "cat"), place("under", *the("tree")), negated=True)),
        "There is no cat under the tree.",
        "Il n'y a pas de chat sous l'arbre.",
    ),
    (
        Sentence(
            Existence(phrase(NUMBERS[1], "old book", True), place("behind", *the("door")), "past")
        ),
        "There were three old books behind the door.",
        "Il y avait trois vieux livres derrière la porte.",
    ),
    (
        Sentence(Existence(phrase(A, "tree", True), place("before", *the("house")), "future")),
        "There will be some trees in front of the house.",
        "Il y aura des arbres devant la maison.",
    ),
]
SENTENCES: list[tuple[Sentence, str, str]] = [
    *((Sentence(clause), source, target) for clause, source, target in STATEMENTS),
    *QUESTIONS,
]


@pytest.mark.parametrize(
    ("sentence", "expected_english", "expected_french"),
    SENTENCES,
    ids=[text for _, text, _ in SENTENCES],
)
def test_a_sentence_is_written_as_a_person_would_write_it_in_both_languages(
    sentence: Sentence, expected_english: str, expected_french: str
) -> None:
    assert english(sentence) == expected_english
    assert french(sentence) == expected_french


def test_regular_verbs_follow_their_group_with_the_spelling_changes_of_manger_and_acheter() -> None:
    manger, acheter = conjugate_er("manger"), conjugate_er("acheter", "achèt")
    assert manger.present == ("mange", "mange", "mangeons", "mangez", "mangent")
    assert manger.imperfect == ("mangeais", "mangeait", "mangions", "mangiez", "mangeaient")
    assert acheter.present == ("achète", "achète", "achetons", "achetez", "achètent")
    assert acheter.future == ("achèterai", "achètera", "achèterons", "achèterez", "achèteront")
    assert conjugate_ir("choisir").imperfect[0] == "choisissais"
    assert conjugate_re("attendre").future[4] == "attendront"
    assert conjugate_re("attendre").present[1] == "attend"


def test_irregular_verbs_have_their_own_stems() -> None:
    forms = {verb.base: verb.fr for verb in VERBS}
    assert forms["go"].future[3] == "irez"
    assert forms["see"].imperfect[2] == "voyions"
    assert forms["come"].present[4] == "viennent"
    assert forms["drink"].imperfect[1] == "buvait"
    assert forms["know"].future[1] == "connaîtra"
    assert BE.fr.imperfect == ("étais", "était", "étions", "étiez", "étaient")


def test_elision_stops_at_an_aspirated_h() -> None:
    assert join_french(["le", "homme"]) == "l'homme"
    assert join_french(["le", "héros"]) == "le héros"
    assert join_french(["je", "ne", "le", "aime", "pas"]) == "je ne l'aime pas"
    assert starts_with_vowel("œuf") and not starts_with_vowel("héros")


def test_adjectives_agree_in_all_four_forms_and_before_a_vowel() -> None:
    old, white, happy = (ADJECTIVE[a] for a in ("old", "white", "happy"))
    forms = [(f, p) for f in (False, True) for p in (False, True)]
    assert [old.french(*f) for f in forms] == ["vieux", "vieux", "vieille", "vieilles"]
    assert [white.french(*f) for f in forms] == ["blanc", "blancs", "blanche", "blanches"]
    assert [happy.french(*f) for f in forms] == ["heureux", "heureux", "heureuse", "heureuses"]
    assert old.bel == "vieil"


def test_an_english_sentence_never_has_two_translations() -> None:
    rng = random.Random(7)
    translations = defaultdict(set)
    for _ in range(8000):
        sentence = sample_sentence(rng)
        translations[english(sentence)].add(french(sentence))
    assert len(translations) > 6000
    assert all(len(found) == 1 for found in translations.values())
