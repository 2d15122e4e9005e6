"""Random sentences of the phrasebook: which words go together, and how often what is said.

Selection is by the kinds of :mod:`.lexicon`, so that people wear clothes and cats do not.
"""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache

from scratchlab.data.generated.phrasebook.grammar import (
    WHO,
    Clause,
    Existence,
    NounPhrase,
    Place,
    Sentence,
    Subject,
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
    REPORTS,
    THE,
    THIS,
    TIMES,
    VERBS,
    A,
)
from scratchlab.data.generated.phrasebook.words import (
    Adjective,
    Determiner,
    Noun,
    Pronoun,
    Time,
    Verb,
)

# A state that passes, so that "now", "yesterday" and "tomorrow" make sense with it.
_PASSING = frozenset({"happy", "sad", "tired", "sick", "cold", "hot", "open", "empty"})
_PEOPLE = frozenset({"person", "kin"})
_LIVING = frozenset({"person", "kin", "animal"})
_KIN = frozenset({"kin"})
_ANIMALS = frozenset({"animal"})
_OWNED = frozenset({n.kind for n in NOUNS} - {"person", "kin", "place", "opening", "drink"})
_THINGS_TO_NAME = frozenset({"object", "staple", "drink", "clothes", "opening"})
_ONE_OF_A_KIND = frozenset({"mother", "father"})
_INDOORS = ("in", "at", "before", "behind")


def _repeat(**weights: int) -> tuple[str, ...]:
    """Weights by repetition: choosing from a tuple is several times faster than weighted choice."""
    return tuple(name for name, weight in weights.items() for _ in range(weight))


_TENSES = {
    "activity": _repeat(present=4, progressive=3, past=6, future=4, imperfect=3, habit=1),
    "event": _repeat(present=4, past=6, future=4),
    "state": _repeat(present=6, past=3, future=2),
}
_QUESTIONS = _repeat(whether=4, who=3, what=1, where=2, when=1, why=2)


@cache
def nouns_of(kinds: frozenset[str]) -> tuple[Noun, ...]:
    """The nouns of the given kinds."""
    return tuple(noun for noun in NOUNS if noun.kind in kinds)


@cache
def _adjectives_for(kind: str, use: str) -> tuple[Adjective, ...]:
    """``use``: "before" or "after" the French noun, or "predicative"."""
    fitting = [a for a in ADJECTIVES if kind in a.kinds]
    if use == "predicative":
        return tuple(a for a in fitting if a.predicative)
    return tuple(a for a in fitting if a.attributive and a.before_noun == (use == "before"))


@cache
def _verbs_for(kind: str) -> tuple[Verb, ...]:
    return tuple(verb for verb in VERBS if kind in verb.subjects)


@cache
def _nouns_around(preposition: str) -> tuple[Noun, ...]:
    return tuple(noun for noun in NOUNS if preposition in noun.around)


@cache
def _times_for(tense: str) -> tuple[Time, ...]:
    return tuple(time for time in TIMES if tense in time.tenses)


def objects_of(verb: Verb) -> tuple[Noun, ...]:
    """What can stand after the verb: its objects, or the places that it leads to."""
    if verb.pattern == "motion":
        return _nouns_around(verb.towards)
    return nouns_of(verb.objects)


# --- Sampling structures ------------------------------------------------------------------------


def sample_phrase(rng: random.Random, noun: Noun, only_definite: bool = False) -> NounPhrase:
    """A noun phrase around ``noun``; ``only_definite`` leaves out articles like "a" and numbers."""
    roll = rng.random()
    plural = rng.random() < 0.35 and not noun.mass and noun.en not in _ONE_OF_A_KIND
    determiner: Determiner = THE
    if noun.kind == "kin":
        determiner = rng.choice(POSSESSIVES) if roll < 0.7 else THE if roll < 0.85 else THIS
    elif roll < 0.27 and not only_definite:
        determiner = A
    elif roll < 0.37:
        determiner = THIS
    elif roll < 0.52:
        determiner = rng.choice(POSSESSIVES)
    elif roll < 0.58 and plural and not only_definite:
        determiner = rng.choice(NUMBERS)
    owner = None
    if determiner is THE and noun.kind in _OWNED and rng.random() < 0.12:
        owned_by = rng.choice(nouns_of(_PEOPLE))
        whose = rng.choice(POSSESSIVES) if owned_by.kind == "kin" else THE
        several = rng.random() < 0.3 and owned_by.en not in _ONE_OF_A_KIND
        owner = NounPhrase(whose, owned_by, several)
    before = after = None
    roll = rng.random()
    if roll < 0.27:
        before = _choose(rng, _adjectives_for(noun.kind, "before"))
    if 0.22 < roll < 0.5:
        after = _choose(rng, _adjectives_for(noun.kind, "after"))
    return NounPhrase(determiner, noun, plural, before, after, owner)


