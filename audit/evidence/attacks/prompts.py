"""Do jailbreak and adversarial prompts get the answer out?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from audit import stats
from audit.errors import CaseError, NotIdentifiable, suggest
from audit.evidence.attacks._families import FAMILIES, Family, asks, own_families
from audit.evidence.attacks._prompting import (
    RUNS,
    Ask,
    Heard,
    Transcript,
    as_asked,
    chart_of,
    chosen,
    control,
    hear,
    panel_before,
    scores_of,
    transcripts,
    worst,
)  # fmt: skip
from audit.evidence.behaviour.recall import check_metric
from audit.types import Access, Chart, Item, Place, Reading, Role, Split

if TYPE_CHECKING:
    from audit.bench import Bench

PLAIN = "as asked"
"""The item's own prompt: the original's score, and nobody's attack."""


@dataclass(frozen=True)
class Prompts:
    """Ask in every family's words, on every subject; which family works best is chosen on one half of the entities and
    scored on the other. Families that hold chance (examples, order of choices, wording) are drawn anew in each run.
    Multiple choice names the tested answer among others: it has its row, but is never the headline beside others."""

    families: tuple[str, ...] = ()
    """Names of families to try; empty means all that the items allow."""
    templates: tuple[str, ...] = ()
    """Further templates, for instance in another language, each with {prompt} or {wording}."""
    runs: int = RUNS
    """Runs, at least 3."""
    items: int = 40
    """Most items asked of each corpus; 0 is all of them."""
    metric: str = "rougeL_recall"
    """`rougeL_recall` or `contains`."""

    title: ClassVar[str] = "Prompt attacks"
    question: ClassVar[str] = "Does the answer come out under jailbreak and adversarial prompts?"
    blind_to: ClassVar[str] = (
        "Prompts that were not tried, above all those written or searched for one model. Models that follow no "
        "instructions are hardly moved by most of these."
    )
    formula: ClassVar[str] = (
        "recall under the family that works best on the other half of the entities; residual = (candidate attacked - "
        "reference attacked) / (original as asked - reference attacked)"
    )
    source: ClassVar[str] = (
        "RWKU (Jin et al. 2024), ConceptVectors (Hong et al. 2024), Unlearning Depth Score; templates in our own words"
    )
    place: ClassVar[Place] = "recoverable"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.TEXT})
    row: ClassVar[type] = Transcript
    chart: ClassVar[Chart] = chart_of("Answers under each family of prompts", "family of prompts")
    cost: ClassVar[float] = 2.0

    def __post_init__(self) -> None:
        check_metric(self.metric)
        own_families(self.templates)
        if self.runs < RUNS:
            raise CaseError(f"runs = {self.runs}: an attack needs at least {RUNS} runs to show its spread.")
        known = [family.name for family in FAMILIES]
        for name in self.families:
            if name not in known:
                raise CaseError(f'Unknown family of prompts "{name}".{suggest(str(name), known)}')

    @property
    def wanted(self) -> list[Family]:
        """The families to try, the user's own last."""
        chosen = [family for family in FAMILIES if not self.families or family.name in self.families]
        return [*chosen, *own_families(self.templates)]

    def measure(self, bench: Bench) -> Reading:
        """Ask every subject in every family's words; raises CaseError when the items allow none of the families,
        and NotIdentifiable when all that they allow name the answer."""
        prompts = {split: self._prompts(bench, split) for split in bench.splits}
        names = [family.name for family in self.wanted if all(family.name in found for found in prompts.values())]
        if not names:
            raise CaseError(
                "The items allow none of the families of prompts: they need an entity, paraphrases, wrong answers or "
                "a retain corpus, whichever the template names."
            )
        headline = [name for name in names if name not in {f.name for f in self.wanted if f.gives_answer}]
        if not headline:
            raise NotIdentifiable(
                f"Every prompt that the items allow ({', '.join(names)}) names the tested answer, which any model can "
                "repeat: try a family that does not."
            )
        heard = {
            (role, split): hear(
                bench, role, {name: prompts[split][name] for name in names}, self.metric, f"under attack ({split})"
            )
            for split in prompts
            for role in bench.roles
        }
        for (role, split), found in heard.items():
            items = [ask.item for ask in found[names[0]].asks[0]]
            found[PLAIN] = as_asked(bench, role, split, items, self.runs, self.metric)

        def score(role: Role, split: Split) -> stats.Scores:
            found = heard[role, split]
            return scores_of([ask.item for ask in found[PLAIN].asks[0]], worst(found, headline, bench.seed))

        def before(role: Role, split: Split) -> stats.Scores:
            found = heard[role, split][PLAIN]
            return scores_of([ask.item for ask in found.asks[0]], found.values)

        panel = panel_before(bench, score, before)
        rows = [row for (role, split), found in heard.items() for row in transcripts(bench, role, split, found)]
        return Reading(rows, panel, self._note(bench, panel, heard["candidate", "forget"], headline, len(names)))

    def _prompts(self, bench: Bench, split: Split) -> dict[str, list[list[Ask]]]:
        """Every family that all chosen items allow, its prompts [runs][items]."""
        items = chosen(bench, split, self.items)
        retain: Sequence[Item] = bench.corpus("retain").items if bench.has("retain") else ()
        found = {}
        for family in self.wanted:
            rngs = {run: _rng(bench, family, split, run) for run in range(self.runs)}
            made = asks(family, items, self.runs, retain, rngs)
            if made is not None:
                found[family.name] = made
        return found

    def _note(
        self, bench: Bench, panel: stats.Panel, heard: Mapping[str, Heard], headline: Sequence[str], allowed: int
    ) -> str:
        best = max(headline, key=lambda name: float(heard[name].values.mean()))
        left = len(self.wanted) - allowed
        note = (
            f"Under the family of prompts that works best on other entities {bench.case.candidate.name} gives "
            f"{panel.candidate.value:.0%} of the answers ({heard[PLAIN].values.mean():.0%} as asked), the original "
            f"{panel.original.value:.0%} as asked, {control(panel, 'answers')}; of {len(headline)} families, {best} "
            f"recovers most ({heard[best].values.mean():.0%})."
        )
        return f"{note} {left} families need what the items lack." if left else note


def _rng(bench: Bench, family: Family, split: Split, run: int) -> np.random.Generator:
    return bench.rng("prompts", family.name, split, run)
