"""Shared dictionary: which features does only one of the models use?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit import probing
from audit.dictionaries.source import Dictionary, shared_dictionary
from audit.evidence.sae._features import Trained, activations
from audit.stats import Scores, panel
from audit.types import SPLITS, Access, Chart, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench


class SharedRow(NamedTuple):
    """One subject on one split."""

    layer: Annotated[int, "block whose output the dictionary reads"]
    subject: Annotated[str, "role of the model"]
    split: Annotated[str, "corpus of the items"]
    overlap: Annotated[float, "common part of its and the original's feature activations, item by item, 0 to 1"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end of the 95 % interval over entities"]
    only_original: Annotated[float, "share of the original's activation on features that never fire here, 0 to 1"]
    only_here: Annotated[float, "share of its activation on features that never fire in the original, 0 to 1"]
    unexplained: Annotated[float, "variance of its states that the dictionary leaves unexplained, 0 is perfect"]
    items: Annotated[int, "number of items"]


@dataclass(frozen=True)
class Shared(Trained):
    """One dictionary trained on the states of all subjects of the audit together.

    A dictionary of the original alone has no words for what only another model computes; this one has words for both,
    so that a feature used by one and not by the other is seen from either side.
    """

    title: ClassVar[str] = "SAE shared dictionary"
    question: ClassVar[str] = "Does the candidate use the same features as the original for the forgotten items?"
    blind_to: ClassVar[str] = (
        "What a feature means, and rare features: a dictionary for many models at once gives each fewer of its own. A "
        "model that was trained from another start shares few features whatever it knows."
    )
    formula: ClassVar[str] = (
        "per item sum_j min(f_j, g_j) / sum_j max(f_j, g_j), f of the subject, g of the original, at the last prompt "
        "token; 1 where neither fires"
    )
    source: ClassVar[str] = "Crosscoders for model diffing: Lindsey et al. 2024; weighted Jaccard index; sae-lens"
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN})
    row: ClassVar[type] = SharedRow
    chart: ClassVar[Chart] = Chart(
        "bar", "split", "overlap", low="low", high="high", hover=("only_original", "only_here", "unexplained", "items"),
        x_title="corpus", y_title="overlap with the original", title="Features that both models use",
    )  # fmt: skip
    cost: ClassVar[float] = 0.8

    steps: int = 500
    """Fewer than for the original alone: what it must tell apart are models, not rare features."""

    def measure(self, bench: Bench) -> Reading:
        """Encode the last prompt token of every item; trains the dictionary once for the whole audit."""
        dictionary = shared_dictionary(bench, self.features, self.k, self.steps)
        splits: list[Split] = [split for split in SPLITS if bench.has(split)]
        active = {(r, s): activations(bench, dictionary, r, s) for r in bench.roles for s in splits}
        overlaps = {(r, s): overlap(active[r, s], active["original", s]) for r, s in active}

        def score(role: Role, split: Split) -> Scores:
            corpus = bench.corpus(split)
            return Scores([item.id for item in corpus.items], corpus.entities, overlaps[role, split])

        result = panel(bench, score)
        rows = [
            self._row(
                bench, dictionary, role, split, overlaps[role, split], active[role, split], active["original", split]
            )
            for role, split in active
        ]
        note = f"Overlap of the features that fire on forgotten items: {probing.compared(result)}."
        return Reading(rows, result, note)

    @staticmethod
    def _row(
        bench: Bench,
        dictionary: Dictionary,
        role: Role,
        split: Split,
        overlaps: NDArray[np.float64],
        mine: NDArray[np.float32],
        original: NDArray[np.float32],
    ) -> SharedRow:
        value, low, high = probing.intervals(overlaps[None], bench.corpus(split).entities, bench.seed)[0]
        here, there = (mine > 0).any(0), (original > 0).any(0)
        states = bench.states(role, split).at(dictionary.layer)
        wrong = np.square(states - dictionary.decode(mine), dtype=np.float64).sum()
        total = np.square(states - states.mean(0), dtype=np.float64).sum()
        return SharedRow(
            dictionary.layer, role, split, value, low, high,
            float(original[:, ~here].sum() / max(float(original.sum()), 1e-12)),
            float(mine[:, ~there].sum() / max(float(mine.sum()), 1e-12)),
            float(wrong / max(float(total), 1e-12)), len(overlaps),
        )  # fmt: skip


def overlap(mine: NDArray[np.float32], original: NDArray[np.float32]) -> NDArray[np.float64]:
    """Weighted Jaccard index of two sets of activations, row by row [rows]; 1 where neither has any."""
    common = np.minimum(mine, original).sum(1, dtype=np.float64)
    either = np.maximum(mine, original).sum(1, dtype=np.float64)
    return np.divide(common, either, out=np.ones(len(common)), where=either > 0)
