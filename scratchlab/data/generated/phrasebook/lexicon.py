"""The words of the generated English–French phrasebook.

The grammar that puts them together is in :mod:`scratchlab.data.generated.phrasebook.grammar`.
"""

from __future__ import annotations

from scratchlab.data.generated.phrasebook.words import (
    Adjective,
    Conjugation,
    Determiner,
    Noun,
    Preposition,
    Pronoun,
    Time,
    Verb,
    conjugate,
    conjugate_er,
    conjugate_ir,
    conjugate_re,
)


def _nouns(kind: str, table: str) -> tuple[Noun, ...]:
    """Nouns from lines ``English gender French [+around ...]``; a slash gives an odd plural."""
    nouns = []
    for line in table.strip().splitlines():
        en, gender, fr, *around = line.split()
        en_single, _, en_odd = en.partition("/")
        fr_single, _, fr_odd = fr.partition("/")
        mass = kind in ("drink", "staple")
        nouns.append(
            Noun(
                en_single,
                en_odd or _english_plural(en_single),
                fr_single,
                fr_odd or (fr_single if fr_single[-1] in "sx" else fr_single + "s"),
                gender == "f",
                kind,
                tuple(around),
                mass,
            )
        )
    return tuple(nouns)


def _english_plural(noun: str) -> str:
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


NOUNS: tuple[Noun, ...] = (
    *_nouns(
        "person",
        """
        girl f fille
        boy m garçon
        woman/women f femme
        man/men m homme
        child/children m enfant
        teacher m professeur
        doctor m médecin
        student m étudiant
        nurse f infirmière
        hero/heroes m héros
        """,
    ),
    *_nouns(
        "kin",
        """
        friend m ami
        neighbor m voisin
        mother f mère
        father m père
        sister f sœur
        brother m frère
        """,
    ),
    *_nouns(
        "animal",
        """
        cat m chat
        dog m chien
        bird m oiseau/oiseaux
        horse m cheval/chevaux
        mouse/mice f souris
        cow f vache
        """,
    ),
    *_nouns("food", "apple f pomme\negg m œuf\ncake m gâteau/gâteaux\norange f orange"),
    *_nouns("staple", "bread m pain\ncheese m fromage\nmeat f viande\nsoup f soupe"),
    *_nouns("drink", "water f eau\nmilk m lait\ncoffee m café\ntea m thé"),
    *_nouns(
        "object",
        """
        book m livre
        umbrella m parapluie
        key f clé
        flower f fleur
        clock f horloge
        newspaper m journal/journaux
        """,
    ),
    *_nouns("clothes", "hat m chapeau/chapeaux\ndress/dresses f robe\ncoat m manteau/manteaux"),
    *_nouns("opening", "door f porte behind before\nwindow f fenêtre before"),
    *_nouns("container", "box f boîte in on under"),
    *_nouns("furniture", "table f table on under\nbed m lit on under\nchair f chaise on under"),
    *_nouns("vehicle", "car f voiture in under before behind"),
    *_nouns("tree", "tree m arbre under before behind"),
    *_nouns(
        "place",
        """
        house f maison in before behind
        garden m jardin in to from behind
        kitchen f cuisine in
        school f école in at to from before behind
        church f église in to from before behind
        hotel m hôtel in at to from before behind
        hospital m hôpital/hôpitaux in at to from before behind
        restaurant m restaurant in at to from before behind
        station f gare at to from before behind
        park m parc in to from
        market m marché at to from
        """,
    ),
)

_PEOPLE = "person kin"
_LIVING = "person kin animal"
_THINGS = "object clothes container furniture vehicle"
_BUILT = f"{_THINGS} opening tree place"
_EDIBLE = "food staple drink"


def _adjective(
    en: str, fr: str, kinds: str, before: bool = False, use: str = "both", bel: str = ""
) -> Adjective:
    """``fr`` is the masculine, or "masculine feminine [masculine plural]" where irregular."""
    parts = fr.split()
    masculine = parts[0]
    if len(parts) > 1:
        feminine = parts[1]
    else:
        feminine = masculine if masculine.endswith("e") else masculine + "e"
    plural = parts[2] if len(parts) > 2 else masculine + "s" * (masculine[-1] not in "sx")
    return Adjective(
        en,
        masculine,
        feminine,
        plural,
        feminine + "s",
        bel or masculine,
        before,
        frozenset(kinds.split()),
        predicative=use != "attributive",
        attributive=use != "predicative",
    )


