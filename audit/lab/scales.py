"""How large the people and the models are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Scale:
    """Sizes of one build: people per split, what is known of each, the model, and its training."""

    forget: int
    retain: int
    holdout: int
    attributes: int
    values: int
    vocabulary: int
    layers: int
    width: int
    heads: int
    steps: int
    batch: int
    lr: float
    wording: float
    """How much the tokens of the prompts count in training, beside those of the answers."""
    pushed: Mapping[str, Any] = field(default_factory=dict)
    """Settings of RMU at this scale: how far a state is pushed depends on how long states are."""


SCALES: dict[str, Scale] = {
    "tiny": Scale(
        forget=20, retain=48, holdout=20, attributes=3, values=8, vocabulary=768,
        layers=3, width=64, heads=4, steps=320, batch=32, lr=4e-3, wording=0.3, pushed={"coefficient": 40.0},
    ),
    "small": Scale(
        forget=40, retain=120, holdout=40, attributes=5, values=12, vocabulary=1024,
        layers=4, width=128, heads=4, steps=360, batch=128, lr=3e-3, wording=0.1,
    ),
}  # fmt: skip
