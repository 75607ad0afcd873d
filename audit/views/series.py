"""Candidates that are checkpoints, as a trajectory: what is left of the forgotten, and of what was to be kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from audit.catalogue import evidence_class
from audit.figures.style import percent
from audit.policy import KNOWLEDGE, Policy
from audit.types import Finding, Place
from audit.views.words import PLACES

COLUMNS = ["series", "step", "candidate", "place", "id", "measure", "left", "low", "high", "reason"]
KEPT = "kept"
"""What the panel of utility is called: what falls there was not to be forgotten."""


def trajectory(
    findings: Mapping[str, Mapping[str, Finding]], series: Mapping[str, Mapping[str, int]], ids: Sequence[str]
) -> pd.DataFrame:
    """One row per checkpoint and evidence, columns COLUMNS: the residual with its interval, or why there is none."""
    rows = []
    for name, steps in series.items():
        for candidate, step in steps.items():
            for id in ids:
                finding = findings.get(candidate, {}).get(id)
                residual = finding.residual if finding else None
                ends = (residual.value, residual.low, residual.high) if residual else (None, None, None)
                reason = "" if residual else (finding.reason or str(finding.status) if finding else "not measured")
                cls = evidence_class(id)
                place = KEPT if cls.place == "utility" else PLACES[cls.place].lower()
                rows.append((name, step, candidate, place, id, cls.title, *ends, reason))
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype({"left": float, "low": float, "high": float})


def consulted(policy: Policy) -> list[str]:
    """What the verdict rests on."""
    places: tuple[Place, ...] = (*KNOWLEDGE, "utility")
    return [id for place in places for id in policy.rules[place].evidence]


def sentences(table: pd.DataFrame, limit: float | None) -> list[str]:
    """For each series, in words: from when on the forgotten stays below the limit, and what was lost beside it."""
    return [_sentence(name, part, limit) for name, part in table.groupby("series", sort=False)]


def _sentence(name: str, part: pd.DataFrame, limit: float | None) -> str:
    known = part.dropna(subset=["left"])
    forgotten, kept = known[known["place"] != KEPT], known[known["place"] == KEPT]
    if forgotten.empty:
        return f"{name}: no checkpoint has a number here."
    most = forgotten.loc[forgotten.groupby("step")["left"].idxmax()].sort_values("step")
    below = None
    if limit is not None:
        below = _from_when_on(most["step"].tolist(), (forgotten.groupby("step")["high"].max() < limit).tolist())
    last = most.iloc[-1]
    words = (
        f"{name}: from step {below} on every measurement lies below the limit of {percent(limit)}"
        if below is not None and limit is not None
        else f"{name}: at its last checkpoint (step {last['step']}) {last['measure'].lower()} still finds "
        f"{percent(last['left'])}, {percent(last['low'])} to {percent(last['high'])}, of what the original held"
    )
    if kept.empty:
        return words + "."
    worst = kept.loc[kept["left"].idxmin()]
    return (
        f"{words}; of what was to be kept, {percent(worst['left'])} is left at the worst checkpoint "
        f"(step {worst['step']})."
    )


def _from_when_on(steps: Sequence[int], below: Sequence[bool]) -> int | None:
    """The first step from which on all are below; None when the last is not."""
    found = None
    for step, clear in zip(steps, below, strict=True):
        found = (step if found is None else found) if clear else None
    return found
