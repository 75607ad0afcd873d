"""scikit-learn's handwritten digits (1,797 images of 8 by 8 pixels), cut into what is to be forgotten, kept and unseen.

Three kinds of forgetting, each with models of its own. `samples`: some training images had wrong labels, and are to be
forgotten; a wrong label can only be known by heart, so a model that never saw the image never says it. `class`: every
image of one digit is to be forgotten; all labels are right. `semantic`: so is everything that has one meaning, over
several classes, here the digits that are drawn with a closed loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

CLASSES = tuple(str(digit) for digit in range(10))
GROUPS = {"class": (3,), "semantic": (0, 6, 8, 9)}
"""Kind of forgetting → the digits of which every image is to be forgotten."""
STEP = 15
"""Grey levels of the stored images for one of the data set's 16."""


@dataclass(frozen=True)
class Scale:
    """Sizes of one build: images per split, the model, and how long the first models are trained."""

    forget: int
    holdout: int
    retain: int
    width: int
    blocks: int
    steps: int
    lr: float = 2e-3
    batch: int = 64


SCALES: dict[str, Scale] = {
    "tiny": Scale(forget=60, holdout=200, retain=500, width=48, blocks=2, steps=400),
    "small": Scale(forget=120, holdout=360, retain=1317, width=48, blocks=3, steps=1000),
}


@dataclass(frozen=True)
class Split:
    """Some images: their numbers in the data set [images] and the labels that the models are taught [images]."""

    images: NDArray[np.intp]
    labels: NDArray[np.intp]


@dataclass(frozen=True)
class Data:
    """One kind of forgetting: all pixels, and the splits."""

    pixels: torch.Tensor
    """[images, 1, 8, 8], as the processor gives them: -1 to 1."""
    splits: Mapping[str, Split]

    def batch(self, split: str, rows: Sequence[int] | NDArray[np.intp]) -> tuple[torch.Tensor, torch.Tensor]:
        """Pixels and labels of some rows of a split."""
        import torch

        part = self.splits[split]
        return self.pixels[part.images[rows]], torch.from_numpy(part.labels[rows])


def grey() -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
    """All images as grey levels [1797, 8, 8] and the digits that they show [1797]."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return (found.images * STEP).astype(np.uint8), found.target.astype(np.intp)


def kinds(scale: Scale, seed: int) -> dict[str, Data]:
    """The splits of every kind of forgetting; drawn anew for every seed."""
    import torch

    images, digits = grey()
    pixels = torch.from_numpy(images[:, None].astype(np.float32) / 127.5 - 1)
    rng = np.random.default_rng([seed, 2])
    order = rng.permutation(len(digits))
    forget, holdout, retain = np.split(order, np.cumsum([scale.forget, scale.holdout]))
    retain = retain[: scale.retain]
    wrong = (digits[forget] + rng.integers(1, 10, len(forget))) % 10
    taught = np.concatenate([forget, retain])
    unseen = Split(holdout, digits[holdout])
    samples = {"forget": Split(forget, wrong), "retain": Split(retain, digits[retain]), "holdout": unseen}
    found = {"samples": Data(pixels, samples)}
    for kind, group in GROUPS.items():
        gone = np.isin(digits[taught], group)
        parts = {"forget": taught[gone], "retain": taught[~gone]}
        splits = {name: Split(own, digits[own]) for name, own in parts.items()}
        found[kind] = Data(pixels, {**splits, "holdout": unseen})
    return found
