"""What changed from one run to another of the same audit: verdicts, residuals, and under which other conditions."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from audit.catalogue import evidence_class
from audit.policy import Policy
from audit.store import open_run
from audit.types import Finding, Residual, Status
from audit.views.compare import Compared, board, compared, points
from audit.views.compare import sentence as overall
from audit.views.imported import scoreboard
from audit.views.words import STATUSES, UTILITIES, VERDICTS

CONDITIONS = ["what", "before", "after"]
VERDICT_COLUMNS = ["candidate", "changed", "verdict before", "verdict after", "utility before", "utility after"]
FINDINGS = [
    "candidate", "id", "evidence", "place", "before", "before_low", "before_high", "after", "after_low", "after_high",
    "difference", "difference_low", "difference_high", "change", "conditions",
]  # fmt: skip
MEANING = {
    "id": "Empty for an imported metric",
    "before": "Residual in the first run (of an imported metric: the file's number)",
    "after": "The same in the second run",
    "difference": "After minus before",
    "difference_low": "Lower end of its interval, made of the two intervals as if the runs were independent",
    "difference_high": "Upper end of it",
    "change": "Whether the two 95 % intervals overlap, or what stands in the place of a number",
    "conditions": "What was measured otherwise: settings, version, device, null",
}
APART, OVERLAP, ONE = "intervals apart", "intervals overlap", "in one run only"
NOT_HERE = "not in this run"


def conditions(before: Compared, after: Compared) -> pd.DataFrame:
    """What the two runs do not share, columns CONDITIONS: checkpoints by fingerprint, corpora by digest, versions."""
    told = {name: _facts(run.run.plan) for name, run in (("before", before), ("after", after))}
    rows = []
    for what in dict.fromkeys([*told["before"], *told["after"]]):
        old, new = (told[name].get(what, NOT_HERE) for name in ("before", "after"))
        if old != new:
            rows.append((what, old, new))
    return pd.DataFrame(rows, columns=CONDITIONS)


def _facts(plan: Mapping[str, Any]) -> dict[str, str]:
    facts = {name: str(plan.get(name, "")) for name in ("seed", "template", "device") if name in plan}
    for role in ("original", "reference"):
        facts[f"fingerprint of the {role}"] = str((plan.get(role) or {}).get("fingerprint", NOT_HERE))
    for subject in plan["candidates"]:
        facts[f"fingerprint of {subject['name']}"] = str(subject.get("fingerprint", ""))
    for split, corpus in (plan.get("corpora") or {}).items():
        facts[f"digest of {split}"] = str(corpus.get("digest", ""))
    return facts | {f"version of {name}": str(v) for name, v in (plan.get("versions") or {}).items()}


def verdicts(before: Compared, after: Compared) -> pd.DataFrame:
    """Each candidate's verdict in both runs by the same policy, columns VERDICT_COLUMNS, what changed first."""
    old, new = ({row.name: row.judgement for row in run.rows} for run in (before, after))
    rows = []
    for name in dict.fromkeys([*old, *new]):
        pair = [_verdict(run, judged.get(name)) for run, judged in ((before, old), (after, new))]
        rows.append((name, pair[0] != pair[1], pair[0][0], pair[1][0], pair[0][1], pair[1][1]))
    frame = pd.DataFrame(rows, columns=VERDICT_COLUMNS)
    return frame.sort_values("changed", ascending=False, kind="stable", ignore_index=True)


def _verdict(run: Compared, judgement: Any) -> tuple[str, str]:
    if judgement is None:
        return NOT_HERE, NOT_HERE
    if run.run.imported:
        return "No verdict: imported", ""
    return VERDICTS[judgement.verdict], UTILITIES[judgement.utility]


def findings(before: Compared, after: Compared) -> pd.DataFrame:
    """Finding by finding, columns FINDINGS, what lies apart first; of imported metrics the files' numbers."""
    rows: list[tuple[Any, ...]] = []
    for name in dict.fromkeys([*before.findings, *after.findings]):
        old, new = before.findings.get(name, {}), after.findings.get(name, {})
        for id in dict.fromkeys([*old, *new]):
            pair = old.get(id), new.get(id)
            if not any(f is not None and f.status is Status.IMPORTED for f in pair):
                rows.append((name, *_row(id, *pair)))
    rows += _imported(before, after)
    numbers = [c for c in FINDINGS if c.startswith(("before", "after", "difference"))]
    frame = pd.DataFrame(rows, columns=FINDINGS).astype(dict.fromkeys(numbers, float))
    order = frame["change"].map({APART: 3, OVERLAP: 1, "unchanged": 0}).fillna(2)
    return (
        frame.assign(_order=-order, _size=-frame["difference"].abs().fillna(0))
        .sort_values(["_order", "_size"], kind="stable", ignore_index=True)
        .drop(columns=["_order", "_size"])
    )


