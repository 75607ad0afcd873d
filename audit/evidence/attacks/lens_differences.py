"""Does the answer show in what each block adds or takes away?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit import stats
from audit.errors import NotApplicable
from audit.evidence.attacks._lens import FIRST, SECOND, Candidates, ranks, scores
from audit.stats import Scores
from audit.types import Access, Chart, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

ANY = "any"
KINDS = {
    f"{FIRST} top": "first difference, largest",
    f"{FIRST} bottom": "first difference, smallest",
    f"{SECOND} top": "second difference, largest",
    f"{SECOND} bottom": "second difference, smallest",
}


class LensDifferenceRow(NamedTuple):
    """One kind of difference at one block of one subject, or at any of the chosen blocks."""

    difference: Annotated[str, "first or second difference of the probabilities, and from which end it is searched"]
    layer: Annotated[str, "block that makes the difference, from 1; `any` is a hit at any of the chosen blocks"]
    subject: Annotated[str, "role of the model"]
    split: Annotated[str, "corpus of the prompts"]
    hit_rate: Annotated[float, "share of items whose first answer token is among the k at that end, 0 to 1"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end of the 95 % interval over entities"]
    median_rank: Annotated[float, "median rank of the first answer token from that end; best of the blocks for `any`"]
    items: Annotated[int, "prompts read"]


@dataclass(frozen=True)
class LensDifferences(Candidates):
    """Rank tokens by how much each block raises or lowers their probability, and by how that changes.

    Four attacks (first and second difference, each from the top and from the bottom), each with the budget of the head
    projection: k tokens in each chosen block. Which of the four counts is chosen on one half of the entities and scored
    on the other. A block that pushes an answer down shows it at the bottom. Deterministic, so one run is all there is.
    """

    title: ClassVar[str] = "Differences between layers"
    question: ClassVar[str] = "Does the answer stand out in what a block adds to the probabilities or takes away?"
    blind_to: ClassVar[str] = (
        "Knowledge that never reaches the directions of the unembedding, all of an answer but its first token, and "
        "answers that begin alike (where most share a first token, a hit means little)."
    )
    formula: ClassVar[str] = (
        "p_l = softmax(unembed(norm(state of block l))), PD_l = p_l - p_(l-1), PD2_l = PD_l - PD_(l-1); 1 if the first "
        "answer token is among the k largest (or the k smallest) of PD_l (or PD2_l) for any chosen l"
    )
    source: ClassVar[str] = "Patil, Hase and Bansal 2024 (arXiv 2309.17410); PD2: UnLOK-VQA (Patil et al. 2025)"
    place: ClassVar[Place] = "recoverable"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN, Access.WEIGHTS})
    row: ClassVar[type] = LensDifferenceRow
    chart: ClassVar[Chart] = Chart(
        "bar", "layer", "hit_rate", low="low", high="high", facet="difference", hover=("median_rank", "items"),
        x_title="block", y_title="share of answers among the k", title="Answers that surface between layers",
    )  # fmt: skip
    cost: ClassVar[float] = 0.1

    def measure(self, bench: Bench) -> Reading:
        """Rank the first answer token in every difference; raises NotApplicable for a model of a single block."""
        found = {(role, split): ranks(bench, role, split) for split in bench.splits for role in bench.roles}
        blocks = self.chosen(len(found["candidate", "forget"][f"{FIRST} top"]))
        if blocks == [1]:
            raise NotApplicable("A second difference needs two blocks; only the first is looked at here.")

        def score(role: Role, split: Split) -> Scores:
            hits = [best <= self.k for best in self._best(found[role, split], blocks)]
            return scores(bench, split, stats.cross_fit(hits, bench.corpus(split).entities, bench.seed)[0])

        panel = stats.panel(bench, score)
        rows = [row for (role, split), lines in found.items() for row in self._rows(bench, role, split, lines, blocks)]
        return Reading(rows, panel, self._note(bench, panel, rows, len(blocks)))

    @staticmethod
    def _best(found: dict[str, NDArray[np.int64]], blocks: list[int]) -> list[NDArray[np.int64]]:
        """Best rank over the chosen blocks for each of KINDS [items]."""
        return [found[kind][_places(kind, blocks)].min(0) for kind in KINDS]

    def _rows(
        self, bench: Bench, role: Role, split: Split, found: dict[str, NDArray[np.int64]], blocks: list[int]
    ) -> Iterator[LensDifferenceRow]:
        for (kind, words), best in zip(KINDS.items(), self._best(found, blocks), strict=True):
            first = 1 if kind.startswith(FIRST) else 2
            lines = [(str(block), line) for block, line in enumerate(found[kind], start=first)]
            for layer, line in [*lines, (ANY, best)]:
                mean = stats.mean(scores(bench, split, line <= self.k), seed=bench.seed).estimate(0.0)
                rank = float(np.median(line))
                yield LensDifferenceRow(
                    words, layer, role, split, mean.value, mean.low, mean.high, rank, line.shape[0]
                )  # fmt: skip

    def _note(self, bench: Bench, panel: stats.Panel, rows: list[LensDifferenceRow], blocks: int) -> str:
        any_block = [
            row for row in rows if row.layer == ANY and row.subject == "candidate" and row.split == "forget"
        ]  # fmt: skip
        best = max(any_block, key=lambda row: row.hit_rate)
        control = "the reference" if panel.null == "reference" else "facts that it never saw"
        return (
            f"With {self.k} tokens in each of {blocks} blocks (a budget of {self.k * blocks}), the first token of "
            f"{panel.candidate.value:.0%} of the answers is found in {bench.case.candidate.name}, "
            f"{panel.original.value:.0%} in the original; {control}: {panel.null_candidate.value:.0%}. "
            f"Most show in the {best.difference} ({best.hit_rate:.0%})."
        )


def _places(kind: str, blocks: list[int]) -> list[int]:
    """Where the chosen blocks lie in the ranks of a kind; the second difference begins at block 2."""
    first = 1 if kind.startswith(FIRST) else 2
    return [block - first for block in blocks if block >= first]