ADJECTIVES: tuple[Adjective, ...] = (
    _adjective("little", "petit", f"{_LIVING} food {_BUILT}", True, "attributive"),
    _adjective("big", "grand", f"animal food {_BUILT}", True),
    # Not for kin: a "belle sœur" would be the sister-in-law.
    _adjective("beautiful", "beau belle beaux", f"person animal {_BUILT}", True, bel="bel"),
    _adjective("old", "vieux vieille", f"{_LIVING} {_BUILT}", True, bel="vieil"),
    _adjective(
        "new", "nouveau nouvelle nouveaux", f"person {_THINGS} place", True, "attributive", "nouvel"
    ),
    _adjective("young", "jeune", _LIVING, True),
    _adjective("good", "bon bonne", f"{_PEOPLE} {_EDIBLE} place", True, "attributive"),
    _adjective("red", "rouge", f"food {_THINGS} opening"),
    _adjective("green", "vert", f"food {_THINGS} opening tree"),
    _adjective("white", "blanc blanche", f"animal {_THINGS} opening"),
    _adjective("black", "noir", f"animal {_THINGS} opening"),
    _adjective("blue", "bleu", f"{_THINGS} opening"),
    _adjective("expensive", "cher chère", f"food staple {_THINGS}"),
    _adjective("French", "français française", f"person food staple {_THINGS}"),
    _adjective("English", "anglais anglaise", f"person food staple {_THINGS}"),
    _adjective("famous", "célèbre", "person place"),
    _adjective("happy", "heureux heureuse", _LIVING),
    _adjective("sad", "triste", _LIVING),
    _adjective("tired", "fatigué", _LIVING),
    _adjective("sick", "malade", _LIVING),
    _adjective("intelligent", "intelligent", _LIVING),
    _adjective("empty", "vide", "container place"),
    _adjective("open", "ouvert", "opening container"),
    _adjective("cold", "froid", _EDIBLE),
    _adjective("hot", "chaud", _EDIBLE),
)


def _determiner(
    en: str, masculine: str, feminine: str, plural: str, vowel: tuple[str, str] | None = None
) -> Determiner:
    single, _, many = en.partition("/")
    return Determiner(
        single, many or single, masculine, feminine, vowel or (masculine, feminine), plural
    )


THE = _determiner("the", "le", "la", "les")
A = _determiner("a/some", "un", "une", "des")
THIS = _determiner("this/these", "ce", "cette", "ces", ("cet", "cette"))
# "She loves apples": English drops the article of a whole kind, French keeps it.
GENERIC = Determiner("", "", "le", "la", ("le", "la"), "les")
POSSESSIVES = (
    _determiner("my", "mon", "ma", "mes", ("mon", "mon")),
    _determiner("your", "votre", "votre", "vos"),
    _determiner("his", "son", "sa", "ses", ("son", "son")),
    _determiner("her", "son", "sa", "ses", ("son", "son")),
    _determiner("our", "notre", "notre", "nos"),
    _determiner("their", "leur", "leur", "leurs"),
)
NUMBERS = tuple(
    _determiner(en, fr, fr, fr)
    for en, fr in (("two", "deux"), ("three", "trois"), ("four", "quatre"), ("ten", "dix"))
)

PRONOUNS = (
    Pronoun("I", "me", "je", "me", "me", 0, False, False),
    Pronoun("he", "him", "il", "le", "lui", 1, False, False),
    Pronoun("she", "her", "elle", "la", "lui", 1, True, False),
    Pronoun("we", "us", "nous", "nous", "nous", 2, False, True),
    # One person, addressed politely: "vous" with the agreement of a masculine singular.
    Pronoun("you", "you", "vous", "vous", "vous", 3, False, False),
    Pronoun("they", "them", "ils", "les", "leur", 4, False, True),
)

PREPOSITIONS = {
    "in": Preposition("in", "dans"),
    "on": Preposition("on", "sur"),
    "under": Preposition("under", "sous"),
    "before": Preposition("in front of", "devant"),
    "behind": Preposition("behind", "derrière"),
    "at": Preposition("at", "à"),
    "to": Preposition("to", "à"),
    "from": Preposition("from", "de"),
    # Rendered around its noun phrase: "at my sister's house".
    "at home": Preposition("at", "chez"),
    "to home": Preposition("to", "chez"),
}


def _time(en: str, fr: str, tenses: str) -> Time:
    return Time(en, fr, frozenset(tenses.split()))


TIMES = (
    _time("every day", "tous les jours", "present habit"),
    _time("every morning", "tous les matins", "present habit"),
    _time("on Sundays", "le dimanche", "present habit"),
    _time("now", "maintenant", "progressive"),
    _time("today", "aujourd'hui", "progressive future"),
    _time("yesterday", "hier", "past imperfect"),
    _time("last week", "la semaine dernière", "past"),
    _time("this morning", "ce matin", "past imperfect"),
    _time("tomorrow", "demain", "future"),
    _time("next week", "la semaine prochaine", "future"),
    _time("this evening", "ce soir", "future"),
)
FREQUENCIES = (("often", "souvent"), ("always", "toujours"), ("sometimes", "parfois"))


def _verb(
    en: str,
    fr: Conjugation,
    use: str,
    subjects: str,
    objects: str = "",
    towards: str = "",
) -> Verb:
    """``en`` is "base third past ing [particle]", ``use`` is "aspect pattern"."""
    base, third, past, ing, *particle = en.split()
    aspect, pattern = use.split()
    kinds = frozenset(subjects.split()), frozenset(objects.split())
    return Verb(base, third, past, ing, "".join(particle), fr, aspect, pattern, *kinds, towards)


