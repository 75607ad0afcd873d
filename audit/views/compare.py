"""Candidates of any runs beside each other: what is left of the forgotten against what was kept, and what it cost."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from audit.catalogue import evidence_class
from audit.policy import KNOWLEDGE, Policy
from audit.store import Run
from audit.types import Finding, Place, Residual, Status, Utility, Verdict
from audit.views.imported import scoreboard
from audit.views.ladder import LadderRow, headline, ladder
from audit.views.words import PLACES, UTILITIES, VERDICTS, limit_of, residual_words

POLICY = "policy"
"""The measure that takes from each rung the residual by which the policy judges it; rungs are kept apart."""
OF_FILES = "imported:"
MEASURED, IMPORTED = "measured", "imported"
NO_VERDICT = "No verdict: imported"
FIRST = (Verdict.NO_TRACE, Verdict.INCONCLUSIVE, Verdict.SUPPRESSED, Verdict.PRESENT)
POINTS = ["run", "candidate", "source", "panel", "value", "low", "high", "by", "x", "x_low", "x_high", "x_by", "reason"]
METHODS = {
    "gradient ascent": "grad(ient)?[-_ ]?ascent", "gradient difference": "grad(ient)?[-_ ]?diff(erence)?",
    "SimNPO": "sim[-_]?npo", "AltPO": "alt[-_]?po", "NPO": "npo", "IdkDPO": "idk[-_]?dpo", "DPO": "dpo", "RMU": "rmu",
    "UNDIAL": "undial", "SatImp": "satimp", "WGA": "wga", "PDU": "pdu", "CEU": "ceu", "refusal": "refus(al)?|idk[a-z]*",
    "retraining": "retrain(ed)?|retain[0-9]*", "none": "untouched|original|pretrained|full|finetuned",
}  # fmt: skip
"""Unlearning methods by how candidates that were made with them are usually called."""


@dataclass(frozen=True)
class Compared:
    """A run that is compared, with its findings and its candidates as the policy judges them."""

    id: str
    run: Run
    findings: Mapping[str, Mapping[str, Finding]]
    rows: Sequence[LadderRow]

    @cached_property
    def files(self) -> Mapping[tuple[str, str], tuple[float, ...]]:
        """Imported numbers by candidate and metric: in the file, recomputed, low, high; none of a measured run."""
        if not self.run.imported:
            return {}
        table = scoreboard(self.findings)
        numbers = table[["in the file", "recomputed", "low", "high"]].astype(float).to_numpy()
        keys = zip(table["candidate"].astype(str), table["metric"].astype(str), strict=True)
        return {key: tuple(row) for key, row in reversed(list(zip(keys, numbers.tolist(), strict=True)))}


def compared(id: str, run: Run, policy: Policy) -> Compared:
    """A run read from disk; tables are read only where they are asked for."""
    findings = {
        name: {i: f for i in run.written(name) if i in run.known_ids and (f := run.finding(name, i, lazy=True))}
        for name in run.candidates
    }
    return Compared(id, run, findings, ladder(findings, policy))


def method_of(name: str) -> str:
    """The unlearning method that a candidate's name speaks of, else the name itself."""
    for method, pattern in METHODS.items():
        if re.search(rf"(?<![a-z])({pattern})(?![a-z])", name, re.IGNORECASE):
            return method
    return name


def measures(runs: Sequence[Compared], place: str = "knowledge") -> dict[str, str]:
    """What can be drawn, id to title: the policy's own first, then each measurement, then what files of others hold.

    `place` is `knowledge` (said, stored, recoverable) or `utility`; imported metrics may be either, and are in both.
    """
    wanted: tuple[Place, ...] = ("utility",) if place == "utility" else KNOWLEDGE
    first = "The policy's weakest" if place == "utility" else "The policy's strongest of said, stored, recoverable"
    there = {id: f for run in runs for found in run.findings.values() for id, f in found.items()}
    found = {POLICY: first}
    for id, finding in there.items():
        if finding.status is not Status.IMPORTED and finding.place in wanted:
            found[id] = f"{PLACES[finding.place]}: {evidence_class(id).title}"
    for run in runs:
        found |= {OF_FILES + metric: f"Imported: {metric}" for _, metric in reversed(list(run.files))}
    return found


