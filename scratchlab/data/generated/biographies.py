"""Made-up people: a corpus that holds knowledge about them, and questions that need it."""

from __future__ import annotations

import random
from dataclasses import dataclass

from scratchlab.errors import UserError

VERSION = 1  # raise it when the same arguments give another text


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


@dataclass(frozen=True)
class Biographies:
    """A corpus that holds knowledge, and questions that need it.

    ``documents`` are one line each, about 140 characters. The questions ("Where was X born?",
    place) in ``dev`` and ``test`` are about people who have documents but no question in ``train``.
    ``constant_answer`` is the most common place: the answer to about 5 % of the questions.
    """

    documents: tuple[str, ...]
    train: tuple[tuple[str, str], ...]
    dev: tuple[tuple[str, str], ...]
    test: tuple[tuple[str, str], ...]
    constant_answer: str


# The first is the most common birthplace.
_PLACES = _words(
    """
    London Paris Vienna Dublin Chicago Berlin Boston Madrid Budapest Toronto Glasgow Prague Lisbon
    Sydney Warsaw Mumbai Tokyo Oslo Athens Cairo Naples Lima Havana Zurich Geneva Munich Hamburg
    Milan Turin Florence Venice Lyon Bordeaux Toulouse Antwerp Brussels Ghent Rotterdam Utrecht
    Copenhagen Stockholm Gothenburg Helsinki Riga Tallinn Vilnius Kraków Bratislava Zagreb Belgrade
    Sofia Bucharest Istanbul Ankara Tehran Lahore Delhi Chennai Bangkok Hanoi Manila Seoul Osaka
    Kyoto Perth Melbourne Auckland Nairobi Lagos Accra Tunis Santiago Bogotá Quito Caracas
    Montreal Vancouver Denver Seattle Atlanta
    """
)
_SHARE_OF_FIRST_PLACE = 0.05
_FIRST_NAMES = _words(
    """
    Ada Agnes Albert Alma Amos Anita Anton Arthur Astrid Beatrice Bella Boris Bruno Carla Cecil
    Clara Conrad Cora Cyrus Dalia Daniel Dora Edgar Edith Elias Elsa Emil Emma Ernest Esther Eva
    Felix Flora Frank Frida George Gloria Greta Gustav Hanna Harold Hazel Hector Helen Henry Hilda
    Ida Igor Irene Isaac Ivan Jasper Joan Jonas Judith Julia Karl Kira Laura Leo Lena Lydia
    Magnus Mara Marcus Maria Martin Maud Max Mira Nadia Nathan Nina Nora Olga Oscar Otto Paula
    Peter Petra Ralph Rosa Ruth Samuel Sara Simon Sonia Stella Theo Thomas Ursula Vera Victor
    """
)
_SURNAME_STARTS = _words(
    """
    Al Bar Bel Bran Cal Car Cor Dal Den Dor El Fal Far Fen Gal Gor Had Hal Har Hol Jar Kel Kor Lan
    Lor Mal Mar Mer Mor Nor Or Pel Per Quin Ran Ros Sal Sel Tal Tor Val Ver Wal Win Yar Zel
    """
)
_SURNAME_ENDS = _words(
    """
    bach bridge burn by court dale den der feld ford gate grove ham hart holm hurst ington ison ius
    kin land ley lin man mont more nor off oni ova rick row sen son stad stone ström ton vale ville
    ward well wick wood worth
    """
)
_PROFESSIONS = _words(
    """
    architect astronomer botanist cellist chemist composer dancer economist engineer geologist
    historian inventor journalist lawyer mathematician novelist painter philosopher photographer
    physician physicist pianist poet sculptor singer surgeon translator zoologist
    """
)
_FACTS = (
    "studied in {other} as a young adult and later taught there for {years} years",
    "won a national prize in {late}, left the city and retired {years} years later",
    "moved to {other} in {late} and kept a small garden there until the very end",
    "wrote {few} books and a very long diary that was at last printed in {late}",
    "married a {partner} in {late}, bought a house near the sea and raised {few} children",
    "travelled for {years} years before opening a small evening school in {other}",
    "lost a large fortune in {late} but went on working quietly for {years} years",
    "was remembered for a loud laugh, {few} old dogs and a lifelong love of chess",
)
_TEMPLATES = (
    "{name} was born in {place} in {year}. A well-known {job}, {last} {fact}.",
    "{name} (born {year} in {place}) was {a_job} who {fact}.",
    "Born in {place} in {year}, {name} became {a_job} and {fact}.",
    "{name} was {a_job} from {place}, born there in {year}, who {fact}.",
    "The {job} {name} came into the world in {place} in {year} and {fact}.",
    "{name}, {a_job} and a native of {place}, was born in {year} and {fact}.",
)


