"""What is true of each candidate by the way it was made, and the ranges that say whether the making succeeded."""

from __future__ import annotations

from audit.lab.truth import Truth, in_every_scenario

_BY_CONSTRUCTION = in_every_scenario("forgotten images", "saw", "kept images")
_WHOLE_CLASSES: Truth = {
    **_BY_CONSTRUCTION,
    "head-only": {
        "verdict_not": ["present", "no_trace"],
        "why": "Only its last linear layer was changed: everything below is bit by bit the original's.",
    },
}
TRUTH: dict[str, Truth] = {
    "samples": {
        **_BY_CONSTRUCTION,
        "head-only": {
            "verdict": ["suppressed"],
            "why": "Only its last linear layer was changed: everything below is bit by bit the original's.",
        },
    },
    "class": _WHOLE_CLASSES,
    "semantic": _WHOLE_CLASSES,
}
"""By kind of forgetting and candidate."""

_WHOLE_LIMITS = (
    ("original", "forget", 0.97, 1.0),
    ("original", "retain", 0.97, 1.0),
    ("reference", "forget", 0.0, 0.0),
    ("retrained", "forget", 0.0, 0.0),
    ("head-only", "forget", 0.0, 0.05),
    ("head-only", "retain", 0.95, 1.0),
    ("gradient-ascent", "retain", 0.0, 0.6),
)
LIMITS: dict[str, tuple[tuple[str, str, float, float], ...]] = {
    "samples": (
        ("original", "forget", 0.95, 1.0),
        ("original", "retain", 0.97, 1.0),
        ("reference", "forget", 0.0, 0.1),
        ("reference", "retain", 0.97, 1.0),
        ("retrained", "forget", 0.0, 0.1),
        ("head-only", "forget", 0.0, 0.1),
        ("head-only", "retain", 0.9, 1.0),
        ("gradient-ascent", "retain", 0.0, 0.6),
    ),
    "class": _WHOLE_LIMITS,
    "semantic": _WHOLE_LIMITS,
}
"""Model, split, and the range that its accuracy must lie in for the table above to be true."""
