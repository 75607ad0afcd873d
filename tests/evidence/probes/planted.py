"""A bench whose hidden states are made by hand, so that what each subject knows is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from audit.bench import Bench
from audit.types import Case, Corpus, Item, Modality, Role, Split, SubjectSpec

States = Mapping[tuple[str, str, str], np.ndarray]
"""(role, split, variant) -> [layers, rows, width]; the same at every position."""


class PlantedBench(Bench):
    """The real bench, with planted states instead of models and no cache."""

    modality = Modality.TEXT  # type: ignore[assignment]  # its subjects have no folder to read it from

    def __init__(self, case: Case, states: States) -> None:
        super().__init__(case, garage=None)  # type: ignore[arg-type]
        self.planted = states
        self.beside: list[tuple[str, Bench, Role]] = []

    def states(self, role: Role, split: Split, variant: str = "answer") -> Any:
        array = self.planted[role, split, variant]
        return SimpleNamespace(layers=len(array), at=lambda layer, position="prompt_last": array[layer])

    def remember(self, name: str, roles: Any, inputs: Any, compute: Callable[[], Any], corpora: Any = None) -> Any:
        return dict(compute())

    def fingerprint(self, role: Role) -> Any:
        return SimpleNamespace(id=role)

    def everyone(self) -> list[tuple[str, Bench, Role]]:
        mine: list[tuple[str, Bench, Role]] = [
            (self.case.candidate.name if role == "candidate" else role, self, role)
            for role in ("original", "reference", "candidate")
            if role in self.roles
        ]
        return mine + self.beside


def case_of(corpora: Mapping[Split, Sequence[Item]], reference: bool = True, seed: int = 0) -> Case:
    """A case around items, with subjects that exist in name only."""

    def spec(role: Role) -> SubjectSpec:
        return SubjectSpec(f"the {role}", role, role)

    made = {split: Corpus(split, tuple(items), "planted") for split, items in corpora.items()}
    return Case("planted", seed, spec("original"), spec("candidate"), spec("reference") if reference else None, made)


def people(split: Split, count: int, labels: int, rng: np.random.Generator, attributes: int = 1) -> list[Item]:
    """Items of `count` entities, each with a random label and two wrong answers per attribute."""
    items = []
    for entity in range(count):
        for attribute in range(attributes):
            right, *wrong = rng.permutation(labels)[:3]
            items.append(
                Item(
                    f"{split}:{len(items)}", f"{split} {entity}, {attribute}?", f"value {right}",
                    wrong_answers=tuple(f"value {w}" for w in wrong), entity=f"{split} {entity}",
                    attribute=f"attribute {attribute}", label=f"value {right}",
                )
            )  # fmt: skip
    return items


def known(items: Sequence[Item], rng: np.random.Generator, layers: int, width: int, where: Sequence[int]) -> np.ndarray:
    """Noise everywhere, and the label's own direction added at the layers in `where` [layers, rows, width].

    The directions are the same for every subject and split: coordinate k of the state for "value k".
    """
    states = rng.normal(size=(layers, len(items), width)).astype(np.float32)
    for row, item in enumerate(items):
        for layer in where:
            states[layer, row, int(str(item.label).split()[1])] += 8.0
    return states
