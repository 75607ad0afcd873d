"""One item and everything known about it: per-item scores of every evidence and subject, joined by item id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from audit.catalogue import evidence_class
from audit.figures.style import visible
from audit.types import SPLITS, Finding
from audit.views.tables import CONTROLS, together

FACTS = ["item", "entity", "attribute", "prompt", "answer"]
NEEDED = {"item", "prompt", "answer", "split"}
SOURCES = ("behaviour.recall", "drift.map", "utility.retain")
"""Evidence whose tables hold the texts of items."""
SAID = "what it says"
LONGEST = 240
"""Characters of a name in a heading."""


def _with_texts(findings: Mapping[str, Mapping[str, Finding]], own: Sequence[str]) -> list[str]:
    """Evidence whose tables hold texts, and the texts that another tool stored."""
    stored = (id for found in findings.values() for id in found if id.endswith(".generations"))
    return list(dict.fromkeys([*own, *stored]))


def scores(
    findings: Mapping[str, Mapping[str, Finding]], only: str | None = None, item: str | None = None
) -> pd.DataFrame:
    """Long table of scores of single items, of all or one evidence: id, title, item, entity, split, subject, score."""
    parts = []
    ids = dict.fromkeys(id for found in findings.values() for id in found)
    for id in [only] if only else ids:
        seen: set[str] = set()
        for name, found in findings.items():
            frame = found[id].items if id in found else None
            if frame is None or frame.empty:
                continue
            frame = frame if item is None else frame[frame["item"] == item]
            frame = frame[~frame["subject"].isin(seen)]
            seen |= set(frame["subject"]) & set(CONTROLS)
            subject = frame["subject"].where(frame["subject"] != "candidate", name)
            parts.append(frame.assign(subject=subject, id=id, title=evidence_class(id).title))
    columns = ["id", "title", "item", "entity", "split", "subject", "score"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def facts(findings: Mapping[str, Mapping[str, Finding]], split: str = "forget") -> pd.DataFrame:
    """The texts of the items of a split, columns FACTS, in corpus order; empty when no table holds them."""
    return _facts(_tables(findings), split)


def texts(findings: Mapping[str, Mapping[str, Finding]]) -> pd.DataFrame:
    """The texts of the items of all splits, columns FACTS and split."""
    tables = list(_tables(findings))
    parts = [_facts(tables, split).assign(split=split) for split in SPLITS]
    return pd.concat([part for part in parts if len(part)] or parts, ignore_index=True).drop_duplicates("item")


def _facts(tables: Iterable[pd.DataFrame], split: str) -> pd.DataFrame:
    for table in tables:
        here = table[table["split"] == split]
        if len(here):
            return here.drop(columns="split").reindex(columns=FACTS).reset_index(drop=True)
    return pd.DataFrame(columns=FACTS)


def _tables(findings: Mapping[str, Mapping[str, Finding]]) -> Iterator[pd.DataFrame]:
    """The items of every evidence whose table holds texts: FACTS as far as they are there and split, each item once."""
    for id in _with_texts(findings, SOURCES):
        parts = [found[id].table for found in findings.values() if id in found]
        parts = [part[[c for c in part if c in FACTS or c == "split"]].drop_duplicates("item") for part in parts
                 if set(part.columns) >= NEEDED]  # fmt: skip
        if parts:
            yield pd.concat(parts, ignore_index=True).drop_duplicates("item")


def said(findings: Mapping[str, Mapping[str, Finding]]) -> pd.DataFrame:
    """What every subject says to every item: item, subject, said."""
    ids = _with_texts(findings, ("behaviour.recall", "utility.retain"))
    tables = [together({n: f.get(id) for n, f in findings.items()}) for id in ids]
    frames = [t[["item", "subject", "said"]] for t in tables if {"item", "subject", "said"} <= set(t.columns)]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["item", "subject", "said"])


def stored(value: object) -> str | None:
    """A text of a table, or None where it holds none (null and NaN are not an empty answer)."""
    return value if isinstance(value, str) else None


def by_subject(
    findings: Mapping[str, Mapping[str, Finding]], id: str | None = None, split: str = "forget"
) -> pd.DataFrame:
    """One row for each item: its texts, then a column for each subject with its score in one evidence.

    Without an evidence the columns hold what each subject says. A subject that was not asked has a missing value.
    """
    base = facts(findings, split)
    if id is None:
        long = said(findings).rename(columns={"said": "value"})
    else:
        long = scores(findings, id)
        long = long[long["split"] == split].rename(columns={"score": "value"})
    if long.empty:
        return base
    wide = long.drop_duplicates(["item", "subject"]).pivot(index="item", columns="subject", values="value")
    order = [n for n in (CONTROLS[0], *findings, CONTROLS[1]) if n in wide.columns]
    wide = wide[order].rename(columns={name: f"{name} (model)" for name in order if name in FACTS}).reset_index()
    return wide if base.empty else base.merge(wide, on="item", how="left")


def measures(findings: Mapping[str, Mapping[str, Finding]], split: str = "forget") -> dict[str, str]:
    """The evidence that has per-item scores of a split: id to title."""
    found: dict[str, str] = {}
    for id in dict.fromkeys(id for each in findings.values() for id in each):
        frames = [each[id].items for each in findings.values() if id in each]
        if any((frame["split"] == split).any() for frame in frames):
            found[id] = evidence_class(id).title
    return found


def facts_of(known: pd.DataFrame, item: str) -> dict[str, Any]:
    """The texts of one item, of all `texts`; its id alone where none are stored."""
    row = known.loc[known["item"] == item, FACTS]
    return row.iloc[0].to_dict() if len(row) else {"item": item}


def named(item: str, facts: Mapping[str, Any]) -> str:
    """An item's id with entity and attribute, each cut where it is too long for a heading."""
    parts = [" ".join(str(facts[name]).split()) for name in ("entity", "attribute") if facts.get(name)]
    return ", ".join([item, *(visible(part if len(part) <= LONGEST else f"{part[:LONGEST]}…") for part in parts)])


def card(findings: Mapping[str, Mapping[str, Finding]], item: str) -> dict[str, Any]:
    """Everything known about one item: `facts` (texts), `said` by subject, `scores` with a row for each evidence."""
    heard = said(findings)
    heard = heard[heard["item"] == item].drop_duplicates("subject").set_index("subject")
    long = scores(findings, item=item).drop_duplicates(["title", "subject"])
    order = [CONTROLS[0], *findings, CONTROLS[1]]
    table = long.pivot(index="title", columns="subject", values="score")
    return {
        "facts": facts_of(texts(findings), item),
        "said": {name: stored(heard["said"].loc[name]) for name in sorted(heard.index, key=order.index)},
        "scores": table.reindex(list(dict.fromkeys(long["title"])))[[n for n in order if n in table.columns]],
    }
