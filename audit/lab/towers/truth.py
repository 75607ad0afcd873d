"""What is true of each candidate by the way it was made, and the ranges that say whether the making succeeded."""

from __future__ import annotations

TRUTH: dict[str, dict[str, str | list[str]]] = {
    "untouched": {"verdict": ["present"], "why": "It is the original itself."},
    "retrained": {
        "verdict_not": ["present", "suppressed"],
        "why": "It was trained from nothing without the forgotten pictures and captions, so it never saw them.",
    },
    "projection-only": {
        "verdict": ["suppressed"],
        "why": "Only its two projections were changed: both towers are bit by bit the original's.",
    },
    "gradient-ascent": {
        "utility": ["damaged"],
        "why": "Its ascent went on, with nothing to hold the rest, until the kept pairs were lost too.",
    },
}

LIMITS: tuple[tuple[str, str, float, float], ...] = (
    ("original", "forget", 0.95, 1.0),
    ("original", "retain", 0.95, 1.0),
    ("reference", "forget", 0.0, 0.15),
    ("reference", "retain", 0.95, 1.0),
    ("retrained", "forget", 0.0, 0.15),
    ("projection-only", "forget", 0.0, 0.15),
    ("projection-only", "retain", 0.9, 1.0),
    ("gradient-ascent", "retain", 0.0, 0.6),
)
"""Model, split, and the range that the share of pictures whose caption comes first must lie in for the truth above."""
