"""Answers beside each other: which items, and what every subject says to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from audit.figures.style import ORIGINAL, REFERENCE
from audit.types import Finding
from audit.views import items
from audit.views.differences import share_said
from audit.views.examples import PLAIN, chosen

Findings = Mapping[str, Mapping[str, Finding]]
KINDS = {
    "lost": "the original says it, a candidate does not",
    "unlike": "candidates say different things",
    "still": "a candidate still says it",
    "all": "all",
}
HALF = 0.5


RULE = (
    "Says it: the measurement of what is said gives the answer a score of at least one half; where no such score is "
    "stored, at least half of the answer's words were said, in their order."
)


def spoken(findings: Findings) -> pd.DataFrame:
    """The items to which answers are stored: the columns of `items.texts`, `lost`, `unlike` and `still` (see KINDS).

    Whether a subject says an item is told by RULE.
    """
    heard = items.said(findings).dropna(subset="said").drop_duplicates(["item", "subject"])
    table = items.texts(findings)
    table = table[table["item"].isin(set(heard["item"]))].reset_index(drop=True)
    if table.empty:
        return table
    wide = heard.pivot(index="item", columns="subject", values="said").reindex(table["item"])
    names = [name for name in findings if name in wide]
    asked = [name for name in dict.fromkeys((ORIGINAL, *names)) if name in wide]
    scored = _scores(findings).reindex(index=table["item"], columns=asked)
    right = pd.DataFrame({name: _right(table["answer"], wide[name], scored[name]) for name in asked})
    candidates = right[names]
    unsaid = (wide[names].notna().to_numpy() & ~candidates).any(axis=1)  # an answer that is not stored is not lost
    known = right.get(ORIGINAL, True)
    return table.assign(
        lost=(known & unsaid).to_numpy() if names else False,
        unlike=(wide[names].nunique(axis=1) > 1).to_numpy() if names else False,
        still=candidates.any(axis=1).to_numpy() if names else False,
        all=True,
    )


def _scores(findings: Findings) -> pd.DataFrame:
    """What the measurements of the plain answers score, a row for each item and a column for each subject."""
    long = pd.concat([items.scores(findings, id) for id in PLAIN], ignore_index=True).dropna(subset=["score"])
    return long.drop_duplicates(["item", "subject"]).pivot(index="item", columns="subject", values="score")


def _right(truths: pd.Series, said: pd.Series, scores: pd.Series) -> list[bool]:
    """Whether each answer was said (see RULE)."""
    rows = zip(truths.astype(str), said, scores, strict=True)
    return [
        bool(score >= HALF) if pd.notna(score) else isinstance(text, str) and share_said(truth, text) >= HALF
        for truth, text, score in rows
    ]


def select(table: pd.DataFrame, split: str, kind: str, search: str) -> pd.DataFrame:
    """The items of a split and a kind that hold the words of a search."""
    part = table[(table["split"] == split) & table[kind]]
    return chosen(part, search)


def heard(table: pd.DataFrame, item: str, shown: Sequence[str]) -> dict[str, str | None]:
    """What each subject says to one item, in their order: original, reference, candidates; None: not stored."""
    own = table[table["item"] == item]
    own = own.iloc[own["said"].isna().argsort(kind="stable")].drop_duplicates("subject").set_index("subject")["said"]
    return {name: items.stored(own[name]) for name in (ORIGINAL, REFERENCE, *shown) if name in own.index}
