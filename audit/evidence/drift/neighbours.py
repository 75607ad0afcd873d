"""Neighbours: whether each item still lies among the same items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit.errors import CaseError
from audit.evidence.drift import _likeness as likeness
from audit.types import BOTH, Access, Chart, Modality, Place, Reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench
    from audit.evidence.drift._likeness import Clouds


class NeighboursRow(NamedTuple):
    """One layer of one subject on one split."""

    layer: Annotated[int, "0 is the input of the first block, i the output of block i"]
    subject: Annotated[str, "role of the model"]
    split: Annotated[str, "corpus of the items; their neighbours are looked for among forget and retain together"]
    overlap: Annotated[float, "mean share of an item's nearest neighbours in the original that it kept, 0 to 1"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end of the 95 % interval over entities"]
    chance: Annotated[float, "overlap of neighbours drawn at random, 0 to 1"]
    items: Annotated[int, "number of items of the split"]
    entities: Annotated[int, "number of entities among them"]


@dataclass(frozen=True)
class Neighbours:
    """Overlap of each item's nearest neighbours by cosine with its nearest neighbours in the original.

    The pool in which neighbours are looked for is forget and retain together, so that a forget item that left the
    retained facts of its kind is seen to have left. Equal similarities go to the earlier item. The null is the
    reference; without one there is a table and no residual, because the original keeps its neighbours on every corpus.
    """

    title: ClassVar[str] = "Nearest neighbours kept"
    question: ClassVar[str] = "Do the forgotten items still lie beside the same items as in the original?"
    blind_to: ClassVar[str] = (
        "Moves that leave the order of the nearest items alone, and everything farther away; neighbours may be shared "
        "because of the wording of the prompts rather than because of what is known."
    )
    formula: ClassVar[str] = (
        "overlap_i = |N_k(i; original) intersect N_k(i; subject)| / k, N_k = the k items of highest cosine similarity "
        "in forget and retain without i; chance k / (n - 1); headline = mean over forget items and block outputs"
    )
    source: ClassVar[str] = (
        "Shared nearest neighbours: Jarvis and Patrick 1973; as a comparison of representations: Wang et al. 2018 "
        "(arXiv:1810.11750) and Huh et al. 2024 (mutual k-NN, arXiv:2405.07987)"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN})
    reads: ClassVar[frozenset[Modality]] = BOTH
    row: ClassVar[type] = NeighboursRow
    chart: ClassVar[Chart] = Chart(
        "line",
        x="layer",
        y="overlap",
        low="low",
        high="high",
        null="chance",
        facet="split",
        hover=("items", "entities"),
        x_title="layer",
        y_title="nearest neighbours kept",
        title="Share of the original's nearest neighbours that were kept, layer by layer",
    )
    cost: ClassVar[float] = 0.2

    position: str = "prompt_last"
    neighbours: int = 10
    items: int = 1000
    """Items of each split at most."""

    def __post_init__(self) -> None:
        likeness.check_settings(self.position, self.items, 2)
        if self.neighbours < 1:
            raise CaseError(f"An item needs at least 1 neighbour; found {self.neighbours}.")

    def measure(self, bench: Bench) -> Reading:
        """Compare neighbours layer by layer; raises NotApplicable with too few items to have that many neighbours."""
        sample = likeness.sampled(bench, self.items, self.neighbours)

        def compare(first: Clouds, second: Clouds) -> dict[str, NDArray[np.float64]]:
            if likeness.undefined(first, second):
                return {s: np.full(len(x), np.nan) for s, x in first.items()}
            if likeness.same(first, second):
                return {s: np.ones(len(x)) for s, x in first.items()}
            near = [self._near(clouds) for clouds in (first, second)]
            return {s: overlap(near[0][s], near[1][s]) for s in first}

        inputs = {"neighbours": self.neighbours}
        found = likeness.by_layer(bench, "drift.neighbours", sample, self.position, inputs, compare)
        pool = len(sample.ids["forget"]) + len(sample.ids["retain"])
        chance = {s: self.neighbours / (pool - (s != "holdout")) for s in sample.splits}
        rows = [
            NeighboursRow(layer, role, split, value, low, high, chance[split], items, entities)
            for layer, role, split, value, low, high, items, entities in likeness.item_lines(bench, sample, found)
        ]
        panel = likeness.item_panel(bench, sample, found, self.position)
        what = f"Share of the {self.neighbours} nearest neighbours kept (chance {chance['forget']:.2f})"
        return Reading(rows, panel, likeness.in_words(what, panel, likeness.on_retain(found)))

    def _near(self, clouds: Clouds) -> dict[str, NDArray[np.intp]]:
        """Neighbours of every item among forget and retain, by split [items, k]; a holdout item is not in the pool."""
        pool = unit(likeness.pooled(clouds))
        own = nearest(pool, pool, self.neighbours, within=True)
        result: dict[str, NDArray[np.intp]] = dict(
            zip(("forget", "retain"), np.split(own, [len(clouds["forget"])]), strict=True)
        )
        if "holdout" in clouds:
            result["holdout"] = nearest(unit(clouds["holdout"]), pool, self.neighbours)
        return result


def unit(states: NDArray[np.float32]) -> NDArray[np.float64]:
    """Rows of length one; a row of zeros stays zero [rows, width]."""
    wide = states.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.divide(wide, norms, out=np.zeros_like(wide), where=norms > 0)


def nearest(
    queries: NDArray[np.float64], pool: NDArray[np.float64], neighbours: int, within: bool = False
) -> NDArray[np.intp]:
    """The rows of the pool most similar to each query [queries, neighbours]; `within`: query i is row i, left out."""
    similarity = queries @ pool.T
    if within:
        np.fill_diagonal(similarity, -np.inf)
    return np.argsort(-similarity, axis=1, kind="stable")[:, :neighbours]


def overlap(first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.float64]:
    """Share of each item's neighbours that are in both lists [items, k] -> [items]."""
    return np.asarray((first[:, :, None] == second[:, None, :]).any(2).mean(1))
