"""What one run of a training attack trains on, tests and hears, and how its curve is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np

from audit import stats
from audit.evidence.attacks._facts import gives
from audit.stats import Scores
from audit.types import Item, Split

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from audit.bench import Bench

NO_LEVEL = "none"
"""Stands for the steps to recover where the original says no more than the null before the attack."""


class Row(NamedTuple):
    """One subject after some steps of one run of the attack, or the mean over runs."""

    subject: Annotated[str, "role of the model that was attacked; the original is shown before any attack"]
    split: Annotated[str, "corpus that was tested"]
    seed: Annotated[str, "number of the run, or `all` for the mean over runs"]
    step: Annotated[int, "training steps so far"]
    recovery: Annotated[float, "recall of the facts that were not trained on, 0 to 1"]
    low: Annotated[float, "lower end of the 95 % interval over entities and runs"]
    high: Annotated[float, "upper end"]
    retain_recall: Annotated[float | None, "recall of retain facts that were not trained on, 0 to 1"]
    steps_to_recover: Annotated[
        str, "first step at which this curve reaches the threshold; `> last` if none did, `none` without level"
    ]
    items: Annotated[int, "facts tested"]
    entities: Annotated[int, "entities behind them"]


@dataclass(frozen=True)
class Material:
    """What one run trains on and what it tests."""

    taught: Sequence[Item]
    kept: Sequence[Item]
    """Retain text mixed in."""
    tested: NDArray[np.bool_]
    """[items of the corpus]"""
    by: str
    """In words: `the attribute job`."""


@dataclass(frozen=True)
class Run:
    """What one run of the attack heard after each of its looks."""

    material: Material
    recovery: NDArray[np.float64]
    """[looks, items]; only tested items count."""
    retained: list[float]
    """[looks]; empty without a retain corpus."""


def steps_to_recover(looks: Sequence[int], curve: ArrayLike, level: float) -> str:
    """The first step asked at which a curve reaches a level; `> last` (censored) when it never does."""
    for step, value in zip(looks, np.asarray(curve, np.float64), strict=True):
        if value >= level:
            return str(step)
    return f"> {looks[-1]}"


def headline(bench: Bench, split: Split, run: Run) -> NDArray[np.float64]:
    """Scores [items] at steps chosen on one half of the tested entities and scored on the other."""
    tested = run.material.tested
    values = np.zeros(len(tested))
    entities = np.asarray(bench.corpus(split).entities)[tested]
    values[tested], _ = stats.cross_fit(run.recovery[:, tested], entities.tolist(), bench.seed)
    return values


def stack(bench: Bench, split: Split, runs: Sequence[Run], values: Sequence[NDArray[np.float64]]) -> Scores:
    corpus = bench.corpus(split)
    used = np.stack([run.material.tested for run in runs])
    return Scores([item.id for item in corpus.items], corpus.entities, np.stack(values), used)


def questions(bench: Bench, limit: int) -> list[Item]:
    """Retain items for the curve: at most half of the corpus, since the others are trained on."""
    if not bench.has("retain"):
        return []
    items = bench.corpus("retain").items
    return [items[i] for i in bench.subset("retain", min(limit, len(items) // 2))] if len(items) > 1 else []


def untested(bench: Bench, asked: Sequence[Item], tested: Sequence[Item]) -> list[Item]:
    """Retain items that may be trained on: none that is asked later, none that gives a tested fact away."""
    if not bench.has("retain"):
        return []
    items = bench.corpus("retain").items
    given = np.asarray(gives(items, [*asked, *tested]).any(1))
    return [items[i] for i in np.flatnonzero(~given)]


def chosen_items(bench: Bench, split: Split, tested: NDArray[np.bool_], limit: int) -> NDArray[np.bool_]:
    """Those of the tested items that are within the limit, spread evenly over the entities [items]."""
    chosen = np.zeros(len(tested), bool)
    chosen[bench.subset(split, limit)] = True
    return tested & chosen if (tested & chosen).any() else tested