def _row(id: str, old: Finding | None, new: Finding | None) -> tuple[Any, ...]:
    one = old or new
    assert one is not None
    pair = [f.residual if f is not None and f.status is Status.MEASURED else None for f in (old, new)]
    numbers = [x for r in pair for x in ((r.value, r.low, r.high) if r else (None, None, None))]
    apart = difference(pair[0], pair[1]) if pair[0] and pair[1] else (None, None, None)
    head = (id, evidence_class(id).title, one.place)
    return (*head, *numbers, *apart, _change(old, new, *pair), _other_conditions(old, new))


def _change(old: Finding | None, new: Finding | None, before: Residual | None, after: Residual | None) -> str:
    if old is None or new is None:
        return ONE
    if before is None or after is None:
        return "unchanged" if old.status is new.status else f"{STATUSES[old.status]} → {STATUSES[new.status]}"
    return APART if before.high < after.low or after.high < before.low else OVERLAP


def difference(before: Residual, after: Residual) -> tuple[float, float, float]:
    """After minus before with an interval made of the two intervals (Zou and Donner 2008, method of variance recovery).

    It takes the two as independent; runs on the same entities go up and down together, for which it is too wide.
    """
    change = after.value - before.value
    low = change - math.hypot(after.value - after.low, before.high - before.value)
    high = change + math.hypot(after.high - after.value, before.value - before.low)
    return change, low, high


def _other_conditions(old: Finding | None, new: Finding | None) -> str:
    """What stands beside a number that was measured otherwise."""
    if old is None or new is None:
        return ""
    parts = []
    if dict(old.settings) != dict(new.settings):
        names = [n for n in {**old.settings, **new.settings} if old.settings.get(n) != new.settings.get(n)]
        shown = [f"{n} {old.settings.get(n, 'not set')} → {new.settings.get(n, 'not set')}" for n in names]
        parts.append(f"other settings: {', '.join(shown)}")
    for name in ("version", "device"):
        a, b = old.provenance.get(name), new.provenance.get(name)
        if a != b:
            parts.append(f"other {name}: {a} → {b}")
    if old.null != new.null:
        parts.append(f"other null: {old.null or 'none'} → {new.null or 'none'}")
    if not parts and old.provenance.get("identity") != new.provenance.get("identity"):
        parts.append("measured on something else: see what the runs do not share")
    return "; ".join(parts)


def _imported(before: Compared, after: Compared) -> list[tuple[Any, ...]]:
    """Imported metrics by the numbers in their files, which have no interval of ours."""
    tables = [scoreboard(run.findings).dropna(subset=["in the file"]) for run in (before, after)]
    old, new = (
        {(c, m): float(v) for c, m, v in zip(t["candidate"], t["metric"], t["in the file"], strict=True)}
        for t in tables
    )
    rows = []
    for name, metric in dict.fromkeys([*old, *new]):
        a, b = old.get((name, metric)), new.get((name, metric))
        both = a is not None and b is not None
        change = ONE if not both else "imported: the same" if a == b else "imported: differs"
        apart = b - a if a is not None and b is not None else None
        rows.append((name, "", metric, "", a, None, None, b, None, None, apart, None, None, change, "imported"))
    return rows


def sentence(judged: pd.DataFrame, table: pd.DataFrame, others: pd.DataFrame) -> str:
    """What changed, in one breath."""
    changed = judged.loc[judged["changed"], "candidate"].tolist()
    count = table["change"].value_counts()
    both = int(count.get(APART, 0) + count.get(OVERLAP, 0))
    start = f"{len(changed)} of {len(judged)} verdicts changed{': ' + ', '.join(changed) if changed else ''}."
    middle = f" Of {both} residuals that both runs have, the intervals of {int(count.get(APART, 0))} lie apart."
    one = int(count.get(ONE, 0))
    end = f" {one} findings are in one run only." if one else ""
    if others.empty:
        return f"{start}{middle}{end} Checkpoints, corpora, seed and versions are the same."
    return f"{start}{middle}{end} The runs do not share: {', '.join(others['what'])}."


def spoken(table: pd.DataFrame) -> str:
    """The differences whose intervals lie apart, in words, the largest first; of many the first ten."""
    apart = table[table["change"] == APART]
    parts = [
        f"{r['candidate']}, {r['evidence']}: {r['before']:.2f} to {r['after']:.2f}."
        for r in apart.head(10).to_dict("records")
    ]
    return " ".join(parts) + (f" And {len(apart) - 10} more, in the table." if len(apart) > 10 else "")


def compared_json(paths: Sequence[Path], policy: Policy) -> dict[str, Any]:
    """Runs beside each other as JSON can hold it; of two, what changed from the first to the second."""
    runs = [compared(str(path), open_run(path), policy) for path in paths]
    drawn = points(runs, policy)
    told: dict[str, Any] = {"schema": 1, "policy": policy.name, "policy_digest": policy.digest}
    told |= {"candidates": _plain(board(runs, drawn)), "sentence": overall(runs, drawn)}
    if len(runs) == 2:
        judged, table, others = verdicts(*runs), findings(*runs), conditions(*runs)
        told["changes"] = {
            "sentence": sentence(judged, table, others),
            "verdicts": _plain(judged),
            "findings": _plain(table),
            "conditions": _plain(others),
        }
    return told


def _plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON can hold them: a missing number is null."""
    rows: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=15))
    return rows
