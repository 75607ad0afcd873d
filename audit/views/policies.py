"""What a draft of a policy would change."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from audit.policy import Judgement, Policy, judge
from audit.types import Finding
from audit.views.words import UTILITIES, VERDICTS

COLUMNS = ["candidate", "changes", "verdict", "by the draft", "utility", "utility by the draft", "why"]


def preview(findings: Mapping[str, Mapping[str, Finding]], now: Policy, draft: Policy) -> pd.DataFrame:
    """Every candidate by the policy in force and by a draft, what changes first, columns COLUMNS."""
    rows = []
    for name, found in findings.items():
        before, after = (judge(policy, list(found.values())) for policy in (now, draft))
        changes = _said(before) != _said(after) or before.meets(now) != after.meets(draft)
        rows.append((name, changes, *_both(before, after), after.sentence))
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.sort_values("changes", ascending=False, kind="stable", ignore_index=True)


def sentence(table: pd.DataFrame, now: Policy, draft: Policy) -> str:
    """How many candidates a draft would change, in one sentence."""
    if now.digest == draft.digest:
        return "The draft says the same as the policy in force."
    count = int(table["changes"].sum())
    names = ", ".join(table.loc[table["changes"], "candidate"])
    return f"The draft would change {count} of {len(table)} candidates{f': {names}' if count else ''}."


def _said(judgement: Judgement) -> tuple[str, str]:
    return str(judgement.verdict), str(judgement.utility)


def _both(before: Judgement, after: Judgement) -> tuple[str, str, str, str]:
    verdicts = VERDICTS[before.verdict], VERDICTS[after.verdict]
    return *verdicts, UTILITIES[before.utility], UTILITIES[after.utility]
