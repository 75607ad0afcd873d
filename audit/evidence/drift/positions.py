"""Positions: at which token and in which layer the states moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit.activations.capture import POSITIONS
from audit.evidence.drift import _likeness as likeness
from audit.evidence.drift.cka import still
from audit.evidence.drift.neighbours import unit
from audit.stats import Scores, panel
from audit.types import BOTH, Access, Chart, Modality, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench
    from audit.evidence.drift._likeness import Clouds

MIN_ITEMS = 2


class PositionsRow(NamedTuple):
    """One layer of one subject on one split at one position."""

    layer: Annotated[int, "0 is the input of the first block, i the output of block i"]
    subject: Annotated[str, "role of the model"]
    split: Annotated[str, "corpus of the items"]
    likeness: Annotated[float, "mean cosine of an item's state with its state in the original, -1 to 1"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end of the 95 % interval over entities"]
    items: Annotated[int, "number of items of the split"]
    entities: Annotated[int, "number of entities among them"]
    position: Annotated[str, "token: last of the prompt, last of the answer, or the mean of the answer's"]
    token: Annotated[str, "split and position in one: a line of the map"]


@dataclass(frozen=True)
class Positions:
    """Cosine of each item's state with its state in the original, for every position and layer.

    Both states are taken from the original's retain mean at that position and layer, because all states of a language
    model share one large direction, beside which any two look alike. The headline counts every position alike. The null
    is the reference; without one there is a table and no residual, because the original's states equal themselves on
    every corpus. A model trained from another start has other directions and is near 0 everywhere.
    """

    title: ClassVar[str] = "Where the states moved"
    question: ClassVar[str] = (
        "At which tokens and in which layers do the forgotten items' states still equal the original's?"
    )
    blind_to: ClassVar[str] = (
        "What moved: a rotation that keeps every answer counts as a change, and at the answer's tokens the states show "
        "the text that was read rather than what is remembered."
    )
    formula: ClassVar[str] = (
        "cos(Y_i - m, X_i - m), X the original's and Y the subject's states of item i, m the mean of the original's "
        "retain states, at each position and layer; headline = mean over forget items, positions and block outputs"
    )
    source: ClassVar[str] = (
        "Dense instead of pooled comparison after Xie et al. 2021, PixPro (arXiv:2011.10043); centring: Ethayarajh "
        "2019 (arXiv:1909.00512)"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN})
    reads: ClassVar[frozenset[Modality]] = BOTH
    row: ClassVar[type] = PositionsRow
    chart: ClassVar[Chart] = Chart(
        "heat",
        x="layer",
        y="token",
        hover=("likeness", "low", "high", "items"),
        x_title="layer",
        y_title="items and token",
        title="Likeness to the original's states, by token and layer",
    )
    cost: ClassVar[float] = 0.2

    items: int = 1000
    """Items of each split at most."""

    def __post_init__(self) -> None:
        likeness.check_settings(POSITIONS[0], self.items, MIN_ITEMS)

    def measure(self, bench: Bench) -> Reading:
        """Compare states token by token; raises NotApplicable with fewer than two items."""
        sample = likeness.sampled(bench, self.items, MIN_ITEMS)
        found = {p: likeness.by_layer(bench, "drift.positions", sample, p, {}, compare) for p in POSITIONS}
        rows = [
            PositionsRow(*line, position, f"{split}: {position.replace('_', ' ')}")
            for split in sample.splits
            for position in POSITIONS
            for line in likeness.item_lines(bench, sample, found[position])
            if line[2] == split
        ]

        def score(role: Role, split: Split) -> Scores:
            values = [likeness.over_blocks(found[p][role][split], role, p) for p in POSITIONS]
            return Scores(sample.ids[split], sample.entities[split], np.mean(values, axis=0))

        return Reading(rows, panel(bench, score), in_words(rows))


def compare(first: Clouds, second: Clouds) -> dict[str, NDArray[np.float64]]:
    """Cosine of every item's two states, by split [items]; exactly 1 for the same state, NaN where none varies."""
    centre = first["retain"].mean(0, dtype=np.float64)
    flat = still(likeness.pooled(first))
    result: dict[str, NDArray[np.float64]] = {}
    for split, x in first.items():
        cosine = (unit(x - centre) * unit(second[split] - centre)).sum(1)
        result[split] = np.where((x == second[split]).all(1), 1.0, np.nan if flat else cosine)
    return result


def in_words(rows: list[PositionsRow]) -> str:
    """Where the candidate differs most from the original on forget, beside the same place on retain."""
    own = {(r.split, r.position, r.layer): r for r in rows if r.subject == "candidate"}
    forget = [row for (split, _, layer), row in own.items() if split == "forget" and layer > 0]
    if not forget:
        return "The states do not vary between items, so nothing can be compared."
    if all(row.likeness == 1.0 for row in own.values()):
        return "Hidden states of candidate and original are the same at every position in every layer."
    worst = min(forget, key=lambda row: row.likeness)
    beside = own["retain", worst.position, worst.layer]
    return (
        f"On forget the candidate is least like the original in block {worst.layer} at {worst.position}: cosine "
        f"{worst.likeness:.2f}, against {beside.likeness:.2f} on retain."
    )
