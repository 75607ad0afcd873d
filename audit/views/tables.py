"""The tables of one evidence for several candidates, joined into one whose subjects are names instead of roles."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from audit.catalogue import evidence_class
from audit.figures.style import ORIGINAL, REFERENCE, SECOND
from audit.policy import Policy
from audit.types import Finding, Place, Status
from audit.views.words import IMPORTED, STATUSES, limit_of, state_of

NAMED = ("subject", "against")
CONTROLS = (ORIGINAL, REFERENCE, SECOND)
NUMBERS = re.compile(r"[+-][\d.][\d. ()to,%-]*")
"""A number with a sign, alone or with its interval."""
FOREST = ["id", "column", "subject", "value", "low", "high", "state", "reason"]


def together(found: Mapping[str, Finding | None]) -> pd.DataFrame:
    """Stack the tables of several candidates; original and references, which all share, are taken once.

    Roles in the columns `subject` and `against` become names. Empty when no finding has rows.
    """
    parts: list[pd.DataFrame] = []
    have_controls: set[str] = set()
    for name, finding in found.items():
        if finding is None or finding.table.empty:
            continue
        table = finding.table
        if "subject" not in table:
            parts.append(table.assign(subject=name))
            continue
        controls = set(CONTROLS) & set(table["subject"])
        repeated = table["subject"].isin(controls & have_controls)
        if "against" in table:
            repeated &= table["against"].isin(CONTROLS)
        parts.append(_named(table[~repeated], name))
        have_controls |= controls
    if not parts:
        columns = next((list(f.table.columns) for f in found.values() if f is not None), ["subject"])
        return pd.DataFrame(columns=columns)
    return pd.concat(parts, ignore_index=True)


def _named(table: pd.DataFrame, name: str) -> pd.DataFrame:
    columns = [column for column in NAMED if column in table]
    return table.assign(**{c: table[c].astype(str).where(table[c] != "candidate", name) for c in columns})


def where(table: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    """The rows whose columns hold the wanted values; a column that the table lacks excludes nothing."""
    keep = None
    for column, value in wanted.items():
        if column in table:
            own = table[column].isin(value) if isinstance(value, (list, tuple, set)) else table[column] == value
            keep = own if keep is None else keep & own  # one selection at the end: a table may be long
    return table if keep is None else table[keep]


def values_of(table: pd.DataFrame, column: str) -> list[Any]:
    """The values of a column in the order of their first appearance; empty when there is no such column."""
    return table[column].dropna().unique().tolist() if column in table else []


def residuals(
    findings: Mapping[str, Mapping[str, Finding]], ids: Sequence[str], policy: Policy, running: bool = False
) -> pd.DataFrame:
    """One row for each candidate and evidence, columns FOREST: the residual, or the status that it has instead."""
    rows: list[tuple[Any, ...]] = []
    for id in ids:
        limit = limit_of(policy, id)
        for name, found in findings.items():
            finding = found.get(id)
            head = (id, evidence_class(id).title, name)
            if finding is None:
                rows.append((*head, None, None, None, "not measured", "not yet" if running else "not in this run"))
            elif finding.residual is None:
                reason = finding.reason or (IMPORTED if finding.status is Status.IMPORTED else "")
                rows.append((*head, None, None, None, STATUSES[finding.status], reason))
            else:
                residual = finding.residual
                state = "described" if limit is None else state_of(residual, limit)
                rows.append((*head, residual.value, residual.low, residual.high, state, finding.reason))
    frame = pd.DataFrame(rows, columns=FOREST)
    return frame.astype({"value": float, "low": float, "high": float})


def unanswered(findings: Mapping[str, Mapping[str, Finding]]) -> pd.DataFrame:
    """Everything that has no number, as loudly as what has: columns candidate, evidence, status, reason."""
    rows = [
        (name, evidence_class(id).title, STATUSES[finding.status], finding.reason)
        for name, found in findings.items()
        for id, finding in found.items()
        if finding.status not in (Status.MEASURED, Status.IMPORTED)
    ]
    return pd.DataFrame(rows, columns=["candidate", "evidence", "status", "reason"])


def alike(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `unanswered` with the candidates that share evidence, status and reason named in one row."""
    if table.empty:
        return table
    own = table.assign(
        reason=[_nameless(name, reason) for name, reason in zip(table["candidate"], table["reason"], strict=True)]
    )
    grouped = own.groupby(["evidence", "status", "reason"], sort=False)["candidate"].agg(", ".join).reset_index()
    return grouped[["evidence", "candidate", "status", "reason"]].rename(columns={"candidate": "candidates"})


def _nameless(name: str, reason: str) -> str:
    """A reason that begins with the candidate's own name, as it is for every candidate."""
    return f"The candidate{reason.removeprefix(name)}" if reason.startswith(f"{name} ") else reason


def csv(table: pd.DataFrame) -> bytes:
    """A table for a spreadsheet, in which no text is a formula: what begins like one gets an apostrophe before it."""
    texts = [column for column in table if not pd.api.types.is_numeric_dtype(table[column])]
    return (
        table.assign(**{str(column): table[column].map(_no_formula) for column in texts}).to_csv(index=False).encode()
    )


def _no_formula(value: Any) -> Any:
    if not isinstance(value, str) or not value.startswith(("=", "+", "-", "@", "\t", "\r")) or NUMBERS.fullmatch(value):
        return value
    return f"'{value}"


def is_diagnosis(id: str) -> bool:
    """Whether an evidence of the attacks puts the original's own parts back, which no attacker has."""
    return bool(getattr(evidence_class(id), "diagnosis", False))


def in_place(ids: Collection[str], *places: Place) -> list[str]:
    """The evidence of some places, in their order."""
    return [id for id in ids if evidence_class(id).place in places]


def estimates(findings: Mapping[str, Finding]) -> pd.DataFrame:
    """What one evidence found in each subject, on its own scale: subject, value, low, high, null, n."""
    rows: dict[str, tuple[Any, ...]] = {}
    for name, finding in findings.items():
        for subject, estimate in (
            (ORIGINAL, finding.original),
            (REFERENCE, finding.reference),
            (name, finding.candidate),
        ):
            if estimate is not None and subject not in rows:
                rows[subject] = (subject, estimate.value, estimate.low, estimate.high, estimate.null, estimate.n)
    frame = pd.DataFrame(rows.values(), columns=["subject", "value", "low", "high", "null", "n"])
    order = [name for name in (*CONTROLS, *findings) if name in rows]
    return frame.set_index("subject").loc[order].reset_index()
