"""Representational similarity analysis: whether each item is as like every other item as it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit.evidence.drift import _likeness as likeness
from audit.evidence.drift.neighbours import unit
from audit.types import BOTH, Access, Chart, Modality, Place, Reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench
    from audit.evidence.drift._likeness import Clouds

MIN_ITEMS = 4


class RSARow(NamedTuple):
    """One layer of one subject on one split."""

    layer: Annotated[int, "0 is the input of the first block, i the output of block i"]
    subject: Annotated[str, "role of the model"]
    split: Annotated[str, "corpus of the items; each is compared with all forget and retain items"]
    correlation: Annotated[float, "mean rank correlation of an item's similarities with the original's, -1 to 1"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end of the 95 % interval over entities"]
    items: Annotated[int, "number of items of the split"]
    entities: Annotated[int, "number of entities among them"]


@dataclass(frozen=True)
class RSA:
    """Spearman correlation of each item's cosine similarities to all other items with the same in the original.

    Row by row rather than over the whole matrix at once, so that the forget items are read on their own and entities
    can be resampled. The null is the reference; without one there is a table and no residual, because the original's
    similarities equal themselves on every corpus.
    """

    title: ClassVar[str] = "Similarity structure (RSA)"
    question: ClassVar[str] = "Are the forgotten items as like, and as unlike, the other items as in the original?"
    blind_to: ClassVar[str] = (
        "How much similarities changed as long as their order stays, moves of all items together, and what the order "
        "rests on: the wording of the prompts orders items even in a model that never learned an answer."
    )
    formula: ClassVar[str] = (
        "r_i = Spearman(S_i, S'_i), S_i = the cosine similarities of item i to all forget and retain items but itself, "
        "in the original and in the subject; headline = mean over forget items and block outputs"
    )
    source: ClassVar[str] = "Kriegeskorte, Mur and Bandettini 2008 (doi:10.3389/neuro.06.004.2008)"
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN})
    reads: ClassVar[frozenset[Modality]] = BOTH
    row: ClassVar[type] = RSARow
    chart: ClassVar[Chart] = Chart(
        "line",
        x="layer",
        y="correlation",
        low="low",
        high="high",
        facet="split",
        hover=("items", "entities"),
        x_title="layer",
        y_title="rank correlation",
        title="Correlation of the similarity structure with the original's, layer by layer",
    )
    cost: ClassVar[float] = 0.3

    position: str = "prompt_last"
    items: int = 1000
    """Items of each split at most."""

    def __post_init__(self) -> None:
        likeness.check_settings(self.position, self.items, MIN_ITEMS)

    def measure(self, bench: Bench) -> Reading:
        """Correlate similarities layer by layer; raises NotApplicable with fewer than four items."""
        sample = likeness.sampled(bench, self.items, MIN_ITEMS)
        found = likeness.by_layer(bench, "drift.rsa", sample, self.position, {}, compare)
        rows = [RSARow(*line) for line in likeness.item_lines(bench, sample, found)]
        panel = likeness.item_panel(bench, sample, found, self.position)
        what = "Rank correlation of the items' similarities with the original's"
        return Reading(rows, panel, likeness.in_words(what, panel, likeness.on_retain(found)))


def compare(first: Clouds, second: Clouds) -> dict[str, NDArray[np.float64]]:
    """The correlation of every item, by split [items]; exactly 1 for the same states, NaN where they do not vary."""
    if likeness.undefined(first, second):
        return {s: np.full(len(x), np.nan) for s, x in first.items()}
    if likeness.same(first, second):
        return {s: np.ones(len(x)) for s, x in first.items()}
    mine, theirs = similarities(first), similarities(second)
    return {s: spearman(mine[s], theirs[s]) for s in first}


def similarities(clouds: Clouds) -> dict[str, NDArray[np.float64]]:
    """Cosine similarity of each item to all forget and retain items but itself, by split [items, others]."""
    pool = unit(likeness.pooled(clouds))
    inside = pool @ pool.T
    others = inside[~np.eye(len(pool), dtype=bool)].reshape(len(pool), -1)
    result = {"forget": others[: len(clouds["forget"])], "retain": others[len(clouds["forget"]) :]}
    if "holdout" in clouds:
        result["holdout"] = unit(clouds["holdout"]) @ pool.T
    return result


def spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank correlation line by line [items, others] -> [items]; ties share their mean rank, NaN for a constant line."""
    from scipy.stats import rankdata

    x, y = (rankdata(lines, axis=1) for lines in (first, second))
    x, y = (ranks - ranks.mean(1, keepdims=True) for ranks in (x, y))
    scale = np.sqrt((x * x).sum(1) * (y * y).sum(1))
    return np.divide((x * y).sum(1), scale, out=np.full(len(x), np.nan), where=scale > 0)
