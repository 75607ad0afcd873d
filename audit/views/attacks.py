"""What comes back: curves of attacks, and every attack's residual for every candidate beside each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from audit.catalogue import evidence_class
from audit.figures.panels import Panel
from audit.figures.style import ORIGINAL, percent
from audit.policy import Policy, mid_sentence
from audit.stats import holm, p_above
from audit.types import Chart, Finding, Status
from audit.views.tables import is_diagnosis, residuals, where
from audit.views.words import STATUSES, Answer, estimate_words, residual_words

ALL = "all"
MOST_NAMED = 3
ADJUSTED = ", adjusted for the number of attacks (Holm)"


def ids_of(ids: Sequence[str]) -> list[str]:
    """The attacks: what looks whether anything can be recovered; then the diagnoses of the same family."""
    found = [id for id in ids if evidence_class(id).place == "recoverable" or id.startswith("attacks.")]
    return sorted(found, key=is_diagnosis)


def seeds(table: pd.DataFrame) -> dict[str, str]:
    """The runs of an attack that can be drawn: their mean first."""
    found = list(dict.fromkeys(table["seed"].astype(str)))
    return {
        seed: "mean of all runs" if seed == ALL else f"run {seed}" for seed in sorted(found, key=lambda s: s != ALL)
    }


def run_of(table: pd.DataFrame, seed: str = ALL, split: str = "forget") -> pd.DataFrame:
    """The curve of one run, or the mean.

    The original is not attacked: its level before the attack, the upper end of the scale, is drawn along the curve.
    """
    table = where(table, split=split)
    if table.empty:
        return table
    table = table[table["seed"].astype(str) == seed]
    level = table[table["subject"] == ORIGINAL]
    return _along(table, level, "step") if len(level) == 1 else table


@dataclass(frozen=True)
class Drawn:
    """What a chart of one attack is drawn from."""

    chart: Chart
    table: pd.DataFrame
    level: float | None = None
    """The original's score where it was not attacked and has no place on the x axis."""


def drawn(chart: Chart, table: pd.DataFrame) -> Drawn:
    """Chart and rows that can be drawn on one axis, for any attack.

    Blocks become numbers (a row for `any` block is left to the table). An original that was measured once only, before
    the attack, is drawn along the steps, or becomes a level where the axis has names. Splits get a panel each.
    """
    if chart.x == "layer" and "layer" in table and not pd.api.types.is_numeric_dtype(table["layer"]):
        table = by_block(table)
    if chart.facet is None and "split" in table and "split" not in (chart.x, chart.color):
        chart = dataclasses.replace(chart, facet="split")
    table = table.dropna(subset=[chart.y])
    own = table[table["subject"] == ORIGINAL]
    if own[chart.x].nunique() != 1 or table[chart.x].nunique() < 2:
        return Drawn(chart, table)
    if pd.api.types.is_numeric_dtype(table[chart.x]):
        return Drawn(chart, _along(table, own, chart.x))
    return Drawn(chart, table[table["subject"] != ORIGINAL], float(own[chart.y].mean()))


def _along(table: pd.DataFrame, own: pd.DataFrame, x: str) -> pd.DataFrame:
    """The original's level drawn to the end of the axis."""
    end = table[x].max()
    return pd.concat([table, own.assign(**{x: end})], ignore_index=True) if end > own[x].iloc[0] else table


def is_curve(table: pd.DataFrame) -> bool:
    """Whether an attack was measured along its steps, with what it breaks beside what it brings back."""
    return {"step", "retain_recall", "subject"} <= set(table.columns)


def curve_panels(chart: Chart, curve: pd.DataFrame) -> list[Panel]:
    """What comes back along the attack, and beside it what the attack breaks."""
    x_title, y_title = chart.x_title or "steps", chart.y_title or chart.y
    kept = curve.dropna(subset=["retain_recall"])
    return [
        Panel("What comes back", curve, "step", chart.y, x_title, y_title, low=chart.low, high=chart.high),
        Panel("What the attack breaks", kept, "step", "retain_recall", x_title,
              "recall of what was to be kept", low=None, high=None, empty="no retain text in this attack"),
    ]  # fmt: skip


