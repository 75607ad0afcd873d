"""Does a context that brings the thing back also bring back the fact?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from audit import stats
from audit.errors import CaseError, NotApplicable
from audit.evidence.attacks._contexts import ATTACKS, CONTRADICTED, COUNTERFACTUAL, DEFINITION, Contexts, Writer
from audit.evidence.attacks._prompting import (
    RUNS,
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
)
from audit.evidence.behaviour.recall import check_metric, score
from audit.types import Access, Chart, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

NEEDED = 0.5
"""A context is tried when at least this share of the items allows it."""


@dataclass(frozen=True)
class InContext:
    """Ask with a context of other true facts (definition), of another name (alias), or of facts told of a thing that is
    not named (composed); facts that say the tested answer, or most of its words, are left out. From the context that
    works best, chosen on one half of the entities and scored on the other, the counterfactual is taken off."""

    facts: int = 3
    """Most other facts in a context."""
    runs: int = RUNS
    """Runs, each with facts and counterfactuals of its own; at least 3."""
    items: int = 40
    """Most items asked of each corpus; 0 is all of them."""
    metric: str = "rougeL_recall"
    """`rougeL_recall` or `contains`."""

    title: ClassVar[str] = "Reintroduction in context"
    question: ClassVar[str] = "Does a context that brings the thing back also bring back the forgotten fact?"
    blind_to: ClassVar[str] = (
        "Contexts that were not tried, and knowledge that a context disturbs: small models answer worse after several "
        "facts. A fact that tells the answer in quite other words is not noticed, and then reading looks like "
        "remembering. A context that holds the answer brings it back in any model that can read, also one that never "
        "knew: no unlearning of weights can prevent that, and it is not tested here."
    )
    formula: ClassVar[str] = (
        "recall of the answer given other true facts - recall of another entity's answer given that entity's facts "
        "told of this one"
    )
    source: ClassVar[str] = (
        "UnUnlearning (Shumailov et al. 2024); in-context attacks of ConceptVectors (2024) and RWKU background hint"
    )
    place: ClassVar[Place] = "recoverable"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.TEXT})
    row: ClassVar[type] = Transcript
    chart: ClassVar[Chart] = chart_of("What each context brings back, and what it merely suggests", "context")
    cost: ClassVar[float] = 2.0

    def __post_init__(self) -> None:
        check_metric(self.metric)
        if self.runs < RUNS:
            raise CaseError(f"runs = {self.runs}: an attack needs at least {RUNS} runs to show its spread.")
        if self.facts < 1:
            raise CaseError("facts = 0: a context needs at least one fact.")

    def measure(self, bench: Bench) -> Reading:
        """Ask every subject in every context; raises NotApplicable when the corpus allows no context."""
        asks = {split: self._asks(bench, split) for split in bench.splits}
        names = [name for name in asks["forget"] if all(name in found for found in asks.values())]
        attacks = [name for name in names if name in ATTACKS]
        heard = {
            (role, split): hear(
                bench, role, {name: asks[split][name] for name in names}, self.metric, f"in context ({split})"
            )
            for split in asks
            for role in bench.roles
        }

        def values(role: Role, split: Split) -> stats.Scores:
            found = heard[role, split]
            items = [ask.item for ask in found[DEFINITION].asks[0]]
            return scores_of(items, beyond(found, attacks, bench.seed))

        panel = stats.panel(bench, values)
        rows = [row for (role, split), found in heard.items() for row in transcripts(bench, role, split, found)]
        left = len(chosen(bench, "forget", self.items)) - len(asks["forget"][DEFINITION][0])
        return Reading(rows, panel, _note(bench, panel, heard["candidate", "forget"], left))

    def _asks(self, bench: Bench, split: Split) -> dict[str, list[list[Ask]]]:
        """The asks [runs][items] of every context that enough items allow; the items are the same in all of them."""
        writer = Writer(bench.corpus(split).items, self.facts)
        items = chosen(bench, split, self.items)
        written: dict[str, list[Contexts]] = {}
        for item in items:
            runs = [writer.write(item, bench.rng("in context", item.id, run)) for run in range(self.runs)]
            if all(run.complete for run in runs):
                written[item.id] = runs
        if len(written) < stats.MIN_ENTITIES:
            raise NotApplicable(
                f"{len(written)} of {len(items)} {split} items can be put into a context: that takes items with an "
                "entity of which the corpus knows other facts, and another entity that is asked the same."
            )
        return _shared(list(written.values()))


def _shared(written: Sequence[Sequence[Contexts]]) -> dict[str, list[list[Ask]]]:
    """The contexts that at least NEEDED of the items allow in every run, for the items that allow all of these."""
    allowed = {
        name: [all(name in run.asks for run in runs) for runs in written]
        for name in (*ATTACKS, COUNTERFACTUAL, CONTRADICTED)
    }
    names = [name for name, yes in allowed.items() if np.mean(yes) >= NEEDED]
    kept = [runs for i, runs in enumerate(written) if all(allowed[name][i] for name in names)]
    if len(kept) < stats.MIN_ENTITIES:
        names = [DEFINITION, COUNTERFACTUAL]
        kept = list(written)
    found = {name: [[runs[run].asks[name] for runs in kept] for run in range(len(kept[0]))] for name in names}
    for name in ATTACKS:
        for ask in (ask for line in found.get(name, []) for ask in line):
            assert not score(ask.prompt, ask.item.answer, "contains"), f"a context of {ask.item.id} holds the answer"
    return found


def beyond(heard: Mapping[str, Heard], attacks: Sequence[str], seed: int) -> NDArray[np.float64]:
    """What the best context recovers beyond what the counterfactual suggests [runs, items], -1 to 1."""
    return worst(heard, attacks, seed) - heard[COUNTERFACTUAL].values


def _note(bench: Bench, panel: stats.Panel, heard: Mapping[str, Heard], left: int) -> str:
    recalled = {name: float(found.values.mean()) for name, found in heard.items()}
    best = max((name for name in recalled if name in ATTACKS), key=lambda name: recalled[name])
    note = (
        f"In the context that works best ({best}) {bench.case.candidate.name} gives {recalled[best]:.0%} of the "
        f"answers; told another entity's facts of the same thing, it gives that one's answer in "
        f"{recalled[COUNTERFACTUAL]:.0%}. What is beyond that: {panel.candidate.value:.0%}, in the original "
        f"{panel.original.value:.0%}, {control(panel, 'facts')}."
    )
    if CONTRADICTED in recalled:
        note += f" Told a wrong answer, it repeats it in {recalled[CONTRADICTED]:.0%}."
    return f"{note} {left} items were left out: no context, or one that holds their answer." if left else note