def first_of(options: Sequence[str], runs: Sequence[Compared], place: str = "knowledge") -> int:
    """The place of the measure that is drawn unless another is asked for: the files' own where nothing was measured."""
    theirs = [at for at, id in enumerate(options) if id.startswith(OF_FILES)]
    if not theirs or not all(run.run.imported for run in runs):
        return 0
    able = [at for at in theirs if "utility" in options[at].lower()]
    rest = [at for at in theirs if at not in able]
    return (able or theirs)[0] if place == "utility" else (rest or theirs)[0]


def points(runs: Sequence[Compared], policy: Policy, measure: str = POLICY, utility: str = POLICY) -> pd.DataFrame:
    """One row for each candidate and panel, columns POINTS; what has no number has a reason instead.

    `value` and `x` are residuals (1 as in the original, 0 as if never learned) or, of an imported metric, the file's
    number. The panels of the policy's measure are said, stored and recoverable.
    """
    rows = []
    for run in runs:
        source = IMPORTED if run.run.imported else MEASURED
        for row in run.rows:
            across = _utility(run, row, policy, utility)
            for panel, shown in _panels(run, row, measure).items():
                reason = "; ".join(r for r in (shown[4], across[4]) if r)
                rows.append((run.id, row.name, source, panel, *shown[:4], *across[:4], reason))
    return pd.DataFrame(rows, columns=POINTS).astype(
        dict.fromkeys(("value", "low", "high", "x", "x_low", "x_high"), float)
    )


def _panels(run: Compared, row: LadderRow, measure: str) -> dict[str, tuple[Any, ...]]:
    """Value, low, high, by what, and the reason for a missing number, of each panel."""
    if measure == POLICY:
        return {
            PLACES[step.place]: _residual(step.residual, step.title, _why_none(run, step.words)) for step in row.steps
        }
    if measure.startswith(OF_FILES):
        return {measure.removeprefix(OF_FILES): _in_file(run, row.name, measure)}
    return {evidence_class(measure).title: _one(run, row.name, measure)}


def _utility(run: Compared, row: LadderRow, policy: Policy, utility: str) -> tuple[Any, ...]:
    if utility.startswith(OF_FILES):
        return _in_file(run, row.name, utility)
    if utility != POLICY:
        return _one(run, row.name, utility)
    found = [run.findings[row.name].get(id) for id in policy.rules["utility"].evidence]
    known = [f for f in found if f is not None and f.status is Status.MEASURED and f.residual is not None]
    if not known:
        return _residual(None, "", _why_none(run, "utility not measured"))
    weakest = min(known, key=lambda f: f.residual.low if f.residual else math.inf)
    return _residual(weakest.residual, evidence_class(weakest.id).title, "")


def _why_none(run: Compared, words: str) -> str:
    return "imported: no control of this audit, so no residual" if run.run.imported else words


def _one(run: Compared, name: str, id: str) -> tuple[Any, ...]:
    finding = run.findings[name].get(id)
    if finding is None:
        return _residual(None, "", _why_none(run, f"{evidence_class(id).title}: not in this run"))
    measured = finding.residual if finding.status is Status.MEASURED else None
    return _residual(measured, evidence_class(id).title, finding.reason or _why_none(run, "no number"))


def _residual(residual: Residual | None, title: str, reason: str) -> tuple[Any, ...]:
    if residual is None:
        return None, None, None, "", reason
    return residual.value, residual.low, residual.high, title, ""


def _in_file(run: Compared, name: str, measure: str) -> tuple[Any, ...]:
    """The file's own number; the interval recomputed from its items only where it holds that number."""
    metric = measure.removeprefix(OF_FILES)
    filed, recomputed, low, high = run.files.get((name, metric), (math.nan,) * 4)
    value = recomputed if math.isnan(filed) else filed
    if math.isnan(value):
        return None, None, None, "", f"{metric}: not in its files"
    holds = low <= value <= high
    return value, low if holds else None, high if holds else None, metric, ""