def _choose(rng: random.Random, adjectives: tuple[Adjective, ...]) -> Adjective | None:
    return rng.choice(adjectives) if adjectives else None


def _sample_subject(rng: random.Random, noun: Noun) -> Subject:
    phrase = sample_phrase(rng, noun)
    if rng.random() > 0.12 or noun.kind not in _LIVING:
        return (phrase,)
    other = rng.choice(nouns_of(_PEOPLE if noun.kind in _PEOPLE else _ANIMALS))
    if other is noun:
        return (phrase,)
    # Two bare phrases: an adjective on either would leave open which of them it describes.
    determiner = rng.choice(POSSESSIVES) if rng.random() < 0.4 else THE
    return tuple(
        NounPhrase(determiner, n, rng.random() < 0.2 and n.en not in _ONE_OF_A_KIND)
        for n in (noun, other)
    )


def _sample_place(rng: random.Random, living: bool) -> Place:
    """Where people do things, or where animals and objects are found."""
    if living and rng.random() < 0.2:
        return _sample_home(rng, "at home")
    key = rng.choice(_INDOORS if living else ("in", "on", "under", "before", "behind"))
    nouns = _nouns_around(key)
    if living and key == "in":
        nouns = tuple(noun for noun in nouns if noun.kind == "place")
    return Place(PREPOSITIONS[key], _sample_setting(rng, rng.choice(nouns)))


def _sample_home(rng: random.Random, preposition: str) -> Place:
    """At or to "my sister's house"."""
    owner = rng.choice(nouns_of(_KIN))
    return Place(PREPOSITIONS[preposition], NounPhrase(rng.choice(POSSESSIVES), owner))


def _sample_setting(rng: random.Random, noun: Noun) -> NounPhrase:
    """A short, mostly definite noun phrase for a place."""
    if rng.random() < 0.6:
        return NounPhrase(THE, noun, rng.random() < 0.15 and noun.en not in _ONE_OF_A_KIND)
    return sample_phrase(rng, noun, only_definite=True)


def _sample_object(rng: random.Random, verb: Verb, subject: Subject) -> NounPhrase | Pronoun:
    noun = rng.choice(objects_of(verb))
    person = subject.person if isinstance(subject, Pronoun) else 1
    if rng.random() < 0.22 and verb.base not in ("have", "give", "wear"):
        # "Him", "her" or "me" is somebody; only "them" can also be things. No reflexives.
        able = PRONOUNS if verb.objects & _PEOPLE else PRONOUNS[5:]
        clash = {0: (0, 2), 2: (0, 2), 3: (3,)}.get(person, ())
        pronouns = [p for p in able if p.person not in clash]
        return rng.choice(pronouns)
    if verb.base == "love":
        if noun.kind in ("food", "staple", "drink", "animal", "object") and rng.random() < 0.5:
            return NounPhrase(GENERIC, noun, not noun.mass)
        return sample_phrase(rng, noun, only_definite=True)
    return sample_phrase(rng, noun, only_definite=verb.base == "know")


def _sample_negation(rng: random.Random, tense: str, verb: Verb) -> str:
    if tense == "habit" or rng.random() > 0.3:
        return ""
    allowed = {
        "present": ("not", "not", "never", "no longer"),
        "progressive": ("not", "not", "no longer"),
        "past": ("not", "not", "never"),
        "imperfect": ("not", "no longer"),
        "future": ("not", "not", "never", "no longer"),
    }[tense]
    if verb.aspect == "state" and tense == "past":
        # "Never knew" would be a passé composé, unlike the rest of these verbs' past.
        allowed = ("not", "no longer")
    return rng.choice(allowed)


def _sample_copula(rng: random.Random) -> Clause:
    """Somebody or something is in a state or at a place."""
    tense = rng.choice(_TENSES["state"])
    negation = _sample_negation(rng, tense, BE)
    subject: Subject
    if rng.random() < 0.3:
        kind = "person"
        subject = rng.choice(PRONOUNS)
    else:
        noun = rng.choice([n for n in NOUNS if n.kind != "place"])
        kind = noun.kind
        subject = _sample_subject(rng, noun)
        if not isinstance(subject, Pronoun) and len(subject) == 1:
            # Adjectives go to the predicate, and what is described is definite.
            determiner = rng.choice((THE, THE, THIS, *POSSESSIVES))
            subject = (NounPhrase(determiner, noun, subject[0].plural),)
    if rng.random() < 0.25 and kind not in ("opening", "tree"):
        place = _sample_place(rng, kind in _PEOPLE)
        if isinstance(subject, Pronoun) or all(p.noun is not place.phrase.noun for p in subject):
            return Clause(subject, BE, tense, negation, complement=None, place=place)
    adjective = rng.choice(_adjectives_for(kind, "predicative"))
    time = None
    if adjective.en in _PASSING and rng.random() < 0.3 and negation in ("", "not"):
        time = rng.choice(_times_for("progressive" if tense == "present" else tense))
    frequency = None
    if adjective.en in _PASSING and not (time or negation) and rng.random() < 0.3:
        frequency = rng.choice(FREQUENCIES)
    return Clause(subject, BE, tense, negation, frequency, complement=adjective, time=time)


