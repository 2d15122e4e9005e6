"""The grammar of the generated phrasebook: sentence structures and how each language says them.

A :class:`Sentence` is built of words from :mod:`scratchlab.data.generated.phrasebook.lexicon`;
:func:`english` and :func:`french` render it. Neither side looks at anything but the structure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from scratchlab.data.generated.phrasebook.lexicon import (
    AVOIR,
    BE,
    ETRE,
    GENERIC,
    MODALS,
    REPORTS,
    A,
)
from scratchlab.data.generated.phrasebook.words import (
    Adjective,
    Determiner,
    Noun,
    Preposition,
    Pronoun,
    Time,
    Verb,
    starts_with_vowel,
)

WHO = Pronoun("who", "", "qui", "", "", 1, False, False)
_NEGATIONS = {"not": "pas", "never": "jamais", "no longer": "plus"}
_ELIDING = frozenset({"le", "la", "je", "me", "ne", "de", "que"})


@dataclass(frozen=True, slots=True)
class NounPhrase:
    """Determiner, noun, at most one adjective on each side of the French noun, and an owner."""

    determiner: Determiner
    noun: Noun
    plural: bool = False
    before: Adjective | None = None
    after: Adjective | None = None
    owner: NounPhrase | None = None


Subject = Pronoun | tuple[NounPhrase, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where something happens: a preposition and what it governs."""

    preposition: Preposition
    phrase: NounPhrase


@dataclass(frozen=True, slots=True)
class Clause:
    """Who does what to whom, where and when.

    ``tense``: "present", "progressive" (présent), "past" (passé composé, or imparfait for states),
    "imperfect" ("was eating"), "habit" ("used to eat") or "future". ``negation``: "", "not",
    "never" or "no longer". ``complement`` is the object of the verb, or the adjective after "be".
    """

    subject: Subject
    verb: Verb
    tense: str = "present"
    negation: str = ""
    frequency: tuple[str, str] | None = None
    modal: str = ""
    complement: NounPhrase | Pronoun | Adjective | None = None
    receiver: NounPhrase | None = None
    place: Place | None = None
    time: Time | None = None
    time_first: bool = False


@dataclass(frozen=True, slots=True)
class Existence:
    """ "There is a cat under the table." in the present, past or future."""

    phrase: NounPhrase
    place: Place
    tense: str = "present"
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Sentence:
    """A statement, or a question: "whether", "who", "what", "where", "when" or "why".

    ``report`` puts "She thinks that …" in front (its subject, index into the reporting verbs).
    """

    clause: Clause | Existence
    question: str = ""
    report: tuple[Pronoun, int] | None = None


# --- English ------------------------------------------------------------------------------------


def english_phrase(phrase: NounPhrase, negated: bool = False) -> str:
    """A noun phrase: "the neighbor's little black cat", "an old coat", "some bread"."""
    noun = phrase.noun
    many = phrase.plural or noun.mass
    words = [noun.en_plural if phrase.plural else noun.en]
    if phrase.after:
        words.insert(0, phrase.after.en)
    if phrase.before:
        words.insert(0, phrase.before.en)
    if phrase.owner:
        words.insert(0, _possessive(phrase.owner))
    elif phrase.determiner is A:
        article = "an" if words[0][0].lower() in "aeiou" else "a"
        words.insert(0, ("any" if negated else "some") if many else article)
    elif phrase.determiner is not GENERIC:
        determiner = phrase.determiner
        words.insert(0, determiner.en_plural if phrase.plural else determiner.en_singular)
    return " ".join(words)


def _possessive(owner: NounPhrase) -> str:
    text = english_phrase(owner)
    return text + ("'" if owner.plural and text.endswith("s") else "'s")


def _english_place(place: Place) -> str:
    if place.preposition.fr == "chez":
        return f"{place.preposition.en} {_possessive(place.phrase)} house"
    return f"{place.preposition.en} {english_phrase(place.phrase)}"


def _english_subject(subject: Subject) -> str:
    if isinstance(subject, Pronoun):
        return subject.en_subject
    return " and ".join(map(english_phrase, subject))


def _person(subject: Subject) -> int:
    """Index into the conjugation tables."""
    if isinstance(subject, Pronoun):
        return subject.person
    return 4 if len(subject) > 1 or subject[0].plural else 1


def _denies_object(clause: Clause) -> bool:
    """Whether negation reaches the article of the object ("any apples", "pas de pommes")."""
    return bool(clause.negation) and clause.verb.pattern != "indirect"


def _be(person: int, past: bool) -> str:
    if past:
        return "was" if person < 2 else "were"
    return ("am", "is", "are", "are", "are")[person]


