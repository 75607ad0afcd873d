"""How far images and texts lie apart in the space that they share."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit.errors import NotApplicable
from audit.stats import DRAWS, Sample, entity_weights, panel_of
from audit.types import SPLITS, VECTORS_ONLY, Access, Chart, Modality, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

NO_SCALE = (
    "How far images and texts lie apart is no measure of what is known: the gap arises with the training itself and "
    "may be wider or narrower in a model that never learnt the pairs."
)


class Row(NamedTuple):
    """One subject on the pairs of one split."""

    split: Annotated[str, "corpus of the pairs"]
    subject: Annotated[str, "role of the model"]
    gap: Annotated[float, "distance of the images' mean from their texts' mean; vectors have length one, so 0 to 2"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end"]
    alignment: Annotated[float, "mean squared distance of an image from its own text, 0 to 4"]
    others: Annotated[float, "mean squared distance of an image from the texts of other pairs, 0 to 4"]
    uniformity: Annotated[float, "log mean exp(-2 squared distance) of an image and the text of another pair"]
    pairs: Annotated[int, "number of pairs"]
    entities: Annotated[int, "entities behind them"]


@dataclass(frozen=True)
class ModalityGap:
    """Distance of the two centroids, with what lies behind it: own pairs beside those of others.

    Two models trained alike have gaps of their own, so a candidate's is read beside the original's and the reference's
    and becomes no residual. Whether a forgotten pair still belongs together is the difference of alignment and others.
    """

    title: ClassVar[str] = "Modality gap"
    question: ClassVar[str] = (
        "How far do images and texts lie apart, and do forgotten pairs still lie nearer than others?"
    )
    blind_to: ClassVar[str] = (
        "Which image goes with which text, if pairs move within their clouds; and everything before the last "
        "projection."
    )
    formula: ClassVar[str] = (
        "gap = |mean x - mean y|, x images and y their texts, all of length one; alignment = E |x_i - y_i|^2; "
        "uniformity = log E exp(-2 |x_i - y_j|^2) over different pairs"
    )
    source: ClassVar[str] = (
        "Liang et al. 2022, Mind the Gap (arXiv:2203.02053); Fahim et al. 2024, contrastive gap (arXiv:2405.18570)"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN})
    reads: ClassVar[frozenset[Modality]] = VECTORS_ONLY
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = Chart(
        "bar", "split", "gap", low="low", high="high", hover=("alignment", "others", "uniformity", "pairs"),
        x_title="pairs", y_title="distance of the centroids", title="Distance of images and texts",
    )  # fmt: skip
    cost: ClassVar[float] = 0.1

    def measure(self, bench: Bench) -> Reading:
        """Compare the two clouds of every subject; raises NotApplicable where queries are texts too."""
        if not bench.corpus("forget").pictured:
            raise NotApplicable("Queries and answers of this case are both texts, so there are no two modalities.")
        splits = [split for split in SPLITS if bench.has(split)]
        found = {(split, role): self._compare(bench, role, split) for split in splits for role in bench.roles}
        panel = panel_of(bench, lambda role, split: found[split, role][1])
        rows = [row for row, _ in found.values()]
        at = {row.subject: row for row in rows if row.split == "forget"}
        named = ", ".join(
            f"{bench.case.candidate.name if who == 'candidate' else 'the ' + who} {row.gap:.2f}"
            for who, row in at.items()
        )
        mine = at["candidate"]
        note = (
            f"Distance of the centroids of forgotten images and texts: {named}. In the candidate an image lies "
            f"{mine.alignment:.2f} from its own text and {mine.others:.2f} from those of other pairs (squared; in the "
            f"original {at['original'].alignment:.2f} and {at['original'].others:.2f})."
        )
        return Reading(rows, dataclasses.replace(panel, no_scale=NO_SCALE), note)

    def _compare(self, bench: Bench, role: Role, split: Split) -> tuple[Row, Sample]:
        parts, corpus = bench.vectors(role, split), bench.corpus(split)
        x, y = (_unit(parts[name]) for name in ("queries", "answers"))
        counts, index = entity_weights(corpus.entities, DRAWS, bench.seed)
        weights = counts[:, index]
        draws = centroid_gap(x, y, weights / weights.sum(1, keepdims=True))
        value = float(centroid_gap(x, y, np.full((1, len(x)), 1 / len(x)))[0])
        # The means of few entities scatter, and farther apart on average: the scatter counts, that shift does not.
        draws = np.maximum(0.0, draws - draws.mean() + value)
        sample = Sample(value, draws, len(set(corpus.entities)))
        point = sample.estimate(value)
        own, other, spread = pair_distances(x, y, [item.answer for item in corpus.items])
        return Row(split, role, value, point.low, point.high, own, other, spread, len(x), sample.n), sample


def centroid_gap(x: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of the two weighted means, one for each line of weights [lines, pairs] that sum to one."""
    return np.asarray(np.linalg.norm(weights @ (x - y), axis=1))


def pair_distances(x: NDArray[np.float64], y: NDArray[np.float64], answers: list[str]) -> tuple[float, float, float]:
    """Mean squared distance within pairs, that between pairs of different answers, and their uniformity."""
    squared = np.square(x).sum(1)[:, None] + np.square(y).sum(1) - 2 * x @ y.T
    texts = np.asarray(answers, dtype=str)
    other = squared[texts[:, None] != texts]
    if not len(other):
        return float(np.diag(squared).mean()), float("nan"), float("nan")
    return float(np.diag(squared).mean()), float(other.mean()), float(np.log(np.exp(-2 * other).mean()))


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = vectors.astype(np.float64)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)
