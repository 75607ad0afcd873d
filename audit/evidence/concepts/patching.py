"""Activation patching: do the candidate's inner states still carry the answer into the original?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit.errors import CaseError, NotIdentifiable
from audit.evidence.concepts._answers import whole_answers
from audit.evidence.concepts._patch import patched, predicting
from audit.probing import intervals
from audit.stats import Panel, Scores, panel
from audit.types import SPLITS, Access, Chart, Item, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench


class PatchingRow(NamedTuple):
    """One block of one subject, whose states were patched into the original, on one split."""

    layer: Annotated[int, "block whose output was patched, from 1"]
    subject: Annotated[str, "role of the model that the states come from"]
    split: Annotated[str, "corpus of the items"]
    drop: Annotated[float, "fall of the answer's mean log-probability in the original, nats per token"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end of the 95 % interval over entities"]
    carries: Annotated[
        float | None, "share of items whose answer falls by more than the threshold with the reference's"
    ]
    kept: Annotated[float | None, "over those items, 1 - drop / drop with the reference, each clipped to 0 to 1"]
    items: Annotated[int, "number of items"]


@dataclass(frozen=True)
class Patching:
    """Puts the states of a subject, one block at a time, into the original's pass over prompt and answer.

    S1 takes them from the reference: the blocks where the original's answer then falls are those that carry it. S2
    takes them from the candidate and asks how much of that fall there is. It is 1 minus the Unlearning Depth Score.
    States are patched before the final norm, in the last block too. The retain items show whether states fit at all.
    """

    title: ClassVar[str] = "Activation patching"
    question: ClassVar[str] = "Do the candidate's inner states still carry the forgotten answers into the original?"
    blind_to: ClassVar[str] = (
        "What the states hold in a form that the original's later blocks cannot read, and knowledge at earlier tokens "
        "that attention fetches later; a model that never knew scores a little above 0, because each ratio is clipped."
    )
    formula: ClassVar[str] = (
        "score_i = 1 - sum_l d1 clip(d2 / d1, 0, 1) / sum_l d1 over blocks l with d1 > threshold; d = mean log p of "
        "the answer's tokens in the original minus the same with the output of block l at the tokens that predict "
        "them taken from the reference (d1) or the subject (d2); items without such a block are left out"
    )
    source: ClassVar[str] = "Unlearning Depth Score, gnueaj/unlearning-depth-score (fc31639, 2026), threshold 0.05"
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN, Access.WEIGHTS})
    row: ClassVar[type] = PatchingRow
    chart: ClassVar[Chart] = Chart(
        "line", x="layer", y="drop", low="low", high="high", facet="split", hover=("carries", "kept", "items"),
        x_title="block", y_title="fall of log-probability, nats", title="What patched states cost the answer",
    )  # fmt: skip
    cost: ClassVar[float] = 4.0

    threshold: float = 0.05
    """Nats by which the reference's states must lower an answer for a block to count as carrying it."""
    items: int = 200
    """Items of each corpus; every one is passed once for each block."""

    def __post_init__(self) -> None:
        if self.items < 2 or self.threshold <= 0:
            raise CaseError(f"Patching needs 2 items and a threshold above 0; found {self.items}, {self.threshold}.")

    def measure(self, bench: Bench) -> Reading:
        """Patch every block of every subject; raises NotIdentifiable without a reference."""
        if bench.null != "reference":
            raise NotIdentifiable(
                "Patching needs a reference: only states of a model that never learned the facts show which blocks of "
                "the original carry them. Facts that no model saw have no answer that a patch could take away."
            )
        splits: list[Split] = [split for split in SPLITS if split != "holdout" and bench.has(split)]
        drops = {(role, split): self._drops(bench, role, split) for role in bench.roles for split in splits}
        lost = drops["reference", "forget"]
        carrying = lost > self.threshold
        if not carrying.any():
            raise NotIdentifiable(
                f"This instrument does not work here: with the reference's states the original's answers fall by "
                f"{lost.max():.3f} nats at most, less than the threshold of {self.threshold}, with its own by 0.000."
            )
        kept = {role: 1.0 - np.clip(_share(drops[role, "forget"], lost, carrying), 0.0, 1.0) for role in bench.roles}
        weights = np.where(carrying, lost, 0.0)

        def score(role: Role, split: Split) -> Scores:
            total = weights.sum(0)
            values = (weights * kept[role]).sum(0) / np.where(total > 0, total, 1.0)
            # A mean of ones under weights is one but for rounding.
            values[(kept[role] == 1.0).all(0)] = 1.0
            items = self._items(bench, split)
            return Scores([i.id for i in items], [i.entity or i.id for i in items], values, np.asarray(carrying.any(0)))

        read = panel(bench, score)
        rows = [row for key, drop in drops.items() for row in self._rows(bench, *key, drop, carrying, kept)]
        return Reading(rows, read, self._note(read, drops, carrying))

    def _items(self, bench: Bench, split: Split) -> list[Item]:
        return [bench.corpus(split).items[i] for i in bench.subset(split, self.items)]

    def _drops(self, bench: Bench, role: Role, split: Split) -> NDArray[np.float64]:
        """Fall of each answer's mean log-probability with the subject's states in each block [blocks, items]."""

        def compute() -> dict[str, NDArray[np.float64]]:
            items = self._items(bench, split)
            bench.progress(bench.roles.index(role) / len(bench.roles), f"patching states of the {role} on {split}")
            with bench.model(role) as subject:
                source = predicting(subject, whole_answers(subject, items, bench.case.template))
            with bench.model("original") as original:
                found = patched(original, whole_answers(original, items, bench.case.template), source)
            return {"drops": found[0] - found[1:]}

        inputs = {"split": split, "items": self.items}
        return bench.remember("concepts.patching", [role, "original"], inputs, compute, (split,))["drops"]

    def _rows(
        self,
        bench: Bench,
        role: Role,
        split: Split,
        drop: NDArray[np.float64],
        carrying: NDArray[np.bool_],
        kept: Mapping[Role, NDArray[np.float64]],
    ) -> Iterator[PatchingRow]:
        entities = [item.entity or item.id for item in self._items(bench, split)]
        for block, (value, low, high) in enumerate(intervals(drop, entities, bench.seed)):
            carries = share = None
            if split == "forget":
                mine = carrying[block]
                carries, share = float(mine.mean()), float(kept[role][block, mine].mean()) if mine.any() else None
            yield PatchingRow(block + 1, role, split, value, low, high, carries, share, len(entities))

    def _note(
        self, read: Panel, drops: Mapping[tuple[Role, Split], NDArray[np.float64]], carrying: NDArray[np.bool_]
    ) -> str:
        blocks = ", ".join(str(block + 1) for block in np.flatnonzero(carrying.mean(1) > 0.5)) or "none"
        text = (
            f"Of what the original's states carry of the answers, the candidate's carry {read.candidate.value:.0%}. "
            f"Blocks that carry most of the answers: {blocks}."
        )
        left_out = int((~carrying.any(0)).sum())
        if left_out:
            text += f" {left_out} of {carrying.shape[1]} items are carried by no block and left out."
        if ("reference", "retain") in drops:
            forget, retain = (float(drops["reference", split].mean()) for split in ("forget", "retain"))  # type: ignore
            if retain > 0.5 * forget:
                text += (
                    f" The reference's states cost retained answers {retain:.2f} nats, forgotten ones {forget:.2f}: "
                    "they do not fit the original, so 0 means that as much is lost as with a foreign model's states."
                )
        return text.replace("%", " %")


def _share(drop: NDArray[np.float64], lost: NDArray[np.float64], carrying: NDArray[np.bool_]) -> NDArray[np.float64]:
    """drop / lost where a block carries the answer, else 0 [blocks, items]."""
    return np.divide(drop, lost, out=np.zeros_like(drop), where=carrying)
