"""Regressions and probes that are fitted on some retain items and read other items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from audit import probing
from audit.evidence.drift._labels import labelled
from audit.stats import halves
from audit.types import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench
    from audit.evidence.drift._likeness import Clouds, Sampled

PENALTIES = tuple(10.0**k for k in range(-3, 5))
"""Of the ridge regression on standardised states; the same grid for every subject."""


@dataclass(frozen=True)
class Group:
    """One attribute: the probe's task and training items, and what it reads."""

    train: NDArray[np.intp]
    """Retain items, in the order of the task."""
    task: probing.Task
    rows: Mapping[Split, NDArray[np.intp]]
    truth: Mapping[Split, NDArray[np.intp]]


@dataclass(frozen=True)
class Part:
    """Retain items to fit on, and groups that read items of other entities."""

    train: NDArray[np.intp]
    groups: list[Group]


def parts_of(bench: Bench, sample: Sampled, *, folds: int, nulls: int) -> list[Part]:
    """All of retain reads the other splits; each half of it reads the other half, so that no item reads itself."""
    half = halves(sample.entities["retain"], bench.seed)
    everything = np.arange(len(half))
    others: dict[Split, NDArray[np.intp]] = {s: np.arange(len(sample.ids[s])) for s in sample.splits if s != "retain"}
    plan: list[tuple[NDArray[np.intp], dict[Split, NDArray[np.intp]]]] = [(everything, others)]
    if half.any() and not half.all():
        plan += [(everything[side], {"retain": everything[~side]}) for side in (half, ~half)]
    return [Part(train, _groups(bench, sample, train, read, folds, nulls)) for train, read in plan]


def _groups(
    bench: Bench,
    sample: Sampled,
    train: NDArray[np.intp],
    read: Mapping[Split, NDArray[np.intp]],
    folds: int,
    nulls: int,
) -> list[Group]:
    """One group per attribute with two labels on two entities among the training items."""
    items = {s: labelled(bench, sample, s) for s in sample.splits}
    retain, groups = items["retain"], []
    for name in np.unique(retain.attribute):
        mine = train[(retain.attribute[train] == name) & retain.known[train]]
        labels, entities = retain.label[mine].tolist(), retain.entity[mine].tolist()
        if len(set(labels)) < 2 or len(set(entities)) < 2:
            continue
        task = probing.make_task(labels, entities, folds=folds, nulls=nulls, seed=bench.seed)
        known = {label: k for k, label in enumerate(task.classes)}
        rows = {
            s: np.array(
                [
                    i
                    for i in chosen
                    if items[s].attribute[i] == name and items[s].known[i] and items[s].label[i] in known
                ],
                np.intp,
            )
            for s, chosen in read.items()
        }
        truth = {s: np.array([known[label] for label in items[s].label[found]], np.intp) for s, found in rows.items()}
        groups.append(Group(mine, task, rows, truth))
    return groups


def explained(first: Clouds, second: Clouds, part: Part) -> dict[Split, NDArray[np.float32]]:
    """The first subject's states as the second's predict them, fitted on the part's retain items, by split."""
    from sklearn.linear_model import RidgeCV

    train = second["retain"][part.train].astype(np.float64)
    centre, scale = train.mean(0), train.std(0)
    scale[scale <= 1e-6 * np.abs(centre)] = np.inf  # a feature that never varies says nothing
    model = RidgeCV(PENALTIES).fit((train - centre) / scale, first["retain"][part.train].astype(np.float64))
    return {s: model.predict((y - centre) / scale).astype(np.float32) for s, y in second.items()}
