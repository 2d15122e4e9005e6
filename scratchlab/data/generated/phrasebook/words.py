"""Word classes of the generated English–French phrasebook and their inflection.

The words themselves are in :mod:`scratchlab.data.generated.phrasebook.lexicon`. Persons are indexed
0..4: I/je, he/il, we/nous, you/vous, they/ils (the phrasebook never says "tu").
"""

from __future__ import annotations

from dataclasses import dataclass, field

# Nouns whose initial h blocks elision and liaison ("le héros", not "l'héros").
ASPIRATED = frozenset({"héros"})
_VOWELS = frozenset("aeiouyhàâéèêëîïôûùœ")


def starts_with_vowel(word: str) -> bool:
    """Whether French elides before ``word``: it begins with a vowel or a mute h."""
    return word[0] in _VOWELS and word not in ASPIRATED


@dataclass(frozen=True, slots=True)
class Noun:
    """A noun. ``kind`` says what can be done with it; ``around`` which prepositions fit."""

    en: str
    en_plural: str
    fr: str
    fr_plural: str
    feminine: bool
    kind: str
    around: tuple[str, ...] = ()
    mass: bool = False


@dataclass(frozen=True, slots=True)
class Adjective:
    """An adjective. ``bel`` is the masculine form before a vowel ("bel", "vieil", "nouvel")."""

    en: str
    masculine: str
    feminine: str
    masculine_plural: str
    feminine_plural: str
    bel: str
    before_noun: bool
    kinds: frozenset[str]
    predicative: bool
    attributive: bool

    def french(self, feminine: bool, plural: bool) -> str:
        """The form that agrees with the given gender and number."""
        if plural:
            return self.feminine_plural if feminine else self.masculine_plural
        return self.feminine if feminine else self.masculine


@dataclass(frozen=True, slots=True)
class Determiner:
    """An article, demonstrative, possessive or number: English and French forms.

    ``fr_vowel`` holds the masculine and feminine singular before a vowel ("cet", "mon").
    """

    en_singular: str
    en_plural: str
    fr_masculine: str
    fr_feminine: str
    fr_vowel: tuple[str, str]
    fr_plural: str


@dataclass(frozen=True, slots=True)
class Pronoun:
    """A personal pronoun as subject, direct object and indirect object."""

    en_subject: str
    en_object: str
    fr_subject: str
    fr_object: str
    fr_indirect: str
    person: int
    feminine: bool
    plural: bool


@dataclass(frozen=True, slots=True)
class Preposition:
    """A preposition of place. "à" and "de" contract with the article that follows."""

    en: str
    fr: str


@dataclass(frozen=True, slots=True)
class Time:
    """An adverb of time; ``tenses`` names the tenses it goes with."""

    en: str
    fr: str
    tenses: frozenset[str]


@dataclass(frozen=True, slots=True)
class Conjugation:
    """The finite forms of a French verb, each tuple indexed by person."""

    infinitive: str
    present: tuple[str, ...]
    imperfect: tuple[str, ...]
    future: tuple[str, ...]
    participle: str
    with_etre: bool = False


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb in both languages with what it can say.

    ``aspect``: "activity" (takes the English progressive), "event" (does not), or "state" (neither,
    and its English past is a French imparfait). ``pattern``: "direct" (object), "indirect" (French
    puts "à" before the object), "giving" (object and receiver), "motion" (a place reached through
    ``towards``) or "alone".
    """

    base: str
    third: str
    past: str
    ing: str
    particle: str
    fr: Conjugation
    aspect: str
    pattern: str
    subjects: frozenset[str]
    objects: frozenset[str] = field(default_factory=frozenset)
    towards: str = ""


def conjugate(
    infinitive: str,
    present: str,
    participle: str,
    future_stem: str = "",
    imperfect_stem: str = "",
    with_etre: bool = False,
) -> Conjugation:
    """All forms from the five of the present; the other stems follow from it unless given."""
    forms = tuple(present.split())
    stem = imperfect_stem or forms[2].removesuffix("ons")
    future = future_stem or infinitive.removesuffix("e")
    # "mangeais" keeps the e that softens the g, "mangions" does not need it.
    soft = stem[:-1] if stem.endswith("ge") else stem
    imperfect = (stem + "ais", stem + "ait", soft + "ions", soft + "iez", stem + "aient")
    endings = ("ai", "a", "ons", "ez", "ont")
    return Conjugation(
        infinitive, forms, imperfect, tuple(future + e for e in endings), participle, with_etre
    )


def conjugate_er(infinitive: str, strong: str = "", with_etre: bool = False) -> Conjugation:
    """A verb in -er; ``strong`` is the stem under stress where it differs ("achèt-")."""
    stem = infinitive.removesuffix("er")
    strong = strong or stem
    we = stem + "eons" if stem.endswith("g") else stem + "ons"
    present = f"{strong}e {strong}e {we} {stem}ez {strong}ent"
    return conjugate(infinitive, present, stem + "é", strong + "er", with_etre=with_etre)


def conjugate_ir(infinitive: str) -> Conjugation:
    """A verb in -ir with -iss- ("choisir")."""
    s = infinitive.removesuffix("r")
    return conjugate(infinitive, f"{s}s {s}t {s}ssons {s}ssez {s}ssent", s)


def conjugate_re(infinitive: str) -> Conjugation:
    """A regular verb in -re ("attendre")."""
    s = infinitive.removesuffix("re")
    return conjugate(infinitive, f"{s}s {s} {s}ons {s}ez {s}ent", s + "u")
