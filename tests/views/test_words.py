"""The sentence that answers: right words on each side of the limit, and a missing number said to be missing."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from audit.policy import load_policy
from audit.types import Chart, Estimate, Finding, Place, Residual, Status
from audit.views.words import Answer, answer, limit_of, residual_words, state_of

SHIPPED = load_policy()
POLICY = dataclasses.replace(
    SHIPPED, rules={place: dataclasses.replace(rule, limit=0.25) for place, rule in SHIPPED.rules.items()}
)


def finding(
    residual: Residual | None, id: str = "probes.linear", place: Place = "stored", **changes: object
) -> Finding:
    estimate = Estimate(0.74, 0.62, 0.84, 0.1, 20)
    given = Finding(
        id, Status.MEASURED, "", {}, pd.DataFrame(), pd.DataFrame(), Chart("line", "x", "y"), estimate, estimate, None,
        residual, 1.0, {}, place, "reference",
    )  # fmt: skip
    return dataclasses.replace(given, **changes)  # type: ignore[arg-type]


def said(given: Finding | None, **more: bool) -> Answer:
    answered = answer("npo", given, POLICY, **more)
    plain = {"sentence": answered.sentence.replace("\u202f", " "), "scope": answered.scope.replace("\u202f", " ")}
    return dataclasses.replace(answered, **plain)


def test_above_the_limit() -> None:
    found = said(finding(Residual(0.81, 0.66, 0.93)))
    assert found.state == "found"
    assert found.sentence == "npo still stores it: linear probe finds 81 % of what the original held."
    assert found.scope == "95 % interval 66 % to 93 %, n = 20, read against the reference; above the limit of 25 %."


def test_below_the_limit_and_below_the_null() -> None:
    found = said(finding(Residual(-0.02, -0.06, 0.02)))
    assert found.state == "clear"
    assert "finds nothing beyond the null (−2 %)" in found.sentence
    assert found.scope.endswith("below the limit of 25 %.")


def test_across_the_limit() -> None:
    found = said(finding(Residual(0.3, 0.1, 0.5)))
    assert found.state == "unclear"
    assert found.sentence.startswith("npo: unclear, linear probe finds 30 %")
    assert "across the limit" in found.scope


@pytest.mark.parametrize(("place", "verb"), [("said", "still says it"), ("recoverable", "gives it back")])
def test_the_verb_is_that_of_the_place(place: Place, verb: str) -> None:
    id = {"said": "behaviour.recall", "recoverable": "attacks.relearn"}[place]
    assert f"npo {verb}:" in said(finding(Residual(0.9, 0.8, 1.0), id, place)).sentence


def test_what_no_verdict_rests_on_says_so() -> None:
    found = said(finding(Residual(0.9, 0.8, 1.0), "drift.cka"))
    assert found.state == "described"
    assert found.sentence == "npo: 90 % like the original, where 0 % is the reference."
    assert found.scope.endswith("No verdict rests on it.")


def test_a_note_that_describes_an_edit_is_the_answer() -> None:
    found = said(finding(Residual(0.9, 0.8, 1.0), "concepts.weight_delta", note="Only the last block differs."))
    assert found.sentence == "npo: Only the last block differs."
    assert found.scope.startswith("90 % like the original, where 0 % is the reference; 95 % interval")


OVER = "The loss attack tells 20 %. Over-unlearned: the forgotten answers look less familiar than in the reference."


def test_far_below_the_null_is_said_and_is_no_likeness() -> None:
    found = said(finding(Residual(-0.8, -1.0, -0.5), "privacy.loss", note=OVER))
    assert found.sentence == f"npo: {OVER}"
    assert found.scope.startswith("beyond the reference, away from the original: −80 %, where 0 % is the reference;")
    # a policy that consults it draws a limit; the warning stays
    rule = dataclasses.replace(POLICY.rules["stored"], evidence=("privacy.loss",))
    strict = dataclasses.replace(POLICY, rules={**POLICY.rules, "stored": rule})
    limited = answer("npo", finding(Residual(-0.8, -1.0, -0.5), "privacy.loss", note=OVER), strict)
    assert limited.state == "clear" and "Over-unlearned" in limited.scope


def test_utility_is_about_keeping() -> None:
    assert (
        "keeps 97 % of what it was to keep"
        in said(finding(Residual(0.97, 0.9, 1.0), "utility.retain", "utility")).sentence
    )


@pytest.mark.parametrize("status", [s for s in Status if s not in (Status.MEASURED, Status.IMPORTED)])
def test_every_status_is_said_with_its_reason(status: Status) -> None:
    found = said(finding(None, status=status, reason="Because."))
    assert found.state == "none"
    assert "no number (" in found.sentence and found.sentence.endswith("Because.")
    assert not any(character.isdigit() for character in found.sentence)


def test_a_finding_that_is_not_there() -> None:
    assert said(None).sentence == "npo: not measured in this run."
    assert said(None, running=True).sentence == "npo: not measured yet."


def test_state_touching_the_limit_is_unclear() -> None:
    assert state_of(Residual(0.5, 0.25, 0.7), 0.25) == "unclear"
    assert state_of(Residual(0.1, 0.0, 0.25), 0.25) == "unclear"


def test_limits_are_those_of_the_policy() -> None:
    assert limit_of(POLICY, "probes.linear") == POLICY.rules["stored"].limit
    assert limit_of(POLICY, "drift.map") is None


def test_no_residual_is_no_number() -> None:
    assert residual_words(None) == "no number"


def test_an_imported_number_is_described_and_carries_no_verdict() -> None:
    found = said(finding(None, status=Status.IMPORTED))
    assert found.state == "described"
    assert "another tool" in found.scope and "No verdict rests on it" in found.scope