def board(runs: Sequence[Compared], drawn: pd.DataFrame) -> pd.DataFrame:
    """The leaderboard: one row for each candidate, the cleanest verdict first; a missing number is empty.

    Beside each value stands its 95 % interval in words; seconds are what measuring this candidate took.
    """
    rows = []
    parts: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for point in drawn.to_dict("records"):
        parts.setdefault((point["run"], point["candidate"]), []).append(point)  # type: ignore[arg-type]
    for run in runs:
        for row in run.rows:
            own = parts[run.id, row.name]
            line: dict[str, Any] = {"candidate": row.name, "run": run.id, "method": method_of(row.name)}
            line["verdict"] = NO_VERDICT if run.run.imported else VERDICTS[row.judgement.verdict]
            for part in own:
                line |= {
                    part["panel"]: part["value"],
                    f"{part['panel']} interval": _interval(part["low"], part["high"]),
                }
            first = own[0]
            line |= {"Utility": first["x"], "Utility interval": _interval(first["x_low"], first["x_high"])}
            line["utility is"] = "" if run.run.imported else UTILITIES[row.judgement.utility]
            line["seconds"] = sum(finding.seconds for finding in run.findings[row.name].values())
            line["source"] = IMPORTED if run.run.imported else MEASURED
            line["_order"] = len(FIRST) if run.run.imported else FIRST.index(row.judgement.verdict)
            line["_kept"] = row.judgement.utility is not Utility.KEPT
            rows.append(line)
    frame = pd.DataFrame(rows).sort_values(["_order", "_kept"], kind="stable", ignore_index=True)
    return frame.drop(columns=["_order", "_kept"])


def _interval(low: float, high: float) -> str:
    return "" if pd.isna(low) or pd.isna(high) else f"{low:.2f} to {high:.2f}".replace("-", "−")


def filtered(table: pd.DataFrame, **wanted: Sequence[str]) -> pd.DataFrame:
    """The lines whose columns hold one of the wanted values; an empty choice excludes nothing."""
    for column, values in wanted.items():
        if values:
            table = table[table[column].isin(values)]
    return table.reset_index(drop=True)


def sentence(runs: Sequence[Compared], drawn: pd.DataFrame) -> str:
    """What the comparison finds: verdicts, who has no trace and kept its utility, and what has no verdict."""
    kept = set(zip(drawn["run"], drawn["candidate"], strict=True))
    rows = [(run, row) for run in runs for row in run.rows if (run.id, row.name) in kept]
    measured = [(run, row) for run, row in rows if not run.run.imported]
    parts = []
    if measured:
        parts.append(headline([row for _, row in measured], all(run.run.complete for run, _ in measured)))
        clean = [
            _named(run, row, runs)
            for run, row in measured
            if row.judgement.verdict is Verdict.NO_TRACE and row.judgement.utility is Utility.KEPT
        ]
        parts.append(f"No trace found and utility kept: {', '.join(clean) if clean else 'none of them'}.")
    if len(rows) > len(measured):
        parts.append(f"{len(rows) - len(measured)} imported, without a verdict.")
    missing = drawn[drawn["value"].isna() | drawn["x"].isna()]
    if len(missing):
        parts.append(f"{len(missing)} of {len(drawn)} points have no number and are not drawn.")
    return " ".join(parts)


def _named(run: Compared, row: LadderRow, runs: Sequence[Compared]) -> str:
    return row.name if len(runs) == 1 else f"{row.name} ({run.id})"


def spoken(drawn: pd.DataFrame) -> str:
    """The drawn points in words, for a picture's alternative text; of many the first twenty."""
    there = drawn.dropna(subset=["value", "x"])
    parts = []
    for (run, name), own in list(there.groupby(["run", "candidate"], sort=False))[:20]:
        shown = ", ".join(f"{part['panel']} {_number(part)}" for part in own.to_dict("records"))
        across = own.iloc[0]["x"]
        parts.append(f"{name} in {run}: {shown}, utility {across:.2f}.")
    more = there[["run", "candidate"]].drop_duplicates().shape[0] - len(parts)
    return " ".join(parts) + (f" And {more} more, in the table." if more > 0 else "")


def _number(part: Mapping[Any, Any]) -> str:
    if part["source"] == MEASURED:
        return residual_words(Residual(part["value"], part["low"], part["high"]))
    return f"{part['value']:.3g} (imported)"


def limits(policy: Policy, measure: str, utility: str) -> tuple[dict[str, float], float | None]:
    """The policy's limits of the panels and of the utility, where it sets any for what is drawn."""
    across = policy.rules["utility"].limit if utility == POLICY else limit_of(policy, utility)
    if measure == POLICY:
        return {PLACES[place]: policy.rules[place].limit for place in KNOWLEDGE}, across
    if measure.startswith(OF_FILES):
        return {}, across
    own = limit_of(policy, measure)
    return ({} if own is None else {evidence_class(measure).title: own}), across


def title_of(measure: str) -> str:
    """What an axis of the picture shows."""
    if measure == POLICY:
        return "residual by the policy"
    if measure.startswith(OF_FILES):
        return f"{measure.removeprefix(OF_FILES)} (imported)"
    return f"{evidence_class(measure).title}: residual"
