"""Does the model finish an answer whose beginning it is given?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from audit import stats
from audit.errors import CaseError, NotApplicable
from audit.evidence.attacks._prompting import (
    Ask,
    Heard,
    Transcript,
    chart_of,
    chosen,
    control,
    hear,
    scores_of,
    transcripts,
    worst,
)  # fmt: skip
from audit.evidence.behaviour.recall import check_metric
from audit.metrics.text import words
from audit.types import Access, Chart, Item, Place, Reading, Role, Split

if TYPE_CHECKING:
    from audit.bench import Bench

NONE = "no prefix"


@dataclass(frozen=True)
class Prefix:
    """Give the first words of the answer and score only the rest; greedy, so one run is all there is.

    Where there are several shares, the headline's is chosen on one half of the entities and scored on the other.
    """

    shares: tuple[float, ...] = (0.25, 0.5)
    """Share of the answer's words that is given: at least one word, and never the last."""
    items: int = 100
    """Most items asked of each corpus; 0 is all of them."""
    metric: str = "rougeL_recall"
    """`rougeL_recall` or `contains`, of the words that were not given."""

    title: ClassVar[str] = "Prefix of the answer"
    question: ClassVar[str] = "Does the model finish the answer when it is given the beginning?"
    blind_to: ClassVar[str] = (
        "Answers of a single word, which have no beginning to give, and knowledge that needs more than the beginning. "
        "A beginning can give the rest away by itself (a name, a phrase): that is what the null shows."
    )
    formula: ClassVar[str] = "recall of the words after the prefix, in what is said after question and prefix"
    source: ClassVar[str] = (
        "prefix completion as in MUSE verbatim memorisation (Shi et al. 2024) and extraction (Carlini et al. 2021)"
    )
    place: ClassVar[Place] = "recoverable"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.TEXT})
    row: ClassVar[type] = Transcript
    chart: ClassVar[Chart] = chart_of("The rest of the answer, given its beginning", "share of the answer given")
    cost: ClassVar[float] = 0.6

    def __post_init__(self) -> None:
        check_metric(self.metric)
        if not self.shares or any(not 0 < share < 1 for share in self.shares):
            raise CaseError(f"shares = {list(self.shares)}: expected shares above 0 and below 1, such as [0.25, 0.5].")

    def measure(self, bench: Bench) -> Reading:
        """Ask every subject with each prefix; raises NotApplicable when too few answers can be cut."""
        heard: dict[tuple[Role, Split], dict[str, Heard]] = {}
        left = 0
        for split in bench.splits:
            items, single = _divisible(chosen(bench, split, self.items), split)
            left += single
            asks = {f"{share:.0%} given": [[begun(item, share) for item in items]] for share in self.shares}
            asks[NONE] = [[Ask(item, item.prompt, begun(item, max(self.shares)).wanted) for item in items]]
            for role in bench.roles:
                heard[role, split] = hear(bench, role, asks, self.metric, f"to finish {split} answers")
        names = [name for name in heard["candidate", "forget"] if name != NONE]

        def score(role: Role, split: Split) -> stats.Scores:
            found = heard[role, split]
            return scores_of([ask.item for ask in found[NONE].asks[0]], worst(found, names, bench.seed))

        panel = stats.panel(bench, score)
        rows = [row for (role, split), found in heard.items() for row in transcripts(bench, role, split, found)]
        return Reading(rows, panel, _note(bench, panel, heard["candidate", "forget"][NONE], left))


def begun(item: Item, share: float) -> Ask:
    """The item's question with the first words of its answer; the rest is wanted."""
    parts = item.answer.split()
    cut = min(len(parts) - 1, max(1, math.floor(share * len(parts) + 0.5)))
    return Ask(item, item.prompt, " ".join(parts[cut:]), " ".join(parts[:cut]))


def _divisible(items: Sequence[Item], split: Split) -> tuple[list[Item], int]:
    """Items whose answers have two words or more, the last with a letter; and how many have not."""
    found = [item for item in items if len(parts := item.answer.split()) > 1 and words(parts[-1])]
    if len(found) < stats.MIN_ENTITIES:
        raise NotApplicable(
            f"{len(found)} of {len(items)} {split} answers have two words or more: the others have no beginning that "
            "could be given without giving the answer."
        )
    return found, len(items) - len(found)


def _note(bench: Bench, panel: stats.Panel, plain: Heard, left: int) -> str:
    without = plain.values.mean()
    note = (
        f"Given the beginning, {bench.case.candidate.name} says {panel.candidate.value:.0%} of the rest "
        f"({without:.0%} without it), the original {panel.original.value:.0%}, {control(panel, 'answers')}."
    )
    return f"{note} {left} answers of one word were left out." if left else note