def _sample_action(rng: random.Random) -> Clause:
    """Somebody does something, with everything that a statement may have."""
    subject: Subject
    if rng.random() < 0.42:
        kind, subject = "person", rng.choice(PRONOUNS)
    else:
        noun = rng.choice(nouns_of(_LIVING))
        kind, subject = noun.kind, _sample_subject(rng, noun)
    verb = rng.choice(_verbs_for(kind))
    tense = rng.choice(_TENSES[verb.aspect])
    negation = _sample_negation(rng, tense, verb)
    modal = ""
    if verb.aspect != "state" and rng.random() < 0.12:
        modal, tense = rng.choice(("can", "must", "want")), "present"
        negation = "not" if negation else ""
    complement: NounPhrase | Pronoun | None = None
    receiver = place = None
    if verb.pattern == "motion":
        target = _sample_setting(rng, rng.choice(objects_of(verb)))
        place = Place(PREPOSITIONS[verb.towards], target)
        if verb.base in ("go", "stay") and rng.random() < 0.15:
            place = _sample_home(rng, "to home" if verb.base == "go" else "at home")
    elif verb.pattern != "alone":
        complement = _sample_object(rng, verb, subject)
    if verb.pattern == "giving":
        receiver = _sample_setting(rng, rng.choice(nouns_of(_LIVING)))
    elif (verb.pattern == "alone" and rng.random() < 0.75) or (
        verb.base in ("buy", "wait", "drink") and rng.random() < 0.25
    ):
        place = _sample_place(rng, kind in _PEOPLE)
    frequency = time = None
    plain = verb.aspect != "state" and not modal and negation in ("", "not")
    if plain and not negation and tense in ("present", "past", "future") and rng.random() < 0.2:
        frequency = rng.choice(FREQUENCIES)
    elif plain and rng.random() < (0.6 if tense == "habit" else 0.3) and _times_for(tense):
        time = rng.choice(_times_for(tense))
    first = time is not None and not negation and rng.random() < 0.3
    return Clause(
        subject, verb, tense, negation, frequency, modal, complement, receiver, place, time, first
    )


def _sample_existence(rng: random.Random) -> Existence:
    noun = rng.choice(nouns_of(frozenset({"person", "animal", "food", "object", "clothes"})))
    phrase = sample_phrase(rng, noun)
    determiner = rng.choice(NUMBERS) if phrase.plural and rng.random() < 0.5 else A
    phrase = replace(phrase, determiner=determiner, owner=None)
    tense = rng.choice(("present", "present", "past", "future"))
    negated = determiner is A and rng.random() < 0.25
    return Existence(phrase, _sample_place(rng, noun.kind == "person"), tense, negated)


def _as_question(rng: random.Random, clause: Clause) -> Sentence | None:
    """Turns a statement into a question of a random kind, or None if that kind does not fit it."""
    question = rng.choice(_QUESTIONS)
    verb = clause.verb
    clause = replace(clause, time_first=False)
    if question == "who":
        adjective = clause.complement
        if isinstance(adjective, Adjective) and "person" not in adjective.kinds:
            return None
        return Sentence(replace(clause, subject=WHO), question)
    if clause.modal == "must" or clause.tense == "habit":
        return None
    negation = "not" if question == "why" and clause.negation == "not" else ""
    clause = replace(clause, negation=negation)
    if question == "what":
        things = verb.objects & _THINGS_TO_NAME
        if verb.pattern not in ("direct", "giving") or not things:
            return None
        return Sentence(replace(clause, complement=None, frequency=None), question)
    if question == "where":
        if verb is BE:
            clause = replace(clause, complement=None, time=None, frequency=None)
        elif verb.aspect == "state" or verb.base == "come":
            return None
        return Sentence(replace(clause, place=None), question)
    if question == "when":
        fits = verb.aspect != "state" and clause.tense in ("present", "past", "future")
        if not fits or clause.modal:
            return None
        return Sentence(replace(clause, time=None, frequency=None), question)
    return Sentence(clause, question)


def sample_sentence(rng: random.Random) -> Sentence:
    """One random sentence of the phrasebook."""
    roll = rng.random()
    if roll < 0.05:
        return Sentence(_sample_existence(rng))
    clause = _sample_copula(rng) if roll < 0.2 else _sample_action(rng)
    roll = rng.random()
    if roll < 0.2:
        return _as_question(rng, clause) or Sentence(clause)
    if roll < 0.26:
        report = (rng.choice(PRONOUNS), rng.randrange(len(REPORTS)))
        return Sentence(replace(clause, time_first=False), report=report)
    return Sentence(clause)
