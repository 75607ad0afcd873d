"""The words that pages and reports use, and the one sentence that answers for a finding."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from audit.catalogue import evidence_class
from audit.figures.style import percent
from audit.policy import Policy, mid_sentence
from audit.types import Estimate, Finding, Place, Residual, Status, Utility, Verdict

VERDICTS = {
    Verdict.PRESENT: "Present: still said",
    Verdict.SUPPRESSED: "Suppressed: hidden, not gone",
    Verdict.NO_TRACE: "No trace found by this audit",
    Verdict.INCONCLUSIVE: "Inconclusive",
}
UTILITIES = {Utility.KEPT: "kept", Utility.DAMAGED: "damaged", Utility.UNKNOWN: "not known"}
STATUSES = {
    Status.MEASURED: "measured",
    Status.NOT_APPLICABLE: "not applicable",
    Status.NOT_IDENTIFIABLE: "not identifiable",
    Status.SKIPPED: "skipped",
    Status.FAILED: "failed",
    Status.IMPORTED: "imported",
}
PLACES: dict[Place, str] = {
    "said": "Said",
    "stored": "Stored",
    "recoverable": "Recoverable",
    "utility": "Utility",
}
RUNGS: dict[Place, dict[str, str]] = {
    "said": {"found": "still said", "unclear": "unclear", "clear": "not said", "unexamined": "not examined"},
    "stored": {"found": "still stored", "unclear": "unclear", "clear": "not found", "unexamined": "not examined"},
    "recoverable": {
        "found": "comes back",
        "unclear": "unclear",
        "clear": "not brought back",
        "unexamined": "not examined",
    },
}
MARKS = {"found": "●", "unclear": "◐", "clear": "○", "described": "□", "none": "∅", "unexamined": "∅"}
"""A shape for each state, so that colour is never the only carrier: full, half, empty, and nothing there."""
FOUND: dict[Place, str] = {"said": "still says it", "stored": "still stores it", "recoverable": "gives it back"}
NULLS = {
    "reference": "read against the reference",
    "holdout": "read against facts that no model saw",
    "chance": "read against guessing",
}


IMPORTED = "Imported from another tool, without a control of this audit. No verdict rests on it."


@dataclass(frozen=True)
class Answer:
    """What one finding says about one candidate: a state (a key of MARKS), one sentence, and how far it reaches."""

    name: str
    state: str
    sentence: str
    scope: str = ""
    """Interval, number of entities, null and limit."""


def answer(name: str, finding: Finding | None, policy: Policy, *, running: bool = False) -> Answer:
    """One sentence that answers the evidence's question for a candidate; a missing number is said to be missing."""
    if finding is None:
        return Answer(name, "none", f"{name}: not measured{' yet' if running else ' in this run'}.")
    if finding.status is Status.IMPORTED:
        return Answer(name, "described", f"{name}: {finding.note}", IMPORTED)
    if finding.status is not Status.MEASURED or finding.residual is None:
        reason = finding.reason or "No reason was stored."
        return Answer(name, "none", f"{name}: no number ({STATUSES[finding.status]}). {reason}")
    residual, scope, limit = finding.residual, _scope(finding), limit_of(policy, finding.id)
    if finding.place == "utility":
        return Answer(name, "described", f"{name} keeps {percent(residual.value)} of what it was to keep.", f"{scope}.")
    if limit is None:
        zero = "the reference" if finding.null == "reference" else "never learned"
        like = f"{percent(residual.value)} like the original, where 0\u202f% is {zero}"
        if residual.high < 0:
            like = f"beyond {zero}, away from the original: {percent(residual.value)}, where 0\u202f% is {zero}"
        note = unbroken(finding.note)
        sentence = f"{name}: {note}" if note else f"{name}: {like}."
        reach = f"{like}; {scope}" if finding.note else scope
        return Answer(name, "described", sentence, f"{reach}. No verdict rests on it.")
    title, state = mid_sentence(evidence_class(finding.id).title), state_of(residual, limit)
    verb = {"found": f" {FOUND[finding.place]}:", "clear": ":", "unclear": ": unclear,"}[state]
    side = {"found": "above", "clear": "below", "unclear": "across"}[state]
    scope = f"{scope}; {side} the limit of {percent(limit)}."
    if residual.high < 0 and finding.note:  # below the null is no absence: what it is, the note says
        scope = f"{scope} {unbroken(finding.note)}"
    return Answer(name, state, f"{name}{verb} {title} finds {share_words(residual)}.", scope)


def unbroken(text: str) -> str:
    """A number and its unit stay on one line."""
    return re.sub(r"(?<=\d) ?%", "\u202f%", text)


def sentences(answers: Iterable[Answer]) -> str:
    """What several answers say, one after the other: the finding in the alternative text of a picture."""
    return " ".join(one.sentence for one in answers)


def state_of(residual: Residual, limit: float) -> str:
    """`found` when the whole interval lies above a limit, `clear` when below, else `unclear`."""
    if residual.low > limit:
        return "found"
    return "clear" if residual.high < limit else "unclear"


def limit_of(policy: Policy, id: str) -> float | None:
    """The limit that a policy sets for an evidence, or None when no verdict rests on it."""
    return next((rule.limit for rule in policy.rules.values() if id in rule.evidence), None)


def residual_words(residual: Residual | None) -> str:
    """A residual with its interval: `81 % (66 % to 93 %)`."""
    if residual is None:
        return "no number"
    return f"{percent(residual.value)} ({percent(residual.low)} to {percent(residual.high)})"


def estimate_words(estimate: Estimate | None) -> str:
    """An estimate with its interval and its number of entities, on the evidence's own scale."""
    if estimate is None:
        return "no number"
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f}, n = {estimate.n})"


def share_words(residual: Residual) -> str:
    """How much of what the original held is left."""
    if round(residual.value * 100) <= 0:
        return f"nothing beyond the null ({percent(residual.value)})"
    return f"{percent(residual.value)} of what the original held"


def _scope(finding: Finding) -> str:
    residual, candidate = finding.residual, finding.candidate
    assert residual is not None
    parts = [f"95\u202f% interval {percent(residual.low)} to {percent(residual.high)}"]
    if candidate is not None:
        parts.append(f"n = {candidate.n}")
    if finding.null in NULLS:
        parts.append(NULLS[finding.null])
    return ", ".join(parts)
