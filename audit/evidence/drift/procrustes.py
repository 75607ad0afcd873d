"""Procrustes: how well the original's states are met after the best rotation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit.errors import CaseError, NotApplicable
from audit.evidence.drift import _likeness as likeness
from audit.stats import halves
from audit.types import BOTH, SPLITS, Access, Chart, Modality, Place, Reading, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench
    from audit.evidence.drift._likeness import Clouds

MIN_ITEMS = 4
ITEMS_PER_AXIS = 2
"""A rotation of as many axes as there are items meets any cloud exactly; half as many leave something to estimate."""


class ProcrustesRow(NamedTuple):
    """One layer of one subject on one split."""

    layer: Annotated[int, "0 is the input of the first block, i the output of block i"]
    subject: Annotated[str, "role of the model"]
    split: Annotated[str, "corpus of the items, each read with a rotation that was fitted without its entity"]
    fit: Annotated[float, "1 - squared Procrustes distance / 2: 1 = met after a rotation, 0 = unrelated"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end of the 95 % interval over entities"]
    items: Annotated[int, "number of items of the split"]
    entities: Annotated[int, "number of entities among them"]
    covered: Annotated[float, "share of the original's variation that the compared axes hold on these items, 0 to 1"]


@dataclass(frozen=True)
class Procrustes:
    """Fits a rotation on one half of the entities and reads the other half with it, both ways.

    Chosen here: (1) both clouds are taken in their own leading principal axes of the fitted half, at most half as many
    as fitted items, because a rotation of more axes than items meets anything; (2) they are centred on the fitted
    half's mean and have unit Frobenius norm on the half that is read, so one overall scale is no change; (3) the
    rotation is fitted on forget and retain together; (4) items share out 1 - squared distance / 2, which is
    about 0 for an unrelated cloud (the distance itself is then the square root of 2). The null is the reference;
    without one there is a table and no residual.
    """

    title: ClassVar[str] = "Procrustes likeness"
    question: ClassVar[str] = "Does one rotation bring the forgotten items' states back onto the original's?"
    blind_to: ClassVar[str] = (
        "A rotation and an overall scale of all states, changes in directions of little variance, and whether what "
        "stayed the same has anything to do with the forgotten answers."
    )
    formula: ClassVar[str] = (
        "X, Y = centred states in k principal axes; R = argmin over orthogonal R of |Y R - X|_F on one half of the "
        "entities; on the other 1 - D^2 / 2 = <X, Y R>_F / (|X|_F |Y|_F), D^2 = |X / |X|_F - Y R / |Y|_F|_F^2; "
        "headline = mean over forget items and block outputs"
    )
    source: ClassVar[str] = (
        "Schoenemann 1966; as a distance of representations: Ding et al. 2021 (arXiv:2108.01661), Williams et al. 2021 "
        "(arXiv:2110.14739); scipy.linalg.orthogonal_procrustes"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN})
    reads: ClassVar[frozenset[Modality]] = BOTH
    row: ClassVar[type] = ProcrustesRow
    chart: ClassVar[Chart] = Chart(
        "line",
        x="layer",
        y="fit",
        low="low",
        high="high",
        facet="split",
        hover=("items", "entities", "covered"),
        x_title="layer",
        y_title="met after a rotation",
        title="How well a rotation brings back the original's states, layer by layer",
    )
    cost: ClassVar[float] = 0.3

    position: str = "prompt_last"
    axes: int = 50
    """Principal axes compared at most."""
    items: int = 1000
    """Items of each split at most."""

    def __post_init__(self) -> None:
        likeness.check_settings(self.position, self.items, MIN_ITEMS)
        if self.axes < 1:
            raise CaseError(f"Procrustes compares at least 1 axis; found {self.axes}.")

    def measure(self, bench: Bench) -> Reading:
        """Fit and read layer by layer; raises NotApplicable with fewer than four items or two entities."""
        sample = likeness.sampled(bench, self.items, MIN_ITEMS)
        first_half = {s: halves(names, bench.seed) for s, names in sample.entities.items()}
        for split in ("forget", "retain"):
            if not first_half[split].any():
                raise NotApplicable(f"A rotation is fitted on one half of the {split} entities; there is only one.")

        def compare(first: Clouds, second: Clouds) -> dict[str, NDArray[np.float64]]:
            return self._compare(first, second, first_half)

        found = likeness.by_layer(bench, "drift.procrustes", sample, self.position, {"axes": self.axes}, compare)
        rows = [
            ProcrustesRow(*line, float(found[line[1]][f"{line[2]} covered"][line[0]]))
            for line in likeness.item_lines(bench, sample, found)
        ]
        panel = likeness.item_panel(bench, sample, found, self.position)
        what = "States met after a rotation (1 = all, 0 = unrelated)"
        return Reading(rows, panel, likeness.in_words(what, panel, likeness.on_retain(found)))

    def _compare(
        self, first: Clouds, second: Clouds, first_half: dict[Split, NDArray[np.bool_]]
    ) -> dict[str, NDArray[np.float64]]:
        """Share of each item by split [items], exactly 1 for the same states, and `<split> covered` []."""
        result: dict[str, NDArray[np.float64]] = {s: np.full(len(x), np.nan) for s, x in first.items()}
        covered = {s: np.full(2, np.nan) for s in first}
        if not likeness.undefined(first, second):
            for k, fitted in enumerate((first_half, {s: ~half for s, half in first_half.items()})):
                x, y = Axes.of(first, fitted, self.axes), Axes.of(second, fitted, self.axes)
                turn = rotation(y.scores, x.scores)
                for split in first:
                    read = ~fitted[split]
                    result[split][read] = shares(x.at(first[split][read]), y.at(second[split][read]) @ turn)
                    covered[split][k] = x.share(first[split][read])
        if likeness.same(first, second):
            result = {s: np.where(np.isnan(values), np.nan, 1.0) for s, values in result.items()}
        return {**result, **{f"{s} covered": values.mean() for s, values in covered.items()}}


@dataclass(frozen=True)
class Axes:
    """The leading principal axes of the fitted items."""

    centre: NDArray[np.float64]
    axes: NDArray[np.float64]
    """[width, axes]"""
    scores: NDArray[np.float64]
    """The fitted items along them [items, axes]."""

    @classmethod
    def of(cls, clouds: Clouds, fitted: dict[Split, NDArray[np.bool_]], most: int) -> Axes:
        """Axes of the fitted forget and retain items; no more than a share of their number."""
        states = np.concatenate([clouds[s][fitted[s]] for s in SPLITS[:2]]).astype(np.float64)
        centre = states.mean(0)
        number = max(1, min(most, len(states) // ITEMS_PER_AXIS, states.shape[1]))
        axes = np.linalg.svd(states - centre, full_matrices=False)[2][:number].T
        return cls(centre, axes, (states - centre) @ axes)

    def at(self, states: NDArray[np.float32]) -> NDArray[np.float64]:
        """Other items along the axes [items, axes]."""
        return np.asarray((states - self.centre) @ self.axes)

    def share(self, states: NDArray[np.float32]) -> float:
        """Share of other items' squared distance from the centre that the axes hold."""
        total = float(np.square(states - self.centre).sum())
        return float(np.square(self.at(states)).sum()) / total if total else 1.0


def rotation(moved: NDArray[np.float64], onto: NDArray[np.float64]) -> NDArray[np.float64]:
    """The orthogonal matrix that brings one cloud nearest to another [items, axes] -> [axes, axes]."""
    from scipy.linalg import orthogonal_procrustes

    return np.asarray(orthogonal_procrustes(moved, onto)[0])


def shares(onto: NDArray[np.float64], moved: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 - half the squared distance of each item's two states, in mean lengths [items]; the mean is 1 - D^2 / 2."""
    lengths = [np.sqrt(np.square(states).sum(1).mean()) for states in (onto, moved)]
    if min(lengths) == 0:
        return np.zeros(len(onto))  # a point has no direction to be met in
    return np.asarray(1 - np.square(onto / lengths[0] - moved / lengths[1]).sum(1) / 2)
