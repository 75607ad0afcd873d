"""What the overview shows of the three places: how far it moved, what can be read inside, what comes back."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from audit.figures.panels import Panel
from audit.policy import Policy
from audit.types import Finding
from audit.views.attacks import run_of
from audit.views.tables import together, where
from audit.views.words import MARKS, STATUSES, Answer, answer, residual_words

Findings = Mapping[str, Mapping[str, Finding]]
THREE = ("drift.cka", "probes.linear", "attacks.relearn")
PAGES = (("drift", "Maps and drift"), ("probes", "All probes"), ("attacks", "All attacks"))
PROBE = ("a linear probe reads", "linear probe")
ATTACK = ("relearning brings back", "relearning")
ALL = "all"


def three(findings: Findings, running: bool = False) -> list[Panel]:
    """The three panels of the candidates that are drawn, each with its control."""
    drift, probe, attack = (together({name: found.get(id) for name, found in findings.items()}) for id in THREE)
    reasons = [_why_empty(findings, id, running) for id in THREE]
    return [
        Panel("How far did it move?", drift_curve(drift), "layer", "debiased", "layer",
              "likeness to the original (CKA)", empty=reasons[0]),
        Panel("What can be read inside?", probe_curve(probe), "layer", "accuracy", "layer", "labels read correctly",
              null="chance", empty=reasons[1]),
        Panel("What comes back under attack?", run_of(attack), "step", "recovery", "training steps",
              "recall of untrained facts", empty=reasons[2]),
    ]  # fmt: skip


def inside(findings: Findings, policy: Policy, running: bool = False) -> list[Answer]:
    """One sentence for each candidate: what the probe reads and what relearning brings back."""
    answers = []
    for name, found in findings.items():
        probe, attack = (found.get(id) for id in THREE[1:])
        states = [answer(name, finding, policy, running=running).state for finding in (probe, attack)]
        worst = min(states, key=list(MARKS).index)
        answers.append(
            Answer(name, worst, f"{name}: {_part(PROBE, probe, running)}; {_part(ATTACK, attack, running)}.")
        )
    return answers


def _part(words: tuple[str, str], finding: Finding | None, running: bool) -> str:
    found, missing = words
    if finding is not None and finding.residual is not None:
        return f"{found} {residual_words(finding.residual)} of what the original held"
    if finding is None:
        return f"{missing}: not measured{' yet' if running else ''}"
    return f"{missing}: no number ({STATUSES[finding.status]})"


def drift_curve(table: pd.DataFrame, split: str = "forget", against: str = "original") -> pd.DataFrame:
    """CKA of a split by layer, to one subject; which is at 1 from itself by definition, and drawn there."""
    table = where(table, split=split, against=against)
    if table.empty:
        return table
    layers = sorted(table["layer"].unique())
    ones = pd.DataFrame({"layer": layers, "subject": against, "debiased": 1.0, "biased": 1.0})
    return pd.concat([ones, table], ignore_index=True)


def probe_curve(table: pd.DataFrame, split: str = "forget", attribute: str = ALL) -> pd.DataFrame:
    """Probe accuracy of a split by layer, for one attribute or all together."""
    return where(table, split=split, attribute=attribute)


def _why_empty(findings: Findings, id: str, running: bool) -> str:
    states = {
        "not measured yet" if running else "not measured" if id not in found else STATUSES[found[id].status]
        for found in findings.values()
    }
    return "no number: " + ", ".join(sorted(states))
