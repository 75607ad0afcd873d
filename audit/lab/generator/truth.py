"""What is true of each candidate by the way it was made, and the ranges that say whether the making succeeded."""

from __future__ import annotations

TRUTH: dict[str, dict[str, str | list[str]]] = {
    "untouched": {"verdict": ["present"], "why": "It is the original itself."},
    "retrained": {
        "verdict_not": ["present", "suppressed"],
        "why": "It was trained from nothing without the forgotten digit, so it never saw one.",
    },
    "condition-only": {
        "verdict": ["suppressed"],
        "why": "Only the embedding of the forgotten condition was overwritten: every layer is the original's.",
    },
    "gradient-ascent": {
        "utility": ["damaged"],
        "why": "Its ascent went on, with nothing to hold the rest, until the kept digits were lost too.",
    },
}

LIMITS: tuple[tuple[str, str, float, float], ...] = (
    ("scorer", "test", 0.9, 1.0),
    ("judge", "test", 0.9, 1.0),
    ("original", "forget", 0.9, 1.0),
    ("original", "retain", 0.9, 1.0),
    ("reference", "forget", 0.0, 0.25),
    ("reference", "retain", 0.9, 1.0),
    ("retrained", "forget", 0.0, 0.25),
    ("condition-only", "forget", 0.0, 0.1),
    ("condition-only", "retain", 0.9, 1.0),
    ("gradient-ascent", "retain", 0.0, 0.6),
)
"""Model, split, and the range that the share drawn as asked must lie in for the table above to be true.

An untrained condition draws whatever its random embedding happens to mean, now and then something like the digit."""
