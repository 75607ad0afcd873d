"""How high do the inner layers rank the answer?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit import stats
from audit.evidence.attacks._lens import first_token_ranks, scores
from audit.stats import Scores
from audit.types import Access, Chart, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench


class AnswerRankRow(NamedTuple):
    """One block of one subject."""

    layer: Annotated[int, "block whose output is read, from 1"]
    subject: Annotated[str, "role of the model"]
    split: Annotated[str, "corpus of the prompts"]
    reciprocal: Annotated[float, "mean of 1 / rank of the first answer token, 0 to 1; 1 is always on top"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end of the 95 % interval over entities"]
    log_rank: Annotated[float, "mean natural logarithm of the rank; 0 is always on top"]
    median_rank: Annotated[float, "median rank"]
    items: Annotated[int, "prompts read"]


@dataclass(frozen=True)
class AnswerRank:
    """Rank of the answer's first token in the head projection of every block, without a budget that cuts it off.

    The block is chosen on one half of the entities and scored on the other. Deterministic: one run is all there is.
    """

    title: ClassVar[str] = "Rank of the answer"
    question: ClassVar[str] = "How near the top of the vocabulary do the inner layers keep the answer's first token?"
    blind_to: ClassVar[str] = (
        "Knowledge that is not written in the directions of the unembedding, all of an answer but its first token, and "
        "answers pushed far below the rank that a model without the knowledge gives them."
    )
    formula: ClassVar[str] = "1 / rank of the first answer token in unembed(norm(state of block l)), mean over items"
    source: ClassVar[str] = "Mean reciprocal rank over the logit lens (nostalgebraist 2020); ranks as in UnLOK-VQA"
    place: ClassVar[Place] = "recoverable"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN, Access.WEIGHTS})
    row: ClassVar[type] = AnswerRankRow
    chart: ClassVar[Chart] = Chart(
        "line", "layer", "reciprocal", low="low", high="high", facet="split", hover=("log_rank", "median_rank"),
        x_title="block", y_title="mean reciprocal rank", title="How high each layer ranks the answer",
    )  # fmt: skip
    cost: ClassVar[float] = 0.1

    def measure(self, bench: Bench) -> Reading:
        """Rank the first answer token in every block of every subject."""
        found = {(role, split): first_token_ranks(bench, role, split) for split in bench.splits for role in bench.roles}

        def score(role: Role, split: Split) -> Scores:
            best, _ = stats.cross_fit(1.0 / found[role, split], bench.corpus(split).entities, bench.seed)
            return scores(bench, split, best)

        panel = stats.panel(bench, score)
        rows = [row for (role, split), lines in found.items() for row in self._rows(bench, role, split, lines)]
        return Reading(rows, panel, _note(bench, panel, found["candidate", "forget"]))

    @staticmethod
    def _rows(bench: Bench, role: Role, split: Split, lines: NDArray[np.int64]) -> Iterator[AnswerRankRow]:
        for block, line in enumerate(lines, start=1):
            mean = stats.mean(scores(bench, split, 1.0 / line), seed=bench.seed).estimate(0.0)
            log_rank, median = float(np.log(line).mean()), float(np.median(line))
            yield AnswerRankRow(block, role, split, mean.value, mean.low, mean.high, log_rank, median, line.shape[0])


def _note(bench: Bench, panel: stats.Panel, lines: NDArray[np.int64]) -> str:
    best = int((1.0 / lines).mean(1).argmax())
    control = "the reference" if panel.null == "reference" else "facts that it never saw"
    return (
        f"The mean reciprocal rank of the answer's first token is {panel.candidate.value:.2f} in "
        f"{bench.case.candidate.name}, {panel.original.value:.2f} in the original; {control}: "
        f"{panel.null_candidate.value:.2f}. "
        f"Block {best + 1} ranks it highest, at a median of {np.median(lines[best]):.0f}."
    )
