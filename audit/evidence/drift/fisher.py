"""Fisher ratio: how far apart the answers lie, compared with the spread within one answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit.errors import CaseError, NotApplicable, NotIdentifiable
from audit.evidence.drift import _likeness as likeness
from audit.evidence.drift._labels import Labelled, labelled, pairs
from audit.stats import ALPHA, Panel, Sample, entity_weights, panel_of
from audit.types import BOTH, Access, Chart, Modality, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench
    from audit.evidence.drift._likeness import Clouds, Found

MIN_ITEMS = 4
MIN_PAIRS = 5
"""Pairs of different entities with one label that an attribute needs: the spread within labels rests on them."""


class FisherRow(NamedTuple):
    """One layer of one subject on one split, over all attributes."""

    layer: Annotated[int, "0 is the input of the first block, i the output of block i"]
    subject: Annotated[str, "role of the model"]
    split: Annotated[str, "corpus of the items"]
    ratio: Annotated[float, "between-label over within-label scatter, mean over attributes; 0 = labels say nothing"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end of the 95 % interval over entities"]
    kept: Annotated[float | None, "ratio over the original's on the same items; empty where its own is not above 0"]
    attributes: Annotated[int, "number of attributes with enough items of one label"]
    items: Annotated[int, "number of items of the split"]
    entities: Annotated[int, "number of entities among them"]


@dataclass(frozen=True)
class Fisher:
    """Fisher's discriminant ratio of the labels within each attribute, relative to the original's on forget.

    Scatter is counted over pairs of items of different entities, which is unbiased however few items a label has: about
    0 where labels say nothing (and sometimes below), where the usual ratio of few items is far above. No probe is
    trained, so nothing is learned from retain. The number is the ratio over the original's mean ratio on forget, so 1
    is as in the original; both a reference and a holdout serve as null.
    """

    title: ClassVar[str] = "Fisher ratio of the answers"
    question: ClassVar[str] = "Do forgotten items with different answers still lie apart, and those with one together?"
    blind_to: ClassVar[str] = (
        "Answers that lie in few directions of little variance, answers that only one item has, and items that lie "
        "apart under another order of the answers than the original's."
    )
    formula: ClassVar[str] = (
        "J = (D_other - D_same) / D_same = tr S_between / tr S_within, D = mean squared distance of pairs of items of "
        "one attribute and different entities, with the same or with another label; mean over attributes; headline = "
        "mean of J over block outputs on forget / the same in the original"
    )
    source: ClassVar[str] = "Fisher 1936; trace form: Fukunaga 1990, Introduction to Statistical Pattern Recognition"
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN})
    reads: ClassVar[frozenset[Modality]] = BOTH
    row: ClassVar[type] = FisherRow
    chart: ClassVar[Chart] = Chart(
        "line",
        x="layer",
        y="ratio",
        low="low",
        high="high",
        facet="split",
        hover=("kept", "attributes", "items"),
        x_title="layer",
        y_title="Fisher ratio",
        title="How far apart the answers lie, layer by layer",
    )
    cost: ClassVar[float] = 0.2

    position: str = "prompt_last"
    items: int = 1000
    """Items of each split at most."""
    draws: int = 500

    def __post_init__(self) -> None:
        likeness.check_settings(self.position, self.items, MIN_ITEMS)
        if self.draws < 1:
            raise CaseError(f"The Fisher ratio needs at least 1 draw; found {self.draws}.")

    def measure(self, bench: Bench) -> Reading:
        """Measure every subject; NotApplicable without labels, NotIdentifiable if they do not order the original."""
        sample = likeness.sampled(bench, self.items, MIN_ITEMS)
        groups = {s: attributes(labelled(bench, sample, s)) for s in sample.splits}
        if not groups["forget"]:
            raise NotApplicable(
                f"No attribute has {MIN_PAIRS} pairs of forget items of different entities with one label, and others "
                f"with another, so there is no scatter within and between labels."
            )
        sample = sample.only({s: np.arange(len(sample.ids[s])) for s in sample.splits if groups[s]})
        weights = {}
        for split, names in sample.entities.items():
            counts, index = entity_weights(names, self.draws, bench.seed)
            weights[split] = np.vstack([np.ones(len(names)), counts[:, index]])

        def compare(first: Clouds, second: Clouds) -> dict[str, NDArray[np.float64]]:
            return {s: ratio(second[s], groups[s], weights[s]) for s in second}

        found = likeness.by_layer(bench, "drift.fisher", sample, self.position, {"draws": self.draws}, compare)
        rows = [
            FisherRow(*line[:6], _kept(found, *line[:3]), len(groups[line[2]]), *line[6:])
            for line in likeness.draw_lines(bench, sample, found)
        ]
        panel = self._panel(bench, sample, found)
        what = "Fisher ratio of the forgotten answers over the original's"
        return Reading(rows, panel, likeness.in_words(what, panel))

    def _panel(self, bench: Bench, sample: likeness.Sampled, found: Found) -> Panel:
        """Ratios over the original's on forget, draw by draw."""
        unit = likeness.over_blocks(found["original"]["forget"], "original", self.position)
        if np.quantile(unit[1:], ALPHA / 2) <= 0 or unit[0] <= 0:
            raise NotIdentifiable(
                f"In the original, forget items with one answer do not lie closer together than others at "
                f"{self.position} (Fisher ratio {unit[0]:.3f}), so there is no order of which a share could be kept."
            )

        def draws(role: Role, split: Split) -> Sample:
            if split not in sample.rows:
                raise NotIdentifiable(f"The {split} items have too few labels in common, so there is no control.")
            values = likeness.over_blocks(found[role][split], role, self.position)
            # Draws of other entities than those of forget go with the original's estimate.
            share = values / (unit if split == "forget" else unit[0])
            return Sample(float(share[0]), share[1:], len(set(sample.entities[split])))

        return panel_of(bench, draws)


