"""The report as one HTML page that needs nothing but itself."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from audit.catalogue import evidence_class
from audit.figures.forest import forest
from audit.figures.ladder import ladder_html
from audit.figures.style import CONFIG, SECOND, looks, visible
from audit.policy import KNOWLEDGE, Policy
from audit.store import Run
from audit.types import Finding, Place, Status
from audit.views import drift, reviews
from audit.views.ladder import LadderRow, blind_spots, headline, ladder, telling
from audit.views.methods import columns, policy_table
from audit.views.tables import alike, residuals, together, unanswered
from audit.views.words import MARKS, PLACES, UTILITIES, VERDICTS, Answer, answer, limit_of, unbroken

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from audit.figures.style import Look

ASSETS = Path(__file__).parent.parent.parent / "assets"
MOST_ROWS = 120
"""Rows of a table that the page shows; all of them are in the bundle and in the JSON."""
MOST_POINTS = 4000
ALL = "all"
ORDER: tuple[Place, ...] = (*KNOWLEDGE, "utility")
Findings = Mapping[str, Mapping[str, Finding]]


def page(run: Run, policy: Policy, *, printing: bool = False) -> str:
    """The whole report; for `printing` every picture is drawn at once and long tables are left out."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    findings: Findings = {name: {f.id: f for f in run.findings(name)} for name in run.candidates}
    rows, seen = ladder(findings, policy), looks(run.candidates)
    asked = [id for id in run.known_ids if any(id in found for found in findings.values())]
    shown = telling(rows)
    reviewed = reviews.open_reviews(run, policy)
    # Everything that is put into the page is escaped but what is marked as safe: our own table, script and figures.
    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    return environment.get_template("report.html").render(
        run=run,
        plan=run.plan,
        policy=policy,
        printing=printing,
        headline=headline(rows, run.complete),
        verdicts=[_verdict(row, policy) for row in rows],
        ladder=ladder_html(rows, seen),
        style=(ASSETS / "style.css").read_text(encoding="utf-8"),
        blind=blind_spots(findings, policy),
        gaps=_table(alike(unanswered(findings))),
        without=len(unanswered(findings)),
        thresholds=_table(policy_table(policy)),
        families=[
            (PLACES[place], [_evidence(id, findings, shown, policy, seen) for id in asked if _place(id) == place])
            for place in ORDER
        ],
        provenance=_table(_in_short(_provenance(findings)) if printing else _provenance(findings)),
        reviews=reviewed,
        review_tables=[(title, _table(table)) for title, table in reviews.tables(reviewed).items() if len(table)],
        subjects=_subjects(run),
        plotly=get_plotlyjs(),
        config={**CONFIG, "staticPlot": True} if printing else CONFIG,
    )


def _place(id: str) -> Place:
    return evidence_class(id).place


def _verdict(row: LadderRow, policy: Policy) -> dict[str, str]:
    judgement = row.judgement
    return {
        "name": row.name,
        "verdict": VERDICTS[judgement.verdict],
        "sentence": judgement.sentence,
        "utility": UTILITIES[judgement.utility],
        "meets": "meets the policy" if judgement.meets(policy) else "does not meet the policy",
    }


def _evidence(
    id: str, findings: Findings, shown: list[str], policy: Policy, seen: Mapping[str, Look]
) -> dict[str, Any]:
    """One evidence as the template shows it: sentences, pictures as JSON, tables, method."""
    cls, of = evidence_class(id), {name: found.get(id) for name, found in findings.items()}
    answers = [answer(name, finding, policy) for name, finding in of.items()]
    table = together({name: finding for name, finding in of.items() if name in shown})
    measured = any(finding is not None and finding.residual is not None for finding in of.values())
    first = next(finding for finding in of.values() if finding is not None)
    figures = []
    if measured:
        title, limit = cls.title, limit_of(policy, id)
        limits = {title: limit} if limit is not None else {}
        picture = forest(residuals(findings, [id], policy), list(of), [title], seen, limits)
        figures.append(_picture(picture, "Residual of every candidate with its 95 % interval"))
    own = _own_chart(id, table, shown, seen)
    if own is not None:
        figures.append(_picture(own, f"{cls.chart.title or cls.chart.y_title}: {', '.join(shown)}"))
    return {
        "id": id,
        "card": cls,
        "answers": [(MARKS[one.state], one.state, one.sentence, one.scope) for one in answers],
        "notes": _further_notes(of, answers),
        "figures": figures,
        "columns": columns(id),
        "table": _table(table.head(MOST_ROWS)),
        "rows": len(table),
        "more": len(table) > MOST_ROWS,
        "shown": shown,
        "settings": ", ".join(f"{name} = {value}" for name, value in first.settings.items()) or "none",
    }


