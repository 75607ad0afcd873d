"""A run and a policy as one JSON object: the contract of `show --json`."""

from __future__ import annotations

from typing import Any

from audit._findingjson import finding_json
from audit.policy import Policy, judge
from audit.store import Run
from audit.types import Finding
from audit.views import reviews


def summary(run: Run, policy: Policy) -> dict[str, Any]:
    """Findings and verdicts of every candidate; keys may be added, never renamed."""
    return {
        "schema": 1,
        "name": run.name,
        "complete": run.complete,
        "policy": policy.name,
        "policy_digest": policy.digest,
        "candidates": [_candidate(run, name, policy) for name in run.candidates],
        "reviews": reviews.as_json(reviews.open_reviews(run, policy)),
    }


def _candidate(run: Run, name: str, policy: Policy) -> dict[str, Any]:
    findings = run.findings(name)
    judgement = judge(policy, findings)
    return {
        "name": name,
        "verdict": str(judgement.verdict),
        "utility": str(judgement.utility),
        "why": list(judgement.why),
        "missing": list(judgement.missing),
        "sentence": judgement.sentence,
        "meets_policy": judgement.meets(policy),
        "findings": [_finding(finding) for finding in findings],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    data = finding_json(finding)
    keep = (
        "id",
        "place",
        "status",
        "reason",
        "note",
        "null",
        "candidate",
        "original",
        "reference",
        "settings",
        "seconds",
    )
    residual = data["residual"]
    shown = None if residual is None else {key: residual[key] for key in ("value", "low", "high")}
    return {**{key: data[key] for key in keep}, "residual": shown}
