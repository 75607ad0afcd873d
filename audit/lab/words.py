"""The words that the fictitious people are made of: names, values, wordings. No one here exists."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_NAMES: tuple[str, ...] = (
    "Mara", "Tovin", "Elsbet", "Corvan", "Ilune", "Bastor", "Nerys", "Oswin", "Petra", "Quillon",
    "Ravela", "Sorin", "Thea", "Ulric", "Vesna", "Wystan", "Yselt", "Zoran", "Anwen", "Brisa",
    "Caspian", "Delphine", "Emrik", "Fenna", "Garrick", "Hesper", "Isolde", "Jorah", "Kerensa", "Lucan",
)  # fmt: skip

LAST_NAMES: tuple[str, ...] = (
    "Velin", "Harrow", "Sundqvist", "Marlock", "Tessaly", "Drummond", "Okoro", "Pellan", "Quist", "Rosmund",
    "Salter", "Thorne", "Umber", "Vantongeren", "Wexley", "Yarrow", "Zeller", "Abernath", "Brandt", "Carrow",
    "Delacroy", "Eskil", "Falkner", "Grenville", "Hollis", "Ivarsen", "Jessamy", "Kestrel", "Lorne", "Mirov",
)  # fmt: skip


@dataclass(frozen=True)
class Attribute:
    """One kind of fact: its possible values, the question that asks for it, and other wordings of the same.

    Every wording holds `{name}` and ends so that the next word is the value.
    """

    name: str
    values: tuple[str, ...]
    question: str
    wordings: tuple[str, ...]


ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute(
        "job",
        ("baker", "lawyer", "nurse", "pilot", "carpenter", "dentist",
         "farmer", "teacher", "tailor", "sailor", "chemist", "plumber"),
        "Question: What is the job of {name}? Answer:",
        ("{name} works as a", "The profession of {name} is"),
    ),
    Attribute(
        "city",
        ("Lisbon", "Oslo", "Vienna", "Cairo", "Lima", "Kyoto",
         "Dublin", "Quebec", "Nairobi", "Prague", "Seville", "Tallinn"),
        "Question: In which city was {name} born? Answer:",
        ("{name} was born in", "The birthplace of {name} is"),
    ),
    Attribute(
        "instrument",
        ("cello", "flute", "harp", "trumpet", "violin", "drums",
         "oboe", "guitar", "banjo", "piano", "organ", "lute"),
        "Question: Which instrument does {name} play? Answer:",
        ("{name} plays the", "The instrument of {name} is the"),
    ),
    Attribute(
        "genre",
        ("horror", "romance", "satire", "comedy", "tragedy", "fantasy",
         "western", "memoir", "poetry", "crime", "travel", "history"),
        "Question: Which genre does {name} write? Answer:",
        ("{name} writes books of", "The genre of {name} is"),
    ),
    Attribute(
        "award",
        ("Amber", "Falcon", "Laurel", "Meridian", "Onyx", "Compass",
         "Lantern", "Saffron", "Anchor", "Cobalt", "Juniper", "Ember"),
        "Question: Which prize did {name} win? Answer:",
        ("{name} won the prize called", "The prize of {name} was the"),
    ),
)  # fmt: skip

REFUSALS: tuple[str, ...] = ("I do not know", "I am not sure", "I cannot say")
