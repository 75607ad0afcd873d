"""Do the inner layers still rank the answer first?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit import stats
from audit.evidence.attacks._lens import Candidates, first_token_ranks, first_tokens, scores
from audit.stats import Scores
from audit.types import Access, Chart, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

ANY = "any"


class Row(NamedTuple):
    """One layer of one subject, or any of the chosen layers."""

    layer: Annotated[str, "block whose output is read, from 1; `any` is a hit in any of the chosen layers"]
    subject: Annotated[str, "role of the model"]
    split: Annotated[str, "corpus of the prompts"]
    hit_rate: Annotated[float, "share of items whose first answer token is among the top k, 0 to 1"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end"]
    median_rank: Annotated[float, "median rank of the first answer token, 1 is the top; best of the layers for `any`"]
    items: Annotated[int, "prompts read"]


@dataclass(frozen=True)
class HeadProjection(Candidates):
    """Apply a subject's own final norm and unembedding to the inner states of the last prompt token.

    The attacker may look at k tokens in each chosen layer, so at k times the number of layers in all; every subject is
    attacked with that same budget. It is deterministic, so one run is all there is. The states come from the one pass.
    """

    title: ClassVar[str] = "Head projection"
    question: ClassVar[str] = "Do inner layers still rank the answer's first token among their top words?"
    blind_to: ClassVar[str] = (
        "Knowledge that is not written in the directions of the unembedding, all of an answer but its first token, "
        "answers that begin alike (where most share a first token, a hit means little), and answers pushed far below "
        "the rank that a model without the knowledge gives them: that is a trace too, but no hit."
    )
    formula: ClassVar[str] = "1 if rank of the first answer token in unembed(norm(state of layer l)) <= k for any l"
    source: ClassVar[str] = "Patil, Hase and Bansal 2024 (arXiv 2309.17410); UnLOK-VQA (Patil et al. 2025)"
    place: ClassVar[Place] = "recoverable"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN, Access.WEIGHTS})
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = Chart(
        "bar", "layer", "hit_rate", low="low", high="high", facet="split", hover=("median_rank", "items"),
        x_title="block", y_title="share of answers among the top k", title="Answers that surface in each layer",
    )  # fmt: skip
    cost: ClassVar[float] = 0.1

    def measure(self, bench: Bench) -> Reading:
        """Rank the first answer token in every layer of every subject."""
        splits = bench.splits
        ranks = {(role, split): first_token_ranks(bench, role, split) for split in splits for role in bench.roles}
        chosen = [block - 1 for block in self.chosen(len(ranks["candidate", "forget"]))]

        def score(role: Role, split: Split) -> Scores:
            return scores(bench, split, ranks[role, split][chosen].min(0) <= self.k)

        panel = stats.panel(bench, score)
        rows = [row for (role, split), found in ranks.items() for row in self._rows(bench, role, split, found, chosen)]
        return Reading(rows, panel, self._note(bench, panel, len(chosen)))

    def _rows(
        self, bench: Bench, role: Role, split: Split, ranks: NDArray[np.int64], chosen: list[int]
    ) -> Iterator[Row]:
        lines = [(str(block), line) for block, line in enumerate(ranks, start=1)] + [(ANY, ranks[chosen].min(0))]
        for layer, line in lines:
            found = stats.mean(scores(bench, split, line <= self.k), seed=bench.seed).estimate(0.0)
            rank = float(np.median(line))
            yield Row(layer, role, split, found.value, found.low, found.high, rank, line.shape[0])

    def _note(self, bench: Bench, panel: stats.Panel, layers: int) -> str:
        tokens = first_tokens(bench, "original", "forget")
        most = Counter(tokens.tolist()).most_common(1)[0][1] / len(tokens)
        control = "the reference" if panel.null == "reference" else "facts that it never saw"
        return (
            f"With {self.k} tokens in each of {layers} layers (a budget of {self.k * layers}), the first token of "
            f"{panel.candidate.value:.0%} of the answers is found in {bench.case.candidate.name}, "
            f"{panel.original.value:.0%} in the original; {control}: {panel.null_candidate.value:.0%}. "
            f"{len(set(tokens.tolist()))} different first tokens for {len(tokens)} answers, the commonest begins "
            f"{most:.0%} of them: read the hits against that null."
        )