AVOIR = conjugate("avoir", "ai a avons avez ont", "eu", "aur")
VOULOIR = conjugate("vouloir", "veux veut voulons voulez veulent", "voulu", "voudr")
ETRE = conjugate("être", "suis est sommes êtes sont", "été", "ser", "ét")
BE = _verb("be is was being", ETRE, "state copula", _LIVING)

_ANY_THING = f"{_THINGS} food"
_WANTED = f"animal {_THINGS} {_EDIBLE}"
_VENIR = conjugate("venir", "viens vient venons venez viennent", "venu", "viendr", with_etre=True)
_ALLER = conjugate("aller", "vais va allons allez vont", "allé", "ir", with_etre=True)
_CONNAITRE = "connais connaît connaissons connaissez connaissent"
_VOIR = conjugate("voir", "vois voit voyons voyez voient", "vu", "verr")
_BOIRE = conjugate("boire", "bois boit buvons buvez boivent", "bu")
_OUVRIR = conjugate("ouvrir", "ouvre ouvre ouvrons ouvrez ouvrent", "ouvert")
_DORMIR = conjugate("dormir", "dors dort dormons dormez dorment", "dormi")
_DOES, _IS, _HAPPENS = "activity direct", "state direct", "event direct"

VERBS: tuple[Verb, ...] = (
    _verb("eat eats ate eating", conjugate_er("manger"), _DOES, _LIVING, "food staple"),
    _verb("drink drinks drank drinking", _BOIRE, _DOES, _LIVING, "drink"),
    _verb(
        "see sees saw seeing",
        _VOIR,
        _HAPPENS,
        _LIVING,
        f"{_LIVING} food {_BUILT}",
    ),
    _verb(
        "buy buys bought buying",
        conjugate_er("acheter", "achèt"),
        _DOES,
        _PEOPLE,
        f"{_THINGS} {_EDIBLE}",
    ),
    _verb(
        "look looks looked looking for",
        conjugate_er("chercher"),
        _DOES,
        _LIVING,
        f"{_LIVING} {_ANY_THING}",
    ),
    _verb("choose chooses chose choosing", conjugate_ir("choisir"), _DOES, _PEOPLE, _ANY_THING),
    _verb("wait waits waited waiting for", conjugate_re("attendre"), _DOES, _LIVING, _LIVING),
    _verb("listen listens listened listening to", conjugate_er("écouter"), _DOES, _LIVING, _LIVING),
    _verb(
        "love loves loved loving",
        conjugate_er("aimer"),
        _IS,
        _LIVING,
        f"{_LIVING} {_EDIBLE} object clothes place",
    ),
    _verb(
        "know knows knew knowing",
        conjugate("connaître", _CONNAITRE, "connu"),
        _IS,
        _PEOPLE,
        "person kin place",
    ),
    _verb("want wants wanted wanting", VOULOIR, _IS, _PEOPLE, _WANTED),
    _verb("have has had having", AVOIR, _IS, _PEOPLE, _WANTED),
    _verb("wear wears wore wearing", conjugate_er("porter"), _DOES, _PEOPLE, "clothes"),
    _verb("open opens opened opening", _OUVRIR, _DOES, _PEOPLE, "opening container"),
    _verb(
        "give gives gave giving",
        conjugate_er("donner"),
        "activity giving",
        _PEOPLE,
        f"object clothes container {_EDIBLE}",
    ),
    _verb(
        "talk talks talked talking to",
        conjugate_er("parler"),
        "activity indirect",
        _PEOPLE,
        _LIVING,
    ),
    _verb("go goes went going", _ALLER, "activity motion", _PEOPLE, "place", "to"),
    _verb("come comes came coming", _VENIR, "activity motion", _LIVING, "place", "from"),
    _verb(
        "stay stays stayed staying",
        conjugate_er("rester", with_etre=True),
        "activity motion",
        _LIVING,
        "place",
        "at",
    ),
    _verb("sleep sleeps slept sleeping", _DORMIR, "activity alone", _LIVING),
    _verb("work works worked working", conjugate_er("travailler"), "activity alone", _PEOPLE),
    _verb("play plays played playing", conjugate_er("jouer"), "activity alone", _LIVING),
)

# "can", "must" and "want to" with an infinitive, present tense only.
MODALS = {
    "can": conjugate("pouvoir", "peux peut pouvons pouvez peuvent", "pu", "pourr"),
    "must": conjugate("devoir", "dois doit devons devez doivent", "dû", "devr"),
    "want": VOULOIR,
}
# Verbs that report a whole sentence ("She thinks that …").
REPORTS = (
    ("think", "thinks", conjugate_er("penser").present),
    ("say", "says", conjugate("dire", "dis dit disons dites disent", "dit").present),
)