def _english_verb(clause: Clause, person: int) -> tuple[str, str]:
    """The auxiliary that a question moves (or "") and the rest of the verb group."""
    verb, tense, negation = clause.verb, clause.tense, clause.negation
    adverb = f"{negation} {clause.frequency[0] if clause.frequency else ''}"
    third = person == 1
    if clause.modal in ("can", "must"):
        return clause.modal, f"{adverb} {verb.base}"
    if clause.modal == "want":
        if negation == "not":
            return ("does" if third else "do"), f"not want to {verb.base}"
        return "", f"{adverb} {'wants' if third else 'want'} to {verb.base}"
    if tense == "future":
        return "will", f"{adverb} {verb.base}"
    if verb is BE:
        return _be(person, tense == "past"), adverb
    if tense in ("progressive", "imperfect"):
        return _be(person, tense == "imperfect"), f"{adverb} {verb.ing}"
    if tense == "habit":
        return "", f"used to {verb.base}"
    if negation == "not":
        return ("did" if tense == "past" else "does" if third else "do"), f"not {verb.base}"
    form = verb.past if tense == "past" else verb.third if third else verb.base
    return "", f"{adverb} {form}"


def _english_question_verb(clause: Clause, person: int) -> tuple[str, str]:
    """As :func:`_english_verb`, with the "do" that a question needs where nothing else moves."""
    auxiliary, rest = _english_verb(clause, person)
    if auxiliary:
        return auxiliary, rest
    adverb = clause.frequency[0] if clause.frequency else ""
    do = "did" if clause.tense == "past" else "does" if person == 1 else "do"
    wanted = "want to " if clause.modal == "want" else ""
    return do, f"{adverb} {wanted}{clause.verb.base}"


def _english_rest(clause: Clause) -> list[str]:
    """What follows the verb."""
    words = [clause.verb.particle]
    complement = clause.complement
    if isinstance(complement, NounPhrase):
        words.append(english_phrase(complement, _denies_object(clause)))
    elif isinstance(complement, Pronoun):
        words.append(complement.en_object)
    elif complement:
        words.append(complement.en)
    if clause.receiver:
        words.append("to " + english_phrase(clause.receiver))
    if clause.place:
        words.append(_english_place(clause.place))
    if clause.time and not clause.time_first:
        words.append(clause.time.en)
    return words


def _english_clause(clause: Clause | Existence, question: str) -> list[str]:
    if isinstance(clause, Existence):
        plural = clause.phrase.plural
        be = {"present": "are" if plural else "is", "past": "were" if plural else "was"}
        phrase = english_phrase(clause.phrase)
        if clause.negated:
            phrase = "no " + english_phrase(replace(clause.phrase, determiner=GENERIC))
        place = _english_place(clause.place)
        return ["there", be.get(clause.tense, "will be"), phrase, place]
    person = _person(clause.subject)
    subject = _english_subject(clause.subject)
    if not question or question == "who":
        opening = clause.time.en + "," if clause.time and clause.time_first else ""
        auxiliary, rest = _english_verb(clause, person)
        return [opening, subject, auxiliary, rest, *_english_rest(clause)]
    auxiliary, rest = _english_question_verb(clause, person)
    word = "" if question == "whether" else question
    return [word, auxiliary, subject, rest, *_english_rest(clause)]


def english(sentence: Sentence) -> str:
    """The English sentence with capital and final punctuation."""
    words = _english_clause(sentence.clause, sentence.question)
    if sentence.report:
        pronoun, index = sentence.report
        base, third, _ = REPORTS[index]
        words = [pronoun.en_subject, third if pronoun.person == 1 else base, "that", *words]
    # Empty parts leave double spaces; splitting again drops them.
    text = " ".join(" ".join(words).split()).replace("can not", "cannot")
    return text[0].upper() + text[1:] + ("?" if sentence.question else ".")


# --- French -------------------------------------------------------------------------------------


def french_phrase(phrase: NounPhrase, negated: bool = False) -> list[str]:
    """The words of a noun phrase before elision: ["le", "petit", "chat", "noir"]."""
    noun, determiner, plural = phrase.noun, phrase.determiner, phrase.plural
    words = [noun.fr_plural if plural else noun.fr]
    if phrase.before:
        adjective = phrase.before.french(noun.feminine, plural)
        if not (plural or noun.feminine) and starts_with_vowel(words[0]):
            adjective = phrase.before.bel
        words.insert(0, adjective)
    if phrase.after:
        words.append(phrase.after.french(noun.feminine, plural))
    if phrase.owner:
        words += _governed("de", french_phrase(phrase.owner))
    if determiner is A and (negated or (plural and phrase.before)):
        return ["de", *words]
    if plural:
        return [determiner.fr_plural, *words]
    vowel = starts_with_vowel(words[0])
    if determiner is A and noun.mass:
        return _governed("de", ["la" if noun.feminine else "le", *words])
    if vowel:
        return [determiner.fr_vowel[noun.feminine], *words]
    return [determiner.fr_feminine if noun.feminine else determiner.fr_masculine, *words]


def _governed(preposition: str, words: list[str]) -> list[str]:
    """Puts a preposition before a noun phrase: à + le → au, de + les → des, but à l'hôtel."""
    contracted = {("à", "le"): "au", ("à", "les"): "aux", ("de", "le"): "du", ("de", "les"): "des"}
    article = contracted.get((preposition, words[0]))
    if article is None or (words[0] == "le" and starts_with_vowel(words[1])):
        return [preposition, *words]
    return [article, *words[1:]]


