"""What is true of each candidate by the way it was made, and the ranges that say whether the making succeeded."""

from __future__ import annotations

TRUTH: dict[str, dict[str, str | list[str]]] = {
    "untouched": {"verdict": ["present"], "why": "It is the original itself."},
    "retrained": {
        "verdict_not": ["present", "suppressed"],
        "why": "It was trained from nothing without the forgotten signs, so it never saw or read of them.",
    },
    "last-block": {
        "verdict": ["suppressed"],
        "why": "Only the last block of its language model was changed: everything below is bit by bit the original's.",
    },
    "projector-only": {
        "verdict_not": ["no_trace"],
        "why": (
            "Only its projector was changed: asked by name, without the image, every answer is bit by bit the "
            "original's."
        ),
    },
    "gradient-ascent": {
        "utility": ["damaged"],
        "why": "Its ascent went on, with nothing to hold the rest, until the kept signs were lost too.",
    },
}

LIMITS: tuple[tuple[str, str, float, float], ...] = (
    ("original", "forget images", 0.95, 1.0),
    ("original", "forget texts", 0.95, 1.0),
    ("original", "retain images", 0.95, 1.0),
    ("original", "retain texts", 0.95, 1.0),
    ("reference", "forget images", 0.0, 0.3),
    ("reference", "forget texts", 0.0, 0.4),
    ("reference", "retain images", 0.95, 1.0),
    ("retrained", "forget images", 0.0, 0.3),
    ("retrained", "forget texts", 0.0, 0.4),
    ("last-block", "forget images", 0.0, 0.2),
    ("last-block", "forget texts", 0.0, 0.2),
    ("last-block", "retain images", 0.9, 1.0),
    ("last-block", "retain texts", 0.9, 1.0),
    ("projector-only", "forget images", 0.0, 0.25),
    ("projector-only", "forget texts", 0.95, 1.0),
    ("projector-only", "retain images", 0.9, 1.0),
    ("gradient-ascent", "retain images", 0.0, 0.5),
)
"""Model, split and way of asking, and the range that its recall must lie in for the table above to be true."""
