"""The scoreboard: what every subject scores on every measure of what is said, with direction and interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from audit.catalogue import evidence_class
from audit.figures.style import ORIGINAL, REFERENCE, percent
from audit.policy import Policy, mid_sentence
from audit.types import Estimate, Finding, Utility
from audit.views.ladder import LadderRow
from audit.views.tables import where
from audit.views.words import STATUSES, UTILITIES, Answer, limit_of, share_words, state_of

Findings = Mapping[str, Mapping[str, Finding]]
GROUPS = {"said": "What it says", "privacy": "Privacy", "utility": "What it was to keep"}
NULL = "null"
COLUMNS = ["group", "id", "metric", "direction", "subject", "value", "low", "high", "n", "residual", "state", "words"]
RATES = ("false_positive_rate", "true_positive_rate")


def ids_of(ids: Sequence[str]) -> dict[str, list[str]]:
    """The evidence of each group of the board, in the order of the catalogue; groups without any are left out."""
    found: dict[str, list[str]] = {group: [] for group in GROUPS}
    for id in ids:
        place = evidence_class(id).place
        if id.startswith("privacy."):
            found["privacy"].append(id)
        elif place in ("said", "utility") and not id.startswith("attacks."):
            found[place].append(id)
    return {group: members for group, members in found.items() if members}


def board(findings: Findings, ids: Sequence[str], policy: Policy, running: bool = False) -> pd.DataFrame:
    """One row for each measure and subject, columns COLUMNS; a missing number is a row with its status in `words`.

    The subject `null` is what a score is read against where there is no reference. `direction` says which end of the
    scale means that the knowledge (or the ability) is there: the side of the null on which the original lies.
    """
    rows = []
    for group, members in ids_of(ids).items():
        for id in members:
            found = {name: each.get(id) for name, each in findings.items()}
            head = (group, id, evidence_class(id).title, _direction(group, list(found.values())))
            rows += [(*head, *row) for row in _controls(list(found.values()))]
            rows += [(*head, name, *_candidate(finding, policy, running)) for name, finding in found.items()]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.astype({"value": float, "low": float, "high": float, "residual": float})


def _controls(found: Sequence[Finding | None]) -> list[tuple[Any, ...]]:
    """The original's row and the reference's, or else the null's, from the first finding that has them."""
    rows: list[tuple[Any, ...]] = []
    original = next((f.original for f in found if f is not None and f.original is not None), None)
    if original is not None:
        rows.append((ORIGINAL, *_numbers(original), None, "", ""))
    reference = next((f.reference for f in found if f is not None and f.reference is not None), None)
    if reference is not None:
        rows.append((REFERENCE, *_numbers(reference), None, "", ""))
    elif original is not None:
        null = next(f.null for f in found if f is not None and f.original is not None)
        rows.append((NULL, original.null, None, None, None, None, "", null))
    return rows


def _candidate(finding: Finding | None, policy: Policy, running: bool) -> tuple[Any, ...]:
    if finding is None:
        return (None, None, None, None, None, "none", "not measured yet" if running else "not in this run")
    limit = limit_of(policy, finding.id)
    if finding.candidate is None or finding.residual is None:
        numbers = _numbers(finding.candidate) if finding.candidate is not None else (None, None, None, None)
        return (*numbers, None, "none", STATUSES[finding.status])
    residual = finding.residual
    state = "described" if limit is None or finding.place == "utility" else state_of(residual, limit)
    return (*_numbers(finding.candidate), residual.value, state, "")


def _numbers(estimate: Estimate) -> tuple[float, float, float, int]:
    return estimate.value, estimate.low, estimate.high, estimate.n


def _direction(group: str, found: Sequence[Finding | None]) -> str:
    original = next((f.original for f in found if f is not None and f.original is not None), None)
    if original is None or original.value == original.null:
        return ""
    arrow = "↑ higher" if original.value > original.null else "↓ lower"
    return f"{arrow}: {'more is kept' if group == 'utility' else 'more is known'}"


def plain(table: pd.DataFrame) -> pd.DataFrame:
    """The board for a file: numbers as they are, one row for each measure and subject."""
    return table.drop(columns=["group", "state"]).rename(columns={"words": "status"})


def answer_of(row: LadderRow) -> Answer:
    """One sentence for a candidate: whether it still says it, by which measure, and what it kept."""
    step = next(step for step in row.steps if step.place == "said")
    kept = row.judgement.utility
    rest = "" if kept is Utility.UNKNOWN else f" What it was to keep: {UTILITIES[kept]}."
    if step.residual is None:
        return Answer(row.name, "none", f"{row.name}: what it says was not examined.{rest}")
    found = "still says it" if step.state == "found" else "does not say it"
    measured = f"{mid_sentence(step.title)}, which finds most, finds {share_words(step.residual)}"
    low, high, limit = (percent(value) for value in (step.residual.low, step.residual.high, step.limit))
    head = f"{row.name}: unclear," if step.state == "unclear" else f"{row.name} {found}:"
    return Answer(
        row.name, step.state, f"{head} {measured}.{rest}", f"95\u202f% interval {low} to {high}; limit {limit}."
    )


def over_unlearned(findings: Findings, ids: Sequence[str]) -> list[Answer]:
    """A sentence for each candidate to which forgotten answers look less familiar than if it had never known them."""
    found = []
    for name, each in findings.items():
        known = [each[id].residual for id in ids if id.startswith("privacy.") and id in each]
        measured = [residual for residual in known if residual is not None]
        below = sum(residual.high < 0 for residual in measured)
        if below:
            sentence = (
                f"{name}: in {below} of {len(measured)} measures of privacy the forgotten answers look less familiar "
                "than to a model that never knew. It is over-unlearned, which can itself show what was to be forgotten."
            )
            found.append(Answer(name, "described", sentence, "There the whole 95\u202f% interval lies below 0\u202f%."))
    return found


def has_roc(table: pd.DataFrame) -> bool:
    """Whether a table holds a ROC curve."""
    return set(RATES) <= set(table.columns)


def roc_kinds(table: pd.DataFrame) -> tuple[str, list[str]]:
    """The column that tells several curves of one subject apart, and its values; empty when there is one only."""
    for column in table.columns:
        if column not in ("subject", "split") and not pd.api.types.is_numeric_dtype(table[column]):
            values = [str(value) for value in dict.fromkeys(table[column].dropna())]
            if len(values) > 1:
                return str(column), values
    return "", []


def areas(table: pd.DataFrame) -> str:
    """The area under each subject's curve with its interval in words; empty where the table has none."""
    if "auc" not in table:
        return ""
    parts = []
    for row in table.drop_duplicates("subject").to_dict("records"):
        known = pd.notna(row.get("auc_low")) and pd.notna(row.get("auc_high"))
        interval = f" ({row['auc_low']:.2f} to {row['auc_high']:.2f})" if known else ""
        parts.append(f"{row['subject']} {row['auc']:.2f}{interval}")
    return f"Area under the curve, 0.5 is guessing: {', '.join(parts)}."


def roc_rows(table: pd.DataFrame, column: str = "", value: str = "") -> pd.DataFrame:
    """The points of one kind of curve, each subject's from the lower left to the upper right."""
    rows = table.dropna(subset=list(RATES))
    if column:
        rows = where(rows.assign(**{column: rows[column].astype(str)}), **{column: value})
    return rows.sort_values(list(RATES), kind="stable")
