"""Every measure of a family at a glance: how much of the original is left, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from audit.catalogue import evidence_class
from audit.figures.style import percent
from audit.types import Finding
from audit.views.tables import where
from audit.views.words import Answer

COLUMNS = ["candidate", "measure", "layer", "left", "value", "original", "reference"]
LEAST = 0.05
"""Where original and reference differ by less, a share of that difference can be anything, so the cell stays empty."""

NOTHING = "no share can be given: original and reference hardly differ, or no instrument works here."


def layered(ids: Sequence[str]) -> list[str]:
    """The evidence that has a curve over layers."""
    charts = {id: evidence_class(id).chart for id in ids}
    return [id for id, chart in charts.items() if chart.kind == "line" and chart.x == "layer"]


def shares(findings: Mapping[str, Mapping[str, Finding]], ids: Sequence[str]) -> pd.DataFrame:
    """One row per candidate, measure and layer on forget, columns COLUMNS.

    `left` is empty where nothing can be said: the instrument does not work here, or there is no reference.

    left = (candidate - reference) / (original - reference): 1 as in the original, 0 as in the reference.
    """
    rows = []
    for name, found in findings.items():
        for id in layered(ids):
            finding = found.get(id)
            if finding is None or finding.table.empty:
                continue
            wide = _wide(finding.table, evidence_class(id).chart.y)
            for layer, line in wide.iterrows():
                o, c, r = (line.get(role) for role in ("original", "candidate", "reference"))
                known = (
                    finding.residual is not None
                    and not pd.isna(o)
                    and not pd.isna(c)
                    and not pd.isna(r)
                    and abs(o - r) >= LEAST
                )
                left = (c - r) / (o - r) if known else None
                rows.append((name, evidence_class(id).title, int(layer), left, c, o, r))  # type: ignore[call-overload]
    return pd.DataFrame(rows, columns=COLUMNS)


def in_words(table: pd.DataFrame) -> str:
    """Between what and what the shares of each candidate lie, over all measures and layers."""
    return " ".join(f"{name}: {low} to {high}." for name, low, high in _between(table))


def answers(table: pd.DataFrame) -> list[Answer]:
    """The same as a sentence for each candidate; none where no candidate has a share."""
    known = {
        name: f"{low} to {high} of the original is left, by measure and layer." for name, low, high in _between(table)
    }
    names = list(dict.fromkeys(table["candidate"])) if known else []
    return [Answer(n, "described" if n in known else "none", f"{n}: {known.get(n, NOTHING)}") for n in names]


def _between(table: pd.DataFrame) -> list[tuple[str, str, str]]:
    known = table.dropna(subset=["left"]).groupby("candidate", sort=False)["left"].agg(["min", "max"])
    return [(str(name), percent(row["min"]), percent(row["max"])) for name, row in known.iterrows()]


def _wide(table: pd.DataFrame, y: str) -> pd.DataFrame:
    """The forget rows as one line per layer and one column per role; the original is as like itself as can be."""
    rows = where(table, split="forget")
    if "against" in rows:
        rows = where(rows, against="original")
    if "attribute" in rows:
        rows = where(rows, attribute="all") if "all" in set(rows["attribute"]) else rows
    wide = rows.pivot_table(index="layer", columns="subject", values=y, aggfunc="mean")
    wide = wide[wide.index > 0]
    if "original" not in wide:
        wide["original"] = 1.0
    return wide
