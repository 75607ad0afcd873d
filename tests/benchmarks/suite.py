"""Where the time of an audit goes, by family: read from the shipped demo, whose findings record their seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audit.store import Run

INSIDE = ("drift", "probes", "sae", "concepts")
DEMO = Path(__file__).parent.parent.parent / "assets" / "demo" / "run"


def run(quick: bool = False) -> list[dict[str, Any]]:
    """A row per family: seconds for the first candidate, which pays for what all share, and for one more."""
    store = Run(DEMO)
    first, *others = store.candidates
    spent: dict[str, list[float]] = {}
    for name in store.candidates:
        for finding in store.findings(name):
            line = spent.setdefault(finding.id.split(".")[0], [0.0, 0.0])
            line[0 if name == first else 1] += finding.seconds
    return [inside(spent, len(others))] + [
        {
            "benchmark": f"demo audit, {family}", "ours_s": shared, "theirs_s": more / len(others),
            "ratio": more / len(others) / max(shared, 1e-9), "goal": "",
            "note": "first candidate with all that is shared; each further candidate; one thread",
        }
        for family, (shared, more) in sorted(spent.items(), key=lambda pair: -pair[1][0])
    ]  # fmt: skip


def inside(spent: dict[str, list[float]], others: int) -> dict[str, Any]:
    """What looks inside the models, for six candidates; `spent` holds the first one's seconds and all others' sum."""
    first, rest = (sum(spent[family][k] for family in INSIDE if family in spent) for k in (0, 1))
    each = rest / others
    return {
        "benchmark": "inside suite, six candidates, one thread", "ours_s": first + 5 * each, "theirs_s": "",
        "ratio": "", "goal": "<= 300 s on 2 cores",
        "note": f"{', '.join(INSIDE)}: {first:.0f} s for the first candidate, {each:.0f} s for each further one",
    }  # fmt: skip