def attributes(items: Labelled) -> list[tuple[NDArray[np.intp], NDArray[np.bool_], NDArray[np.bool_]]]:
    """Per attribute with enough pairs, its items and their pairs with the same label and with another."""
    same, other = pairs(items, items)
    groups = []
    for name in np.unique(items.attribute):
        rows = np.flatnonzero((items.attribute == name) & items.known)
        inside = np.ix_(rows, rows)
        if same[inside].sum() >= 2 * MIN_PAIRS and other[inside].any():
            groups.append((rows, same[inside], other[inside]))
    return groups


def ratio(
    states: NDArray[np.float32],
    groups: list[tuple[NDArray[np.intp], NDArray[np.bool_], NDArray[np.bool_]]],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Mean over attributes of the scatter ratio under each line of weights [draws, items] -> [draws].

    A draw without a pair of one kind falls back on the estimate; NaN where the states within labels do not vary.
    """
    result = []
    for rows, same, other in groups:
        x = states[rows].astype(np.float64)
        x -= x.mean(0)
        square = np.square(x).sum(1)
        distance = np.maximum(square[:, None] + square[None, :] - 2 * x @ x.T, 0.0)
        w = weights[:, rows]
        within, between = (_mean(distance, kind, w) for kind in (same, other))
        if not within[0] > 1e-10 * max(square.max(), 1e-300):
            return np.full(len(weights), np.nan)
        usable = (within > 0) & np.isfinite(within) & np.isfinite(between)
        values = np.divide(between - within, within, out=np.full(len(w), np.nan), where=usable)
        result.append(np.where(usable, values, values[0]))
    return np.asarray(np.mean(result, axis=0))


def _mean(values: NDArray[np.float64], chosen: NDArray[np.bool_], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted mean over the chosen pairs under each line of weights [draws]; NaN without any."""
    total = ((weights @ (values * chosen)) * weights).sum(1)
    number = ((weights @ chosen.astype(np.float64)) * weights).sum(1)
    return np.divide(total, number, out=np.full(len(weights), np.nan), where=number > 0)


def _kept(found: Found, layer: int, role: Role, split: Split) -> float | None:
    """Share of the original's ratio; None where that is not clearly above 0."""
    whole = found["original"][split][layer]
    clear = whole[0] > 0 and np.quantile(whole[1:], ALPHA / 2) > 0
    return float(found[role][split][layer, 0] / whole[0]) if clear else None