def by_block(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of single blocks, with the block as a number; `any` block together is left to the table."""
    numbers = pd.to_numeric(table["layer"], errors="coerce")
    return table[numbers.notna()].assign(layer=numbers.dropna().astype(int))


def matrix(
    findings: Mapping[str, Mapping[str, Finding]], ids: Sequence[str], policy: Policy, running: bool = False
) -> pd.DataFrame:
    """One row for each attack and candidate: the residual with its state, and beside it the scores behind it.

    Columns id, title, candidate, value, low, high, state, reason, score, original, floor, floor_is, above: score,
    original and floor on the evidence's own scale; the floor is what the reference gives under the same attack, else
    the null. `above` says whether a residual lies above the limit once the number of attacks is allowed for.
    """
    table = residuals(findings, ids, policy, running).rename(columns={"column": "title", "subject": "candidate"})
    first = {id: next((f[id] for f in findings.values() if id in f and f[id].original), None) for id in ids}
    rows = []
    for row in table.itertuples():
        finding, shared = findings[row.candidate].get(row.id), first[row.id]  # type: ignore[index]
        score = finding.candidate.value if finding is not None and finding.candidate is not None else None
        rows.append((score, shared.original.value if shared and shared.original else None, *_floor_value(shared)))
    numbers = pd.DataFrame(rows, columns=["score", "original", "floor", "floor_is"], index=table.index)
    numbers = numbers.astype({"score": float, "original": float, "floor": float})
    above = _above(findings, ids, policy.rules["recoverable"].limit)
    pairs = zip(table["candidate"], table["id"], strict=True)
    return pd.concat([table, numbers], axis=1).assign(above=[pair in above for pair in pairs])


def applying(cells: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The cells of attacks that apply to any candidate, and a sentence that names the others; empty where all apply."""
    none = cells.groupby("id")["state"].transform(lambda states: (states == STATUSES[Status.NOT_APPLICABLE]).all())
    titles = list(dict.fromkeys(cells.loc[none, "title"]))
    return cells[~none], f"Left out, for they apply to no candidate: {', '.join(titles)}." if titles else ""


def _above(findings: Mapping[str, Mapping[str, Finding]], ids: Sequence[str], limit: float) -> set[tuple[str, str]]:
    """Candidate and attack whose residual lies above the limit, Holm-adjusted over a candidate's measured attacks.

    The same test that a verdict rests on; a diagnosis is no attack and is not tested.
    """
    found = set()
    for name, each in findings.items():
        known = {id: each[id].residual for id in ids if id in each and not is_diagnosis(id)}
        tested = {id: p_above(residual, limit) for id, residual in known.items() if residual is not None}
        found |= {(name, id) for id, yes in zip(tested, holm(list(tested.values())), strict=True) if yes}
    return found


def _floor_value(finding: Finding | None) -> tuple[float | None, str]:
    if finding is None or finding.original is None:
        return None, ""
    if finding.reference is not None:
        return finding.reference.value, "reference"
    return finding.original.null, finding.null


def answers(cells: pd.DataFrame, names: Sequence[str], limit: float) -> list[Answer]:
    """One sentence for each candidate: how many attacks bring it back, and which one most; diagnoses are no attacks."""
    cells = cells[[not is_diagnosis(id) for id in cells["id"]]]
    found = []
    for name in names:
        own = cells[cells["candidate"] == name]
        part, gaps = own[own["value"].notna()], _gaps(own[own["value"].isna()])
        if part.empty:
            found.append(Answer(name, "none", f"{name}: no attack has given a number.{gaps}"))
            continue
        above = int(part["above"].sum())
        top = part.loc[(part[part["above"]] if above else part)["value"].idxmax()]
        # An attack on which no verdict rests has no state of its own; the limit is the same for every attack.
        state = "found" if above else "clear" if (part["high"] < limit).all() else "unclear"
        most = f"most under {mid_sentence(top['title'])}, {percent(top['value'])} of what the original held"
        head = {
            "found": f"{name} gives it back in {above} of {len(part)} attacks",
            "clear": f"{name}: none of {len(part)} attacks brings it back",
            "unclear": f"{name}: unclear, none of {len(part)} attacks lies above the limit, but not all below it",
        }[state]
        scope = f"95\u202f% interval {percent(top['low'])} to {percent(top['high'])}; limit {percent(limit)}{ADJUSTED}."
        found.append(Answer(name, state, f"{head}; {most}.{gaps}", scope))
    return found


def _gaps(missing: pd.DataFrame) -> str:
    """The attacks without a number, a few by name."""
    named = [f"{mid_sentence(row.title)} ({row.state})" for row in missing.itertuples()]
    more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    return f" Without a number: {', '.join(named[:MOST_NAMED])}{more}." if named else ""


def first_choice(cells: pd.DataFrame, names: Sequence[str]) -> tuple[str, str] | None:
    """The cell that is opened first: what comes back most among the candidates that are drawn."""
    part = cells[cells["candidate"].isin(list(names))]
    attacks = part[[not is_diagnosis(id) for id in part["id"]]]
    part = attacks if len(attacks) else part
    if part.empty:
        return None
    row = part.loc[part["value"].idxmax()] if part["value"].notna().any() else part.iloc[0]
    return str(row["id"]), str(row["candidate"])


def picked_cell(selection: Mapping[str, Any]) -> tuple[str, str] | None:
    """The cell that was clicked in the matrix: evidence and candidate travel with its point as customdata."""
    for point in selection.get("points", []):
        value = point.get("customdata")
        if isinstance(value, (list, tuple)) and len(value) == 2:
            return str(value[0]), str(value[1])
    return None


def recovery(findings: Mapping[str, Mapping[str, Finding]], ids: Sequence[str]) -> pd.DataFrame:
    """Every attack on every candidate in words: what came back, what the floor and the ceiling were."""
    rows = []
    for id in ids:
        for name, found in findings.items():
            finding = found.get(id)
            if finding is None:
                continue
            rows.append(
                {
                    "attack": evidence_class(id).title,
                    "kind": "diagnosis" if is_diagnosis(id) else "attack",
                    "candidate": name,
                    "residual": residual_words(finding.residual),
                    "candidate attacked": estimate_words(finding.candidate),
                    "floor": _floor(finding),
                    "original": estimate_words(finding.original),
                    "status": ": ".join(part for part in (STATUSES[finding.status], finding.reason) if part),
                }
            )
    columns = ["attack", "kind", "candidate", "residual", "candidate attacked", "floor", "original", "status"]
    return pd.DataFrame(rows, columns=columns)


def _floor(finding: Finding) -> str:
    """What a model that never knew gives under the same attack, on the evidence's own scale."""
    if finding.reference is not None:
        return f"{estimate_words(finding.reference)}, reference"
    if finding.candidate is not None:
        return f"{finding.candidate.null:.2f}, {finding.null or 'no control'}"
    return "no number"
