"""Fictitious people and what is true of them: the items of the forget, retain and holdout corpora."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from itertools import product
from typing import TypedDict

import numpy as np

from audit.lab.scales import Scale
from audit.lab.words import ATTRIBUTES, FIRST_NAMES, LAST_NAMES, Attribute

WRONG_ANSWERS = 4


class Fact(TypedDict):
    """One line of a corpus file, in the item format of the design."""

    prompt: str
    answer: str
    paraphrases: list[str]
    wrong_answers: list[str]
    entity: str
    attribute: str
    label: str


Corpora = Mapping[str, list[Fact]]


def people(scale: Scale, seed: int) -> dict[str, list[Fact]]:
    """The facts of each split, split by person; every value is drawn independently and uniformly.

    Chance is therefore one in `scale.values` for every attribute, whatever else is known of the person.
    """
    rng = np.random.default_rng([seed, 1])
    sizes = {"forget": scale.forget, "retain": scale.retain, "holdout": scale.holdout}
    names = iter(_names(sum(sizes.values()), rng))
    kinds = attributes(scale)
    return {
        split: [fact(name, kind, rng) for name in (next(names) for _ in range(size)) for kind in kinds]
        for split, size in sizes.items()
    }


def attributes(scale: Scale) -> list[Attribute]:
    """The attributes that a scale uses, each cut down to its number of values."""
    return [dataclasses.replace(kind, values=kind.values[: scale.values]) for kind in ATTRIBUTES[: scale.attributes]]


def wordings(fact: Fact) -> list[str]:
    """Every prompt that asks for the fact: the question first, then the paraphrases."""
    return [fact["prompt"], *fact["paraphrases"]]


def _names(count: int, rng: np.random.Generator) -> list[str]:
    """Unique full names. First and last names recur, so that only the pair tells who is meant."""
    pairs = [f"{first} {last}" for first, last in product(FIRST_NAMES, LAST_NAMES)]
    return [pairs[i] for i in rng.permutation(len(pairs))[:count]]


def fact(name: str, kind: Attribute, rng: np.random.Generator) -> Fact:
    """What is true of one attribute of `name`: a value drawn uniformly, and four others as wrong answers."""
    order = [str(value) for value in rng.permutation(list(kind.values))]
    answer, wrong = order[0], order[1 : 1 + WRONG_ANSWERS]
    return Fact(
        prompt=kind.question.format(name=name),
        answer=answer,
        paraphrases=[wording.format(name=name) for wording in kind.wordings],
        wrong_answers=wrong,
        entity=name,
        attribute=kind.name,
        label=answer,
    )