def _french_subject(subject: Subject) -> list[str]:
    if isinstance(subject, Pronoun):
        return [subject.fr_subject]
    words = french_phrase(subject[0])
    for phrase in subject[1:]:
        words += ["et", *french_phrase(phrase)]
    return words


def _gender_and_number(subject: Subject) -> tuple[bool, bool]:
    """(feminine, plural) of a subject; a mixed group is masculine."""
    if isinstance(subject, Pronoun):
        return subject.feminine, subject.plural
    return all(p.noun.feminine for p in subject), len(subject) > 1 or subject[0].plural


def _participle(form: str, feminine: bool, plural: bool) -> str:
    return form + "e" * feminine + "s" * plural


def _french_verb(clause: Clause) -> list[str]:
    """The verb group with negation, object pronoun and adverb of frequency in their places."""
    verb, person = clause.verb.fr, _person(clause.subject)
    complement = clause.complement
    clitic: list[str] = []
    if isinstance(complement, Pronoun):
        indirect = clause.verb.pattern == "indirect"
        clitic = [complement.fr_indirect if indirect else complement.fr_object]
    tail: list[str] = []
    if clause.modal:
        finite, tail, clitic = MODALS[clause.modal].present[person], [*clitic, verb.infinitive], []
    elif clause.tense == "past" and clause.verb.aspect != "state":
        feminine, plural = False, False
        if verb.with_etre:
            feminine, plural = _gender_and_number(clause.subject)
        elif isinstance(complement, Pronoun) and clause.verb.pattern == "direct":
            feminine, plural = complement.feminine, complement.plural
        finite = (ETRE if verb.with_etre else AVOIR).present[person]
        tail = [_participle(verb.participle, feminine, plural)]
    elif clause.tense == "future":
        finite = verb.future[person]
    elif clause.tense in ("past", "imperfect", "habit"):
        finite = verb.imperfect[person]
    else:
        finite = verb.present[person]
    words = [*clitic, finite]
    if clause.negation:
        words = ["ne", *words, _NEGATIONS[clause.negation]]
    if clause.frequency:
        words.append(clause.frequency[1])
    return words + tail


def _french_place(place: Place) -> list[str]:
    return _governed(place.preposition.fr, french_phrase(place.phrase))


def _french_rest(clause: Clause) -> list[str]:
    words: list[str] = []
    complement = clause.complement
    if isinstance(complement, NounPhrase):
        words = french_phrase(complement, _denies_object(clause))
        if clause.verb.pattern == "indirect":
            words = _governed("à", words)
    elif isinstance(complement, Adjective):
        words = [complement.french(*_gender_and_number(clause.subject))]
    if clause.receiver:
        words += _governed("à", french_phrase(clause.receiver))
    if clause.place:
        words += _french_place(clause.place)
    if clause.time and not clause.time_first:
        words += clause.time.fr.split()
    return words


def _french_clause(clause: Clause | Existence, question: str) -> list[str]:
    if isinstance(clause, Existence):
        table = {"present": AVOIR.present, "past": AVOIR.imperfect, "future": AVOIR.future}
        words = ["y", table[clause.tense][1]]
        if clause.negated:
            words = ["ne", *words, "pas"]
        phrase = french_phrase(clause.phrase, clause.negated)
        return ["il", *words, *phrase, *_french_place(clause.place)]
    subject, verb, rest = (
        _french_subject(clause.subject),
        _french_verb(clause),
        _french_rest(clause),
    )
    if not question or question == "who":
        first = [clause.time.fr + ","] if clause.time and clause.time_first else []
        return [*first, *subject, *verb, *rest]
    if question == "where" and clause.verb is BE and not isinstance(clause.subject, Pronoun):
        return ["où", *verb, *subject, *rest]
    opening = {
        "whether": ["est-ce"],
        "what": ["qu'est-ce"],
        "where": ["où", "est-ce"],
        "when": ["quand", "est-ce"],
        "why": ["pourquoi", "est-ce"],
    }[question]
    return [*opening, "que", *subject, *verb, *rest]


def join_french(words: Sequence[str]) -> str:
    """Joins words with spaces, eliding before vowels: ["je", "ne", "aime"] → "je n'aime"."""
    parts = []
    last = len(words) - 1
    for i, word in enumerate(words):
        if word in _ELIDING and i < last and starts_with_vowel(words[i + 1]):
            parts.append(word[:-1] + "'")
        else:
            parts.append(word + " ")
    return "".join(parts).rstrip()


def french(sentence: Sentence) -> str:
    """The French sentence with capital and final punctuation (a space before "?")."""
    words = _french_clause(sentence.clause, sentence.question)
    if sentence.report:
        pronoun, index = sentence.report
        words = [pronoun.fr_subject, REPORTS[index][2][pronoun.person], "que", *words]
    text = join_french(words)
    return text[0].upper() + text[1:] + (" ?" if sentence.question else ".")
