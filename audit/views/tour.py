"""The guided tour: five steps through an audit for someone who has never heard of unlearning, told by its findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from audit.catalogue import evidence_class
from audit.figures.style import percent
from audit.policy import mid_sentence
from audit.types import Finding, Status, Verdict
from audit.views.ladder import LadderRow, telling
from audit.views.words import VERDICTS

SAID, STORED, RECOVERED = "behaviour.recall", "probes.linear", "attacks.relearn"
MEANS = {
    Verdict.SUPPRESSED: "it no longer says what was to be forgotten, but it still holds it",
    Verdict.PRESENT: "it still says what was to be forgotten",
    Verdict.NO_TRACE: "nothing that was tried here found what was to be forgotten",
    Verdict.INCONCLUSIVE: "what was measured is not enough to decide",
}


@dataclass(frozen=True)
class Stop:
    """One step: where it takes place, what is told there, and what opens that view."""

    page: str
    title: str
    text: str
    query: Mapping[str, str] = field(default_factory=dict)


def stops(
    plan: Mapping[str, Any], findings: Mapping[str, Mapping[str, Finding]], rows: Sequence[LadderRow]
) -> tuple[str, list[Stop]]:
    """The candidate that the tour is about, and its five steps."""
    pair = [row for row in rows if row.name in telling(rows)]
    row = next((row for row in pair if row.judgement.verdict is Verdict.SUPPRESSED), pair[0])
    name = row.name
    found = findings[name]
    return name, [
        Stop("overview", "The claim", _claim(plan, name)),
        Stop("behaviour", "What it says", _said(found.get(SAID), name)),
        Stop("probes", "What it still holds inside", _stored(found.get(STORED), name)),
        Stop(
            "attacks", "What can be brought back", _recovered(found.get(RECOVERED), name),
            {"attack": RECOVERED, "attack-on": name},
        ),
        Stop("overview", "The verdict, and what it cannot tell", _verdict(row, found)),
    ]  # fmt: skip


def _claim(plan: Mapping[str, Any], name: str) -> str:
    forget = plan["corpora"].get("forget", {})
    others = len(plan["candidates"]) - 1
    also = f" {others} more were made in other ways." if others else ""
    control = (
        "The “reference” was trained without them from the start: this is what having forgotten looks like."
        if plan.get("reference")
        else "Facts that no model ever saw show what not knowing looks like."
    )
    return (
        f"A language model, the “original”, had learned {forget.get('items', 'some')} facts about "
        f"{forget.get('entities', 'some')} people or things that it was then told to forget. “{name}” is that model "
        f"afterwards, and the claim is: it has forgotten them.{also} {control} Let us check the claim."
    )


def _said(finding: Finding | None, name: str) -> str:
    numbers = _numbers(finding)
    if numbers is None:
        return f"First one asks. {_missing(finding)}"
    mine, original, control = numbers
    ending = "Going by its words, the claim holds." if mine < (original + control) / 2 else "It simply says them."
    return (
        f"First one asks. Of the answers that were to be forgotten, {name} gives {percent(mine)}; the original gave "
        f"{percent(original)}, and {_control(finding)} gives {percent(control)}. {ending} But not saying is not the "
        "same as not knowing."
    )


def _stored(finding: Finding | None, name: str) -> str:
    numbers = _numbers(finding)
    if numbers is None:
        return f"Then one looks inside. {_missing(finding)}"
    mine, original, control = numbers
    ending = (
        "So it is still in there." if mine > (original + control) / 2 else "So this look inside finds little of it."
    )
    return (
        "Then one looks inside. While a model reads a question, it holds rows of numbers. A simple reader is trained "
        f"to tell the answer from them, without the model saying a word: it is right for {percent(mine)} of the facts "
        f"in {name}, for {percent(original)} in the original, and for {percent(control)} in {_control(finding)}, where "
        f"there is nothing to find. {ending}"
    )


def _recovered(finding: Finding | None, name: str) -> str:
    numbers = _numbers(finding)
    if numbers is None:
        return f"Then one attacks. {_missing(finding)}"
    mine, _, control = numbers
    assert finding is not None and finding.candidate is not None
    ending = (
        "What comes back was never gone."
        if finding.candidate.low > control
        else "That is no more than training teaches a model that never knew."
    )
    return (
        "Then one attacks. An attacker who knows some of the facts trains the model on those for a moment, and asks "
        f"for the others. {name} then gives {percent(mine)} of facts that nobody told it again; under the very same "
        f"attack {_control(finding)} gives {percent(control)}. {ending}"
    )


def _verdict(row: LadderRow, found: Mapping[str, Finding]) -> str:
    verdict = row.judgement.verdict
    blind = evidence_class(RECOVERED).blind_to
    unanswered = sum(finding.status is not Status.MEASURED for finding in found.values())
    gaps = f" {unanswered} of its {len(found)} measurements have no number, and say why." if unanswered else ""
    return (
        f"The verdict on {row.name}: {mid_sentence(VERDICTS[verdict])}. That is, {MEANS[verdict]}. The table below has "
        "every candidate on one line: still said, still stored, recoverable. What no audit can tell: that nothing is "
        f"left. Each test is blind to something; the attack you saw, for one, to this: {mid_sentence(blind)}{gaps}"
    )


def _numbers(finding: Finding | None) -> tuple[float, float, float] | None:
    """Candidate, original and control of a finding, on its own scale; None when it holds no number."""
    if finding is None or finding.status is not Status.MEASURED or finding.candidate is None or not finding.original:
        return None
    control = finding.reference.value if finding.reference is not None else finding.candidate.null
    return finding.candidate.value, finding.original.value, control


def _control(finding: Finding | None) -> str:
    return "the reference" if finding is not None and finding.reference is not None else "the control"


def _missing(finding: Finding | None) -> str:
    if finding is None:
        return "This audit did not."
    return f"This audit could not get a number: {finding.reason or 'no reason was stored.'}"
