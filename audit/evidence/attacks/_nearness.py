"""How near retain facts are to the facts that were to be forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from audit.errors import NotApplicable
from audit.evidence.attacks._curves import Material, chosen_items, questions, untested
from audit.metrics.text import words
from audit.types import Item, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

FEWEST = 8
"""Retain facts that a run needs to train on."""
ENTITY, VALUE, KIND = 4.0, 2.0, 1.0


def nearness(items: Sequence[Item], others: Sequence[Item]) -> NDArray[np.float64]:
    """How near each item is to the nearest of the others [items].

    4 for the same entity, 2 for the same attribute with the same label (or answer), 1 for the same attribute or the
    same label, and up to 1 for the share of words that the two prompts have in common (Jaccard); what holds adds up.
    """
    theirs = [(_traits(other), set(words(other.prompt))) for other in others]
    found = np.zeros(len(items))
    for i, item in enumerate(items):
        (entity, kind, value), said = _traits(item), set(words(item.prompt))
        for (entity2, kind2, value2), said2 in theirs:
            same_kind, same_value = kind is not None and kind == kind2, value == value2
            near = ENTITY * (entity is not None and entity == entity2) + VALUE * (same_kind and same_value)
            near += KIND * (same_kind or same_value) + len(said & said2) / max(1, len(said | said2))
            found[i] = max(found[i], near)
    return found


def _traits(item: Item) -> tuple[str | None, str | None, str]:
    entity = item.entity.casefold().strip() if item.entity else None
    return entity, item.attribute, (item.label or item.answer).casefold().strip()


def retain_material(bench: Bench, split: Split, seed: int, asked: int, tested: int, near: bool) -> Material:
    """Retain facts to train on, the nearer or the farther half of those that may be used; all of the corpus is tested.

    Each run draws half of that half, at most as many facts as the corpus has. Raises NotApplicable for too few.
    """
    corpus = bench.corpus(split)
    chosen = chosen_items(bench, split, np.ones(len(corpus), bool), tested)
    pool = untested(bench, questions(bench, asked), corpus.items)
    if len(pool) < 4 * FEWEST:
        raise NotApplicable(
            f"{len(pool)} retain facts can be trained on (none that is asked later or gives a tested fact away), and "
            f"this attack needs at least {4 * FEWEST}: add retain facts to the case."
        )
    order = np.argsort(-_remembered(bench, split, pool), kind="stable")
    half = order[: len(pool) // 2] if near else order[-(len(pool) // 2) :]
    drawn = bench.rng("retain material", split, seed, near).permutation(half)
    taught = [pool[i] for i in np.sort(drawn[: min(len(half) // 2, len(corpus))])]
    where = "nearest to" if near else "farthest from"
    common = _shared([pool[i] for i in half], corpus.items)
    return Material(taught, [], chosen, f"{len(taught)} retain facts {where} them ({common})")


def _remembered(bench: Bench, split: Split, pool: Sequence[Item]) -> NDArray[np.float64]:
    """`nearness` of the pool to a corpus, computed once."""

    def compute() -> dict[str, np.ndarray]:
        return {"nearness": nearness(pool, bench.corpus(split).items)}

    inputs = {"split": split, "pool": [item.id for item in pool]}
    return bench.remember("retain nearness", [], inputs, compute, corpora=(split, "retain"))["nearness"]


def _shared(taught: Sequence[Item], items: Sequence[Item]) -> str:
    """In words: what the facts trained on have in common with those that are tested."""
    theirs = [_traits(item) for item in items]
    entities = {entity for entity, _, _ in theirs if entity}
    pairs = {(kind, value) for _, kind, value in theirs if kind is not None}
    kinds = {kind for _, kind, _ in theirs if kind is not None}
    mine = [_traits(item) for item in taught]
    shares = {
        "the entity": np.mean([entity in entities for entity, _, _ in mine]),
        "attribute and answer": np.mean([(kind, value) in pairs for _, kind, value in mine]),
        "the attribute": np.mean([kind in kinds for _, kind, _ in mine]),
    }
    said = [f"{share:.0%} share {name}" for name, share in shares.items() if share > 0]
    return ", ".join(said) + " with one" if said else "they share neither entity nor attribute with one"
