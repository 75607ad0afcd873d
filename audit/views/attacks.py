"""What comes back: curves of attacks, and every attack's residual for every candidate beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from audit.catalogue import evidence_class
from audit.figures.panels import Panel
from audit.figures.style import ORIGINAL
from audit.policy import Policy
from audit.types import Finding
from audit.views.tables import residuals, where
from audit.views.words import STATUSES, estimate_words, residual_words

ALL = "all"


def seeds(table: pd.DataFrame) -> dict[str, str]:
    """The runs of an attack that can be drawn: their mean first."""
    found = list(dict.fromkeys(table["seed"].astype(str)))
    return {
        seed: "mean of all runs" if seed == ALL else f"run {seed}" for seed in sorted(found, key=lambda s: s != ALL)
    }


def run_of(table: pd.DataFrame, seed: str = ALL, split: str = "forget") -> pd.DataFrame:
    """The curve of one run, or the mean.

    The original is not attacked: its level before the attack, the upper end of the scale, is drawn along the curve.
    """
    table = where(table, split=split)
    if table.empty:
        return table
    table = table[table["seed"].astype(str) == seed]
    level = table[table["subject"] == ORIGINAL]
    if len(level) == 1 and table["step"].max() > level["step"].iloc[0]:
        table = pd.concat([table, level.assign(step=table["step"].max())], ignore_index=True)
    return table


def relearn_panels(curve: pd.DataFrame) -> list[Panel]:
    """What comes back along the attack, and beside it what the attack breaks."""
    kept = curve.dropna(subset=["retain_recall"])
    return [
        Panel("What comes back", curve, "step", "recovery", "training steps", "recall of untrained facts"),
        Panel("What the attack breaks", kept, "step", "retain_recall", "training steps",
              "recall of what was to be kept", low=None, high=None, empty="no retain text in this attack"),
    ]  # fmt: skip


def without_original(table: pd.DataFrame) -> pd.DataFrame:
    """The subjects that were attacked."""
    return table[table["subject"] != ORIGINAL]


def original_level(table: pd.DataFrame, column: str, split: str = "forget") -> float | None:
    """What the original, which is not attacked, scores; None when it was not measured."""
    values = where(table, subject=ORIGINAL, split=split)[column].dropna()
    return float(values.iloc[0]) if len(values) else None


def by_block(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of single blocks, with the block as a number; `any` block together is left to the table."""
    table = table[table["layer"].astype(str) != "any"]
    return table.assign(layer=table["layer"].astype(int))


def forest_rows(
    findings: Mapping[str, Mapping[str, Finding]], ids: Sequence[str], policy: Policy, running: bool
) -> pd.DataFrame:
    """Residuals of every attack and candidate, as `figures.forest` wants them."""
    return residuals(findings, ids, policy, running)


def recovery(findings: Mapping[str, Mapping[str, Finding]], ids: Sequence[str]) -> pd.DataFrame:
    """Every attack on every candidate in words: what came back, what the floor and the ceiling were."""
    rows = []
    for id in ids:
        for name, found in findings.items():
            finding = found.get(id)
            if finding is None:
                continue
            rows.append(
                {
                    "attack": evidence_class(id).title,
                    "candidate": name,
                    "residual": residual_words(finding.residual),
                    "candidate attacked": estimate_words(finding.candidate),
                    "floor": _floor(finding),
                    "original": estimate_words(finding.original),
                    "status": ": ".join(part for part in (STATUSES[finding.status], finding.reason) if part),
                }
            )
    columns = ["attack", "candidate", "residual", "candidate attacked", "floor", "original", "status"]
    return pd.DataFrame(rows, columns=columns)


def _floor(finding: Finding) -> str:
    """What a model that never knew gives under the same attack, on the evidence's own scale."""
    if finding.reference is not None:
        return f"{estimate_words(finding.reference)}, reference"
    if finding.candidate is not None:
        return f"{finding.candidate.null:.2f}, {finding.null or 'no control'}"
    return "no number"
