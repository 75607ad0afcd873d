"""Items by attribute and label, and which of them have the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from audit.types import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench
    from audit.evidence.drift._likeness import Sampled


@dataclass(frozen=True)
class Labelled:
    """The compared items of a split, in order; an item without a label has none in `known` [items] each."""

    attribute: NDArray[np.str_]
    label: NDArray[np.str_]
    entity: NDArray[np.str_]
    known: NDArray[np.bool_]


def labelled(bench: Bench, sample: Sampled, split: Split) -> Labelled:
    """Attribute, label and entity of the compared items; one unnamed attribute where items name none."""
    items = [bench.corpus(split).items[i] for i in sample.rows[split]]
    return Labelled(
        np.array([item.attribute or "" for item in items], dtype=str),
        np.array([item.label or "" for item in items], dtype=str),
        np.array(sample.entities[split], dtype=str),
        np.array([item.label is not None for item in items], dtype=bool),
    )


def pairs(first: Labelled, second: Labelled) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Pairs of one attribute and different entities with the same label, and with different labels [first, second]."""
    comparable = (first.attribute[:, None] == second.attribute) & (first.entity[:, None] != second.entity)
    comparable &= first.known[:, None] & second.known
    alike = first.label[:, None] == second.label
    return comparable & alike, comparable & ~alike
