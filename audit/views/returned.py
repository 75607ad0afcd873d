"""Which facts came back: items that a candidate no longer says, but that something inside or an attack still gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from audit.catalogue import evidence_class
from audit.figures.style import ORIGINAL, REFERENCE
from audit.policy import Policy, mid_sentence
from audit.types import Finding, Status
from audit.views.tables import is_diagnosis, where
from audit.views.words import STATUSES, limit_of

Findings = Mapping[str, Mapping[str, Finding]]
RECALL = "behaviour.recall"
HALF = 0.5
MOST_NAMED = 3
COLUMNS = ["item", "entity", "candidate", "id", "title", "place", "score", "original", "floor"]
RULE = (
    "Said no: the original says the answer, the candidate is nearer to the floor than to the original. Came back: in "
    "some attack, or in a reading of the inside that the policy consults, the candidate's score for this item is at "
    "least halfway from the floor to the original, whose score lies clearly above that floor. The floor is the "
    "reference's score for the same item; without a reference, the mean that the finding is read against."
)


@dataclass(frozen=True)
class Count:
    """How many items came back; None where nothing can be told, with the reason."""

    items: int | None
    chance: int | None = None
    """How many do with candidate and reference exchanged; None without a reference."""
    why: str = ""


def sources(findings: Findings, policy: Policy) -> list[str]:
    """The evidence that can show that a fact came back: every attack, and what the policy consults of the inside.

    A diagnosis is none: what it brings back may come from the original's own weights.
    """
    ids = dict.fromkeys(id for found in findings.values() for id in found)
    place = {id: evidence_class(id).place for id in ids if not is_diagnosis(id)}
    return [id for id in place if place[id] == "recoverable" or (place[id] == "stored" and limit_of(policy, id))]


def came_back(findings: Findings, policy: Policy, ids: Sequence[str] | None = None) -> pd.DataFrame:
    """One row for each forgotten item, candidate and evidence that gives it back, columns COLUMNS (see RULE)."""
    ids = sources(findings, policy) if ids is None else ids
    frames = [_back(name, found, ids, "candidate", REFERENCE) for name, found in findings.items()]
    frames = [frame for frame in frames if len(frame)]
    return pd.concat(frames, ignore_index=True)[COLUMNS] if frames else pd.DataFrame(columns=COLUMNS)


def by_chance(
    findings: Findings, policy: Policy, ids: Sequence[str] | None = None, back: pd.DataFrame | None = None
) -> dict[str, Count]:
    """For each candidate the number of items that came back, and how many do with candidate and reference exchanged.

    The reference never knew: what the same rule finds in it, read against the candidate, is what single items do by
    chance. `back` is what `came_back` gave for the same evidence, where it is there already.
    """
    ids = sources(findings, policy) if ids is None else ids
    back = came_back(findings, policy, ids) if back is None else back
    counts: dict[str, Count] = {}
    for name, found in findings.items():
        if why := _unknown(found, ids):
            counts[name] = Count(None, why=why)
            continue
        here = back.loc[back["candidate"] == name, "item"].nunique()
        known = _holds(found.get(RECALL), REFERENCE) and any(_holds(found.get(id), REFERENCE) for id in ids)
        there = _back(name, found, ids, REFERENCE, "candidate")["item"].nunique() if known else None
        counts[name] = Count(here, there)
    return counts


def counted(name: str, count: Count) -> str:
    """How many items came back, and how many would by chance, in one sentence."""
    if count.items is None:
        return f"{name}: whether an item came back cannot be told: {count.why}."
    head = f"{name}: {count.items} item{'' if count.items == 1 else 's'} that it no longer says came back"
    if count.chance is None:
        return f"{head}. Without a reference nothing tells how many would by chance."
    return f"{head}; by chance, with candidate and reference exchanged: {count.chance}."


def telling(found: Mapping[str, Finding], ids: Sequence[str], item: str) -> list[str]:
    """The evidence that can tell of one item whether it is there: measured, the original clearly above the floor."""
    return [id for id in ids if len(_shares(found.get(id), "candidate", REFERENCE, item))]


def _unknown(found: Mapping[str, Finding], ids: Sequence[str]) -> str:
    """Why nothing can be told of a candidate, else nothing: what it says, and one source at least, must be measured."""
    if not _holds(found.get(RECALL), "candidate"):
        return f"recall, which tells what it still says, is {_status(found.get(RECALL))}"
    if any(_holds(found.get(id), "candidate") for id in ids):
        return ""
    if not ids:
        return "no attack was asked for"
    states = [f"{mid_sentence(evidence_class(id).title)} is {_status(found.get(id))}" for id in ids[:MOST_NAMED]]
    more = f", and so on for {len(ids) - MOST_NAMED} more" if len(ids) > MOST_NAMED else ""
    return ", ".join(states) + more


def _status(finding: Finding | None) -> str:
    if finding is None:
        return "not measured"
    return "without scores of single items" if finding.status is Status.MEASURED else STATUSES[finding.status]


def _holds(finding: Finding | None, who: str) -> bool:
    """Whether a finding is measured and scores single forgotten items of `who` and of the original."""
    if finding is None or finding.status is not Status.MEASURED or finding.original is None or finding.items.empty:
        return False
    rows = finding.items[(finding.items["split"] == "forget") & finding.items["score"].notna()]
    return {who, ORIGINAL} <= set(rows["subject"])


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


def _shares(finding: Finding | None, who: str, against: str, item: str | None = None) -> pd.DataFrame:
    """By item (or of one item): entity, score of `who`, original, floor, left = (score - floor) / (original - floor).

    Only items whose original lies above the floor by half of what it does on average, in the same direction.
    """
    empty = pd.DataFrame(columns=["entity", "score", "original", "floor", "left"])
    if finding is None or finding.status is not Status.MEASURED or finding.original is None or finding.items.empty:
        return empty
    rows = where(finding.items, split="forget", **({} if item is None else {"item": item}))
    means = rows.groupby(["item", "subject"], sort=False)["score"].mean().dropna()
    wide = means.unstack(sort=False)  # a pivot table takes five times as long for the few rows of one item
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
