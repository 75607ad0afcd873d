"""The ladder: for each candidate, whether it is still said, stored or recoverable, and what follows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from audit.catalogue import evidence_class
from audit.policy import KNOWLEDGE, Judgement, Policy, judge
from audit.types import Finding, Place, Residual, Status, Utility, Verdict
from audit.views.words import RUNGS

MOST_SHOWN = 4
GUARD = "behaviour.guard"


@dataclass(frozen=True)
class Step:
    """One rung of one candidate, in words and in numbers."""

    place: Place
    state: str
    words: str
    residual: Residual | None
    title: str
    limit: float


@dataclass(frozen=True)
class LadderRow:
    """One candidate's line."""

    name: str
    judgement: Judgement
    steps: tuple[Step, ...]
    gaps: int
    """How many findings hold no number."""
    beneath: str = ""
    """What was found out about the weights under a system that only hides; empty for a plain checkpoint."""


def ladder(findings: Mapping[str, Mapping[str, Finding]], policy: Policy) -> list[LadderRow]:
    """Judge every candidate by a policy."""
    return [_row(name, list(found.values()), policy) for name, found in findings.items()]


def _row(name: str, found: Sequence[Finding], policy: Policy) -> LadderRow:
    judgement = judge(policy, found)
    steps = []
    for place in KNOWLEDGE:
        rung = judgement.rungs[place]
        title = evidence_class(rung.id).title if rung.id else ""
        limit = policy.rules[place].limit
        steps.append(Step(place, rung.state, RUNGS[place][rung.state], rung.residual, title, limit))
    gaps = sum(finding.status not in (Status.MEASURED, Status.IMPORTED) for finding in found)
    return LadderRow(name, judgement, tuple(steps), gaps, _beneath(name, found))


def _beneath(name: str, found: Sequence[Finding]) -> str:
    notes = [f.note.removeprefix(name) for f in found if f.id == GUARD and f.status is Status.MEASURED]
    said = [part for note in notes for part in re.split(r"(?<=\.) ", note) if "weight" in part]
    return said[0] if said else ""


def telling(rows: Sequence[LadderRow]) -> list[str]:
    """Two candidates whose difference is the point: one that hides it best, and one without a trace or with the least.

    The first is a suppressed one that says least, because it would pass a look at its answers alone; a wrecked model
    (utility damaged) is chosen only when there is no other.
    """
    if len(rows) <= 2:
        return [row.name for row in rows]
    hiding = [row for row in rows if row.judgement.verdict is Verdict.SUPPRESSED] or list(rows)
    first = min(hiding, key=lambda row: (row.judgement.utility is Utility.DAMAGED, _value(row, "said")))
    others = [row for row in rows if row.name != first.name]
    traceless = [row for row in others if row.judgement.verdict is Verdict.NO_TRACE] or others
    second = min(traceless, key=lambda row: max(_value(row, "stored"), _value(row, "recoverable")))
    chosen = {first.name, second.name}
    return [row.name for row in rows if row.name in chosen]


def _value(row: LadderRow, place: Place) -> float:
    residual = next(step.residual for step in row.steps if step.place == place)
    return float("inf") if residual is None else residual.value


def blind_spots(findings: Mapping[str, Mapping[str, Finding]], policy: Policy) -> list[tuple[str, str]]:
    """Title and blind spot of everything measured that a verdict rests on: what a clean reading does not rule out."""
    measured = {id for found in findings.values() for id, finding in found.items() if finding.status is Status.MEASURED}
    consulted = [id for place in KNOWLEDGE for id in policy.rules[place].evidence if id in measured]
    return [(evidence_class(id).title, evidence_class(id).blind_to) for id in consulted]


def headline(rows: Sequence[LadderRow], complete: bool) -> str:
    """One sentence over the ladder that answers for the whole audit."""
    count = {verdict: sum(row.judgement.verdict is verdict for row in rows) for verdict in Verdict}
    wording = [
        (Verdict.PRESENT, "still {say} what was to be forgotten", {"say": ("says", "say")}),
        (Verdict.SUPPRESSED, "{no} longer {say} it but {hold} it inside or {give} it back", {
            "no": ("no", "no"), "say": ("says", "say"), "hold": ("holds", "hold"), "give": ("gives", "give"),
        }),
        (Verdict.NO_TRACE, "{show} no trace that this audit found", {"show": ("shows", "show")}),
        (Verdict.INCONCLUSIVE, "{stay} inconclusive", {"stay": ("stays", "stay")}),
    ]  # fmt: skip
    parts = []
    for verdict, text, forms in wording:
        if count[verdict]:
            filled = text.format(**{key: form[0 if count[verdict] == 1 else 1] for key, form in forms.items()})
            parts.append(f"{count[verdict]} {filled}")
    sentence = f"Of {len(rows)} candidate{'' if len(rows) == 1 else 's'}: {'; '.join(parts)}."
    return sentence if complete else f"{sentence} The run is not complete: what is missing counts as not examined."
