"""Clusters: whether the items still fall into the same groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit.errors import CaseError, NotApplicable
from audit.evidence.drift import _likeness as likeness
from audit.stats import entity_weights
from audit.types import BOTH, Access, Chart, Modality, Place, Reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench
    from audit.evidence.drift._likeness import Clouds

MIN_ITEMS = 4
STARTS = 4


class ClustersRow(NamedTuple):
    """One layer of one subject on one split."""

    layer: Annotated[int, "0 is the input of the first block, i the output of block i"]
    subject: Annotated[str, "role of the model"]
    split: Annotated[str, "corpus of the items"]
    agreement: Annotated[float, "adjusted Rand index with the original's clusters; 1 = the same, about 0 = chance"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end of the 95 % interval over entities"]
    clusters: Annotated[int, "number of clusters that the split's items fall into in the original"]
    items: Annotated[int, "number of items of the split"]
    entities: Annotated[int, "number of entities among them"]


@dataclass(frozen=True)
class Clusters:
    """Agreement of k-means assignments with the original's.

    Centres are fitted on retain states, each subject's own, and all items go to the nearest centre. The original starts
    from several seeded draws; every other subject starts from the means of its own states over the original's clusters,
    so that two runs of one model do not disagree by the luck of their starts. The null is the reference; without one
    there is a table and no residual, because the original's clusters equal themselves on every corpus.
    """

    title: ClassVar[str] = "Cluster stability"
    question: ClassVar[str] = "Do the forgotten items still fall into the same groups as in the original?"
    blind_to: ClassVar[str] = (
        "Moves within a cluster, and what the clusters mean: prompts of one kind fall together in a model that never "
        "learned an answer, because of their wording alone."
    )
    formula: ClassVar[str] = (
        "adjusted Rand index of the items' clusters in the subject and in the original; k-means centres fitted on each "
        "subject's retain states; headline = mean over block outputs, on forget; draws over entities count no item as "
        "a pair with its own copy"
    )
    source: ClassVar[str] = "Hubert and Arabie 1985 (doi:10.1007/BF01908075); k-means++ of scikit-learn"
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN})
    reads: ClassVar[frozenset[Modality]] = BOTH
    row: ClassVar[type] = ClustersRow
    chart: ClassVar[Chart] = Chart(
        "line",
        x="layer",
        y="agreement",
        low="low",
        high="high",
        facet="split",
        hover=("clusters", "items", "entities"),
        x_title="layer",
        y_title="adjusted Rand index",
        title="Agreement of clusters with the original's, layer by layer",
    )
    cost: ClassVar[float] = 0.3

    position: str = "prompt_last"
    clusters: int = 8
    items: int = 1000
    """Items of each split at most."""
    draws: int = 500

    def __post_init__(self) -> None:
        likeness.check_settings(self.position, self.items, MIN_ITEMS)
        if self.clusters < 2 or self.draws < 1:
            raise CaseError(f"At least 2 clusters and 1 draw are needed; found {self.clusters} and {self.draws}.")

    def measure(self, bench: Bench) -> Reading:
        """Cluster layer by layer; raises NotApplicable with fewer than two retain items for each cluster."""
        sample = likeness.sampled(bench, self.items, MIN_ITEMS)
        if len(sample.ids["retain"]) < 2 * self.clusters:
            raise NotApplicable(
                f"{self.clusters} clusters need at least {2 * self.clusters} retain items; "
                f"{len(sample.ids['retain'])} are compared."
            )
        weights = {}
        for split, names in sample.entities.items():
            counts, index = entity_weights(names, self.draws, bench.seed)
            weights[split] = np.vstack([np.ones(len(names)), counts[:, index]])
        seed = bench.torch_seed("drift.clusters") % 2**31

        def compare(first: Clouds, second: Clouds) -> dict[str, NDArray[np.float64]]:
            if likeness.undefined(first, second):
                nothing = np.full(1 + self.draws, np.nan)
                return {name: nothing for s in first for name in (s, f"{s} clusters")}
            mine = assigned(first, self.clusters, seed)
            theirs = mine if likeness.same(first, second) else assigned(second, self.clusters, seed, mine["retain"])
            line: dict[str, NDArray[np.float64]] = {}
            for s in first:
                number = np.full(1 + self.draws, float(len(np.unique(mine[s]))))
                line |= {s: agreement(mine[s], theirs[s], weights[s]), f"{s} clusters": number}
            return line

        inputs = {"clusters": self.clusters, "draws": self.draws}
        found = likeness.by_layer(bench, "drift.clusters", sample, self.position, inputs, compare)
        rows = [
            ClustersRow(*line[:6], int(found[role][f"{split} clusters"][layer, 0]), *line[6:])
            for line in likeness.draw_lines(bench, sample, found)
            for layer, role, split in [line[:3]]
        ]
        panel = likeness.draw_panel(bench, sample, found, self.position)
        retain = float(found["candidate"]["retain"][1:, 0].mean())
        what = "Agreement of the clusters with the original's (adjusted Rand index)"
        return Reading(rows, panel, likeness.in_words(what, panel, retain))


def assigned(
    clouds: Clouds, clusters: int, seed: int, start: NDArray[np.intp] | None = None
) -> dict[str, NDArray[np.intp]]:
    """The nearest k-means centre of every item, by split [items]; `start` is a clustering of retain to begin from."""
    from sklearn.cluster import KMeans

    retain = clouds["retain"].astype(np.float64)
    if start is None:
        fitted = KMeans(clusters, n_init=STARTS, random_state=seed).fit(retain)
    else:
        means = np.stack([retain[start == c].mean(0) for c in np.unique(start)])
        fitted = KMeans(len(means), init=means, n_init=1, random_state=seed).fit(retain)
    return {s: np.asarray(fitted.predict(x.astype(np.float64)), np.intp) for s, x in clouds.items()}


def agreement(first: NDArray[np.intp], second: NDArray[np.intp], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Adjusted Rand index over pairs of different items, under each line of weights [draws, items] -> [draws].

    As in scikit-learn, it is 1 where both put all items together (or all apart).
    """
    squares = np.square(weights).sum(1)
    together, own, other = (
        np.square(weights @ (cell[:, None] == np.unique(cell))).sum(1) - squares
        for cell in (first * (int(second.max()) + 1) + second, first, second)
    )
    pairs = np.square(weights.sum(1)) - squares
    expected = np.divide(own * other, pairs, out=np.zeros_like(pairs), where=pairs > 0)
    room = (own + other) / 2 - expected
    enough = room > 1e-9 * np.maximum(pairs, 1)
    return np.divide(together - expected, room, out=np.ones_like(room), where=enough)
