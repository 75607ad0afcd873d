"""Which facts came back: items that a candidate no longer says, but that something inside or an attack still gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from audit.catalogue import evidence_class
from audit.figures.style import ORIGINAL, REFERENCE
from audit.policy import Policy
from audit.types import Finding, Status
from audit.views.words import limit_of

Findings = Mapping[str, Mapping[str, Finding]]
RECALL = "behaviour.recall"
HALF = 0.5
COLUMNS = ["item", "entity", "candidate", "id", "title", "place", "score", "original", "floor"]
RULE = (
    "Said no: the original says the answer, the candidate is nearer to the floor than to the original. Came back: in "
    "some attack, or in a reading of the inside that the policy consults, the candidate's score for this item is at "
    "least halfway from the floor to the original, whose score lies clearly above that floor. The floor is the "
    "reference's score for the same item; without a reference, the mean that the finding is read against."
)


def sources(findings: Findings, policy: Policy) -> list[str]:
    """The evidence that can show that a fact came back: every attack, and what the policy consults of the inside."""
    ids = dict.fromkeys(id for found in findings.values() for id in found)
    place = {id: evidence_class(id).place for id in ids}
    return [id for id in ids if place[id] == "recoverable" or (place[id] == "stored" and limit_of(policy, id))]


def came_back(findings: Findings, policy: Policy, ids: Sequence[str] | None = None) -> pd.DataFrame:
    """One row for each forgotten item, candidate and evidence that gives it back, columns COLUMNS (see RULE)."""
    ids = sources(findings, policy) if ids is None else ids
    frames = [_back(name, found, ids, "candidate", REFERENCE) for name, found in findings.items()]
    frames = [frame for frame in frames if len(frame)]
    return pd.concat(frames, ignore_index=True)[COLUMNS] if frames else pd.DataFrame(columns=COLUMNS)


def by_chance(
    findings: Findings, policy: Policy, ids: Sequence[str] | None = None
) -> dict[str, tuple[int, int | None]]:
    """For each candidate the number of items that came back, and how many do with candidate and reference exchanged.

    The reference never knew: what the same rule finds in it, read against the candidate, is what single items do by
    chance. None without a reference.
    """
    ids = sources(findings, policy) if ids is None else ids
    counts: dict[str, tuple[int, int | None]] = {}
    for name, found in findings.items():
        here = _back(name, found, ids, "candidate", REFERENCE)
        recall = found.get(RECALL)
        known = recall is not None and REFERENCE in set(recall.items["subject"])
        there = _back(name, found, ids, REFERENCE, "candidate")["item"].nunique() if known else None
        counts[name] = (here["item"].nunique(), there)
    return counts


def counted(name: str, count: int, chance: int | None) -> str:
    """How many items came back, and how many would by chance, in one sentence."""
    head = f"{name}: {count} item{'' if count == 1 else 's'} that it no longer says came back"
    if chance is None:
        return f"{head}. Without a reference nothing tells how many would by chance."
    return f"{head}; by chance, with candidate and reference exchanged: {chance}."


def _back(name: str, found: Mapping[str, Finding], ids: Sequence[str], who: str, against: str) -> pd.DataFrame:
    """The items that `who` no longer says and an evidence gives back, with `against` as the floor."""
    silent = _silent(found.get(RECALL), who, against)
    parts: list[pd.DataFrame] = []
    for id in ids:
        share = _shares(found.get(id), who, against)
        share = share[(share["left"] >= HALF) & share.index.isin(silent)]
        if share.empty:
            continue
        cls = evidence_class(id)
        parts.append(share.reset_index().assign(candidate=name, id=id, title=cls.title, place=cls.place))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


def _silent(finding: Finding | None, who: str, against: str) -> set[Any]:
    """The items that the original says and `who` does not."""
    share = _shares(finding, who, against)
    return set(share.index[share["left"] < HALF])


def _shares(finding: Finding | None, who: str, against: str) -> pd.DataFrame:
    """By item: entity, score of `who`, original, floor, and left = (score - floor) / (original - floor).

    Only items whose original lies above the floor by half of what it does on average, in the same direction.
    """
    empty = pd.DataFrame(columns=["entity", "score", "original", "floor", "left"])
    if finding is None or finding.status is not Status.MEASURED or finding.original is None or finding.items.empty:
        return empty
    rows = finding.items[finding.items["split"] == "forget"]
    wide = rows.pivot_table(index="item", columns="subject", values="score", aggfunc="mean", sort=False)
    if not {who, ORIGINAL} <= set(wide.columns):
        return empty
    floor = wide.get(against, finding.original.null)
    frame = pd.DataFrame({"score": wide[who], "original": wide[ORIGINAL], "floor": floor})
    gap = finding.original.value - finding.original.null
    above = frame["original"] - frame["floor"]
    keep = (above * gap > 0) & (above.abs() >= HALF * abs(gap))
    frame = frame[keep].dropna()
    frame["left"] = (frame["score"] - frame["floor"]) / (frame["original"] - frame["floor"])
    entity = rows.drop_duplicates("item").set_index("item")["entity"]
    return frame.assign(entity=entity.reindex(frame.index))
