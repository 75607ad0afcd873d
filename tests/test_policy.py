"""From findings to a verdict: every branch of the ladder, and the policy file's own errors."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from audit.errors import PolicyError
from audit.policy import DEFAULT, judge, load_policy, mid_sentence
from audit.stats import GRID
from audit.types import Chart, Finding, Residual, Status, Utility, Verdict

POLICY = load_policy()


def finding(id: str, low: float | None = None, high: float | None = None, status: Status = Status.MEASURED) -> Finding:
    residual = None
    if low is not None and high is not None:
        # A bootstrap that is uniform between low and high.
        residual = Residual((low + high) / 2, low, high, tuple(low + (high - low) * GRID))
    empty = pd.DataFrame()
    return Finding(id, status, "", {}, empty, empty, Chart("line", "x", "y"), None, None, None, residual, 0.0, {})


def clear() -> dict[str, Finding]:
    ids = [id for place in ("said", "stored", "recoverable") for id in POLICY.rules[place].evidence]  # type: ignore[index]
    return {id: finding(id, -0.05, 0.08) for id in ids} | {"utility.retain": finding("utility.retain", 0.95, 1.0)}


def judged(**changes: Finding):  # type: ignore[no-untyped-def]
    findings = clear() | {change.id: change for change in changes.values()}
    return judge(POLICY, list(findings.values()))


def test_nothing_above_and_all_measured_is_no_trace() -> None:
    found = judged()
    assert (found.verdict, found.utility) == (Verdict.NO_TRACE, Utility.KEPT)
    assert found.sentence.startswith("No trace found by this audit")
    assert found.meets(POLICY)


def test_still_said_is_present_whatever_else() -> None:
    found = judged(a=finding("behaviour.recall", 0.9, 1.0), b=finding("probes.linear", 0.9, 1.0))
    assert found.verdict is Verdict.PRESENT
    assert found.why == ("behaviour.recall",)
    assert not found.meets(POLICY)


def test_stored_or_recoverable_is_suppressed() -> None:
    found = judged(a=finding("probes.linear", 0.5, 0.9), b=finding("attacks.relearn", 0.4, 0.5))
    assert found.verdict is Verdict.SUPPRESSED
    assert found.why == ("probes.linear", "attacks.relearn")
    assert found.rungs["stored"].state == "found"
    assert found.rungs["said"].state == "clear"


def test_an_interval_over_the_limit_is_inconclusive_and_named() -> None:
    found = judged(a=finding("probes.truth", 0.05, 0.5))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.why == ("probes.truth",)


def test_a_family_without_a_number_is_inconclusive_and_names_what_is_missing() -> None:
    gone = {
        f"k{i}": finding(id, status=Status.NOT_IDENTIFIABLE) for i, id in enumerate(POLICY.rules["stored"].evidence)
    }
    found = judged(**gone)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert set(found.missing) == set(POLICY.rules["stored"].evidence)
    assert found.rungs["stored"].state == "unexamined"


def test_no_finding_at_all_is_inconclusive_and_utility_unknown() -> None:
    found = judge(POLICY, [])
    assert (found.verdict, found.utility) == (Verdict.INCONCLUSIVE, Utility.UNKNOWN)


def test_holm_spares_a_lone_marginal_finding() -> None:
    # One of five consulted findings lies above the limit with p = 0.02 < 0.025: alone that would count, but Holm's
    # first step asks for 0.025 / 5 = 0.005. It is not suppressed, and not clear either.
    low = 0.1 - 0.02 * 0.5  # uniform on [low, low + 0.5]: P(<= 0.1) = 0.02
    found = judged(a=finding("probes.linear", low, low + 0.5))
    assert found.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("low", "high", "utility"),
    [(0.95, 1.0, Utility.KEPT), (0.1, 0.3, Utility.DAMAGED), (0.85, 0.95, Utility.UNKNOWN)],
)
def test_utility_has_its_own_axis(low: float, high: float, utility: Utility) -> None:
    found = judged(a=finding("utility.retain", low, high))
    assert (found.verdict, found.utility) == (Verdict.NO_TRACE, utility)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[said]", "[sayd]", "lacks 'said'"),
        ('"probes.linear"', '"probes.liner"', 'Did you mean "probes.linear"'),
        ("limit = 0.1", "limit = 25", "from 0 to 1"),
        ('["no_trace"]', '["clean"]', "clean"),
        ("[said]", "[said", "cannot be read"),
    ],
)
def test_a_wrong_policy_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(DEFAULT.read_text().replace(old, new))
    with pytest.raises(PolicyError, match=message):
        load_policy(path)
    with pytest.raises(PolicyError, match="no policy file"):
        load_policy(tmp_path / "absent.toml")


def test_no_sentence_promises_too_much() -> None:
    text = " ".join(judged(a=finding("probes.linear", low, high)).sentence for low, high in [(0, 0.08), (0.5, 0.9)])
    assert not any(word in text.lower() for word in ("deleted", "compliant", "safe"))


def test_a_title_within_a_sentence_keeps_its_abbreviation() -> None:
    assert mid_sentence("Linear probe") == "linear probe"
    assert mid_sentence("SAE feature survival") == "SAE feature survival"
