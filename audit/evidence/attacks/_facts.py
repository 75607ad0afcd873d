"""Which facts an attacker trains on, and which are tested: never the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from audit.errors import NotApplicable
from audit.metrics.text import contains
from audit.stats import halves
from audit.types import Item

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHARED = 0.5
"""An attribute is worth splitting by when at least this share of the entities has it."""


@dataclass(frozen=True)
class FactsSplit:
    """What one run of an attack trains on and what it tests; both mark items of the corpus [items]."""

    trained: np.ndarray
    tested: np.ndarray
    by: str
    """In words: `the attribute job` or `half of the entities`."""


def facts_split(items: Sequence[Item], run: int, seed: int = 0, by_entity: bool = False) -> FactsSplit:
    """Split facts for one run of an attack.

    Where entities share two or more attributes, run `s` trains attribute `s mod A` of all of them and tests the
    others. Else, or `by_entity`, it trains one half of the entities and tests the other; two runs in a row swap the
    halves. A fact that a trained one says too (same prompt and answer, same entity and answer, or an answer that stands
    in what is trained about the entity) is not tested, nor is one whose attribute is unknown where attributes are
    split. Raises NotApplicable when nothing is left to test.
    """
    entities = [item.entity or item.id for item in items]
    shared = [] if by_entity else shared_attributes(items)
    if len(shared) >= 2:
        attribute = shared[run % len(shared)]
        trained = np.array([item.attribute == attribute for item in items])
        others = np.array([item.attribute is not None for item in items]) & ~trained
        by = f"the attribute {attribute}"
    else:
        trained = halves(entities, seed + run // 2) ^ bool(run % 2)
        others, by = ~trained, "half of the entities"
    known = [item for item, yes in zip(items, trained, strict=True) if yes]
    tested = others & ~gives(known, items).any(0)
    if not trained.any() or not tested.any():
        raise NotApplicable(
            "The facts cannot be split into some to train on and others to test: give the items at least two "
            "entities, or attributes that the entities share."
        )
    return FactsSplit(trained, tested, by)


def shared_attributes(items: Sequence[Item]) -> list[str]:
    """Attributes that at least half of the entities have, in alphabetical order."""
    entities = {item.entity or item.id for item in items}
    owners: dict[str, set[str]] = {}
    for item in items:
        if item.attribute is not None:
            owners.setdefault(item.attribute, set()).add(item.entity or item.id)
    return sorted(name for name, who in owners.items() if len(who) >= SHARED * len(entities))


def gives_away(other: Item, item: Item) -> bool:
    """Whether another item about the same entity says an item's answer, in its question or its own answer."""
    if not item.entity or not other.entity or _folded(item.entity) != _folded(other.entity):
        return False
    text = f"{other.prompt} {other.answer}"
    return any(contains(text, answer) for answer in (item.answer, item.paraphrased_answer) if answer)


def gives(others: Sequence[Item], items: Sequence[Item]) -> NDArray[np.bool_]:
    """Which of the others say which item too, by `facts_of` or `gives_away` [others, items]."""
    found = np.zeros((len(others), len(items)), bool)
    facts: dict[tuple[str, str, str], list[int]] = {}
    about: dict[str, list[int]] = {}
    for j, item in enumerate(items):
        for fact in facts_of([item]):
            facts.setdefault(fact, []).append(j)
        about.setdefault(_folded(item.entity or ""), []).append(j)
    for i, other in enumerate(others):
        for fact in facts_of([other]):
            found[i, facts.get(fact, [])] = True
        for j in about.get(_folded(other.entity or ""), []):
            found[i, j] |= gives_away(other, items[j])
    return found


def _folded(name: str) -> str:
    return name.casefold().strip()


def facts_of(items: Iterable[Item]) -> set[tuple[str, str, str]]:
    """What would give an item away: its question (in any wording) with its answer, and its entity with its answer."""
    found: set[tuple[str, str, str]] = set()
    for item in items:
        answer = item.answer.casefold().strip()
        asked = (item.image.digest,) if item.image and not item.worded else (item.prompt, *item.paraphrases)
        if item.image and item.worded:  # the same words about another image are another question
            asked = tuple(f"{item.image.digest} {prompt}" for prompt in asked)
        found |= {("prompt", prompt.casefold().strip(), answer) for prompt in asked}
        if item.entity:
            found.add(("entity", _folded(item.entity), answer))
    return found
