"""What a draft of a policy would change."""

from __future__ import annotations

import pytest

from audit.errors import PolicyError
from audit.policy import load_policy, read_policy
from audit.types import Finding
from audit.views import policies
from tests.pages.synthetic import CANDIDATES, found

NOW = load_policy()


@pytest.fixture(scope="module")
def findings() -> dict[str, dict[str, Finding]]:
    ids = [id for rule in NOW.rules.values() for id in rule.evidence]
    return {name: {id: found(id, name) for id in ids} for name in CANDIDATES}


def test_the_same_policy_changes_nobody(findings: dict[str, dict[str, Finding]]) -> None:
    table = policies.preview(findings, NOW, NOW)
    assert not table["changes"].any()
    assert policies.sentence(table, NOW, NOW) == "The draft says the same as the policy in force."


def test_a_limit_above_everything_finds_nobody_and_says_whom_it_changes(
    findings: dict[str, dict[str, Finding]],
) -> None:
    draft = read_policy(NOW.text.replace("limit = 0.1", "limit = 1.0"), "The draft")
    table = policies.preview(findings, NOW, draft)
    # Said .95 and stored .9 of the original's .95 are above a limit of a tenth, and below one of the whole.
    changed = set(table.loc[table["changes"], "candidate"])
    assert {"hides", "untouched"} <= changed
    assert table["candidate"].iloc[0] in changed
    assert "hides" in policies.sentence(table, NOW, draft)


def test_the_version_follows_what_is_said_and_not_how() -> None:
    assert read_policy("# a comment\n" + NOW.text, "x").digest == NOW.digest
    assert read_policy(NOW.text.replace("limit = 0.9", "limit = 0.8"), "x").digest != NOW.digest


@pytest.mark.parametrize("text", ["", "name = 1", "[said", NOW.text.replace("behaviour.recall", "behaviour.recal")])
def test_a_broken_draft_is_one_sentence(text: str) -> None:
    with pytest.raises(PolicyError, match="The draft"):
        read_policy(text, "The draft")
