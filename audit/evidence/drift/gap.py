"""Gap: how easily the candidate's states can be told from the original's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit import probing
from audit.errors import CaseError
from audit.evidence.drift import _likeness as likeness
from audit.evidence.drift.cka import still
from audit.stats import entity_weights
from audit.types import BOTH, Access, Chart, Modality, Place, Reading, Role

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench
    from audit.evidence.drift._likeness import Clouds

MIN_ITEMS = 4
CHANCE = 0.5


class GapRow(NamedTuple):
    """One layer of one subject on one split."""

    layer: Annotated[int, "0 is the input of the first block, i the output of block i"]
    subject: Annotated[str, "role of the model whose states are told from the original's"]
    split: Annotated[str, "corpus of the items"]
    auc: Annotated[float, "how well a linear classifier tells the two clouds apart on entities it never saw, 0 to 1"]
    low: Annotated[float, "lower end of the 95 % interval of the AUC over entities"]
    high: Annotated[float, "upper end of the 95 % interval of the AUC over entities"]
    chance: Annotated[float, "AUC of clouds that cannot be told apart"]
    gap: Annotated[float, "distance of the two centroids over the root mean square radius of the original's cloud"]
    items: Annotated[int, "number of items in each cloud"]
    entities: Annotated[int, "number of entities among them"]


@dataclass(frozen=True)
class Gap:
    """Centroid distance and cross-validated separability of two clouds of states of the same items.

    Any training at all leaves marks that a classifier finds, so a wide gap does not mean that an answer was removed; a
    narrow gap means that hardly anything happened. Both states of an item are in one fold, so are all items of an
    entity; an AUC below one half counts as one half. The null is the reference; without one there is a table and no
    residual, because the original cannot be told from itself on any corpus.
    """

    title: ClassVar[str] = "Gap to the original"
    question: ClassVar[str] = "Can the states of the forgotten items be told from the original's at all?"
    blind_to: ClassVar[str] = (
        "What changed: any training leaves marks, so clouds that are easily told apart may hold the same answers. "
        "Changes that move each item its own way without moving the cloud are hardly seen."
    )
    formula: ClassVar[str] = (
        "gap = |mean Y - mean X| / sqrt(E |X - mean X|^2); AUC of logistic regression on standardised states, X "
        "against Y, over folds of entities; headline = 2 (1 - max(AUC, 1/2)), 1 = cannot be told apart, mean over "
        "block outputs"
    )
    source: ClassVar[str] = (
        "Fahim et al. 2024, contrastive gap (arXiv:2405.18570); classifier two-sample test: Lopez-Paz and Oquab 2017 "
        "(arXiv:1610.06545)"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN})
    reads: ClassVar[frozenset[Modality]] = BOTH
    row: ClassVar[type] = GapRow
    chart: ClassVar[Chart] = Chart(
        "line",
        x="layer",
        y="auc",
        low="low",
        high="high",
        null="chance",
        facet="split",
        hover=("gap", "items", "entities"),
        x_title="layer",
        y_title="told from the original (AUC)",
        title="How well the states are told from the original's, layer by layer",
    )
    cost: ClassVar[float] = 0.5

    position: str = "prompt_last"
    items: int = 200
    """Items of each split at most: the states of both subjects are fitted folds times per layer."""
    folds: int = 5
    draws: int = 200

    def __post_init__(self) -> None:
        likeness.check_settings(self.position, self.items, MIN_ITEMS)
        if self.folds < 2 or self.draws < 1:
            raise CaseError(f"Gap needs at least 2 folds and 1 draw; found {self.folds} folds and {self.draws} draws.")

    def measure(self, bench: Bench) -> Reading:
        """Separate the clouds layer by layer; raises NotIdentifiable with fewer than two entities to separate by."""
        sample = likeness.sampled(bench, self.items, MIN_ITEMS)
        folds = {s: probing.grouped_folds(names, self.folds, bench.seed) for s, names in sample.entities.items()}
        weights = {s: self._weights(names, bench.seed) for s, names in sample.entities.items()}

        def compare(first: Clouds, second: Clouds) -> dict[str, NDArray[np.float64]]:
            line: dict[str, NDArray[np.float64]] = {}
            for s, x in first.items():
                y = second[s]
                if likeness.undefined(first, second) or still(x) or still(y):
                    line |= {s: np.full(1 + self.draws, np.nan), f"{s} gap": np.asarray(np.nan)}
                elif np.array_equal(x, y):
                    line |= {s: np.full(1 + self.draws, CHANCE), f"{s} gap": np.asarray(0.0)}
                else:
                    line |= {s: auc(*told(x, y, folds[s]), folds[s], weights[s]), f"{s} gap": np.asarray(gap(x, y))}
            return line

        inputs = {"folds": self.folds, "draws": self.draws}
        found = likeness.by_layer(bench, "drift.gap", sample, self.position, inputs, compare)
        rows = [
            GapRow(*line[:6], CHANCE, float(found[role][f"{split} gap"][layer]), *line[6:])
            for line in likeness.draw_lines(bench, sample, found)
            for layer, role, split in [line[:3]]
        ]
        alike: dict[Role, dict[str, NDArray[np.float64]]] = {
            role: {s: 2 * (1 - np.maximum(values[s], CHANCE)) for s in sample.splits} for role, values in found.items()
        }
        return Reading(rows, likeness.draw_panel(bench, sample, alike, self.position), in_words(rows))

    def _weights(self, entities: list[str], seed: int) -> NDArray[np.float64]:
        """Weight of each item in the estimate, then in each draw [1 + draws, items]."""
        counts, index = entity_weights(entities, self.draws, seed)
        return np.vstack([np.ones(len(entities)), counts[:, index]])


def gap(x: NDArray[np.float32], y: NDArray[np.float32]) -> float:
    """Distance of the centroids over the root mean square radius of the first cloud."""
    centre = x.mean(0, dtype=np.float64)
    radius = np.sqrt(np.square(x - centre).sum(1).mean())
    return float(np.linalg.norm(y.mean(0, dtype=np.float64) - centre) / radius)


def told(
    x: NDArray[np.float32], y: NDArray[np.float32], fold: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How much each state looks like the second cloud, by a classifier that never saw its entity [items] each."""
    from sklearn.linear_model import LogisticRegression

    both = np.concatenate([x, y]).astype(np.float64)
    both -= both.mean(0)
    scale = both.std(0)
    both = np.divide(both, scale, out=np.zeros_like(both), where=scale > 1e-6 * scale.max())
    # A rotation onto as many axes as rows changes nothing for a penalised linear classifier, and is much faster.
    left, values, _ = np.linalg.svd(both, full_matrices=False)
    places, label = left * values, np.repeat([0, 1], len(x))
    scores = np.zeros(len(both))
    for k in range(int(fold.max()) + 1):
        out = np.tile(fold == k, 2)
        classifier = LogisticRegression(max_iter=1000).fit(places[~out], label[~out])
        scores[out] = classifier.decision_function(places[out])
    return scores[: len(x)], scores[len(x) :]


def auc(
    first: NDArray[np.float64], second: NDArray[np.float64], fold: NDArray[np.intp], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Share of pairs of one fold in which the second cloud scores above the first, ties half, per line of weights."""
    pairs = (fold[:, None] == fold).astype(np.float64)
    above = (np.sign(second[:, None] - first) + 1) / 2 * pairs
    return np.asarray(((weights @ above) * weights).sum(1) / ((weights @ pairs) * weights).sum(1))


def in_words(rows: list[GapRow]) -> str:
    """How well the candidate is told from the original over the blocks, on forget and on retain."""
    own = [row for row in rows if row.subject == "candidate" and row.layer > 0]
    words = []
    for split in ("forget", "retain"):
        here = [row for row in own if row.split == split]
        if here:
            score, distance = (float(np.mean([getattr(row, name) for row in here])) for name in ("auc", "gap"))
            words.append(f"AUC {score:.2f}, centroids {distance:.2f} radii apart, on {split}")
    if own and all(row.auc == CHANCE and row.gap == 0 for row in own):
        return "The candidate cannot be told from the original: their states are the same in every block."
    return f"Telling the candidate from the original, mean of all blocks: {'; '.join(words)} (a coin has AUC 0.50)."