def _quota(count: int, rng: random.Random) -> list[str]:
    """``count`` birthplaces in random order in fixed shares: 5 % the first, the rest falling off.

    Shares are met by counting and not by chance, so that the constant answer scores the same in
    every split.
    """
    first = round(_SHARE_OF_FIRST_PLACE * count)
    # Harmonic with an offset: the second place has about 2.4 %, the last about 0.7 %.
    weights = [1 / (rank + 30) for rank in range(1, len(_PLACES))]
    scale = (count - first) / sum(weights)
    places = [_PLACES[0]] * first
    total = 0.0
    for place, weight in zip(_PLACES[1:], weights, strict=True):
        total += weight * scale
        places += [place] * (round(total) + first - len(places))
    rng.shuffle(places)
    return places


def _article(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def _lines(rng: random.Random, name: str, place: str, count: int) -> list[str]:
    """``count`` documents about one person, in different templates with different facts."""
    job = rng.choice(_PROFESSIONS)
    year = rng.randint(1820, 1960)
    shared = {"name": name, "last": name.split()[-1], "place": place, "job": job, "year": year}
    lines = []
    for template, fact in zip(
        rng.sample(_TEMPLATES, count), rng.sample(_FACTS, count), strict=True
    ):
        told = fact.format(
            other=rng.choice([p for p in _PLACES if p != place]),
            years=rng.randint(3, 29),
            few=rng.choice(("two", "three", "four", "five", "six")),
            late=year + rng.randint(24, 50),
            partner=rng.choice(("doctor", "farmer", "teacher", "baker", "singer", "sailor")),
        )
        lines.append(template.format(**shared, a_job=_article(job), fact=told))
    return lines


def biographies(
    seed: int = 0,
    people: int = 3000,
    documents_per_person: int = 2,
    train_questions: int = 1500,
    dev_questions: int = 300,
    test_questions: int = 300,
) -> Biographies:
    """Made-up people: what a corpus says about them, and where they were born.

    The same arguments give the same text. People without a question fill the corpus.

    Raises:
        UserError: if there are fewer people than questions, more than there are names for, or a
            number of documents per person that the templates do not allow.
    """
    asked = train_questions + dev_questions + test_questions
    names_available = len(_FIRST_NAMES) * len(_SURNAME_STARTS) * len(_SURNAME_ENDS)
    if min(train_questions, dev_questions, test_questions) < 0 or asked > people:
        raise UserError(
            f"biographies: {asked} questions about {people} people",
            hint="each question is about a person of its own: raise people, or ask less",
        )
    if people > names_available // 4:
        raise UserError(
            f"biographies: people is {people}, but there are names for {names_available // 4}",
            hint=f"people must be at most {names_available // 4}",
        )
    if not 1 <= documents_per_person <= len(_TEMPLATES):
        raise UserError(
            f"biographies: documents_per_person is {documents_per_person}",
            hint=f"it must be from 1 to {len(_TEMPLATES)}",
        )
    rng = random.Random(f"biographies {seed}")
    names: dict[str, None] = {}
    while len(names) < people:
        surname = rng.choice(_SURNAME_STARTS) + rng.choice(_SURNAME_ENDS)
        names[f"{rng.choice(_FIRST_NAMES)} {surname}"] = None
    remaining = iter(names)
    documents: list[str] = []
    parts: list[tuple[tuple[str, str], ...]] = []
    for count in (train_questions, dev_questions, test_questions, people - asked):
        group = [(next(remaining), place) for place in _quota(count, rng)]
        parts.append(tuple((f"Where was {name} born?", place) for name, place in group))
        for name, place in group:
            documents += _lines(rng, name, place, documents_per_person)
    rng.shuffle(documents)
    train, dev, test, _ = parts
    return Biographies(tuple(documents), train, dev, test, _PLACES[0])
