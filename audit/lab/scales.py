"""How large the people and the models are."""

from __future__ import annotations

from dataclasses import dataclass


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


SCALES: dict[str, Scale] = {
    "tiny": Scale(
        forget=20, retain=48, holdout=20, attributes=3, values=8, vocabulary=768,
        layers=3, width=64, heads=4, steps=220, batch=64, lr=5e-3,
    ),
    "small": Scale(
        forget=40, retain=120, holdout=40, attributes=5, values=12, vocabulary=1024,
        layers=4, width=128, heads=4, steps=360, batch=128, lr=3e-3,
    ),
}  # fmt: skip