def _further_notes(of: Mapping[str, Finding | None], answers: list[Answer]) -> list[tuple[str, str]]:
    """The notes that no answer repeats."""
    said = " ".join(f"{one.sentence} {one.scope}" for one in answers)
    notes = [(name, unbroken(finding.note)) for name, finding in of.items() if finding is not None and finding.note]
    return [(name, note) for name, note in notes if note not in said]


def _own_chart(id: str, table: pd.DataFrame, shown: list[str], seen: Mapping[str, Look]) -> go.Figure | None:
    """The evidence's own picture of two telling candidates; None when it has no rows or far too many points."""
    from audit.figures.chart import draw
    from audit.figures.maps import maps

    chart = evidence_class(id).chart
    if "attribute" in table and (table["attribute"] == ALL).any():
        table = table[table["attribute"] == ALL]  # all attributes together; each of them is in the table
    if table.empty or not {chart.x, chart.y} <= set(table.columns) or table[chart.y].isna().all():
        return None  # nothing to draw: no rows, texts of another tool, or numbers that it keeps to itself
    if id == "drift.map":
        method = next(iter(drift.methods(table)))
        points, _ = drift.points(table, method, drift.layers(table, method)[-1])
        return maps(points, drift.subjects(points, shown), seen) if len(points) <= MOST_POINTS else None
    if chart.kind == "scatter" and len(table) > MOST_POINTS:
        return None
    return draw(chart, table, seen)


def _picture(figure: go.Figure, alt: str) -> dict[str, str]:
    """A figure as JSON that cannot end the script element that holds it."""
    data = json.loads(str(figure.to_json()))
    for trace in data["data"]:  # the graphics card would need a script that builds scripts, which the page forbids
        trace["type"] = "scatter" if trace["type"] == "scattergl" else trace["type"]
    text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    return {"json": text, "alt": alt, "height": str(figure.layout.height)}


def _table(frame: pd.DataFrame) -> dict[str, Any]:
    """A table as texts: columns and rows."""
    return {
        "columns": [str(column) for column in frame.columns],
        "rows": [[_cell(value) for value in row] for row in frame.itertuples(index=False)],
    }


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _provenance(findings: Findings) -> pd.DataFrame:
    """What each finding rests on: when, with which version, on what device, from what, and for how long."""
    rows = [
        (name, id, str(f.status), f.null, f.seconds, f.provenance.get("measured", ""), f.provenance.get("version", ""),
         f.provenance.get("device", ""), f.provenance.get("key", ""))
        for name, found in findings.items() for id, f in found.items() if f.status is not Status.SKIPPED
    ]  # fmt: skip
    heads = ["candidate", "evidence", "status", "null", "seconds", "measured", "version", "device", "computed from"]
    return pd.DataFrame(rows, columns=heads)


def _in_short(provenance: pd.DataFrame) -> pd.DataFrame:
    """One row for each evidence, for paper: how many candidates, how long in all, when the last, with what."""
    grouped = provenance.groupby(["evidence", "null", "version", "device"], sort=False, dropna=False)
    return grouped.agg(
        findings=("candidate", "count"), seconds=("seconds", "sum"), measured=("measured", "max")
    ).reset_index()  # fmt: skip


def _subjects(run: Run) -> dict[str, Any]:
    plan = run.plan
    entries = [("original", plan["original"]), ("reference", plan["reference"])]
    entries += [(SECOND, plan.get("second_reference"))]
    entries += [("candidate", entry) for entry in plan["candidates"]]
    rows = [(role, e["name"], e["path"], e["fingerprint"]) for role, e in entries if e]
    return _table(pd.DataFrame(rows, columns=["role", "name", "path", "fingerprint of all tensors"]))
