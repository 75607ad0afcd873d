"""scikit-learn's handwritten digits cut three ways, and the latents that the generators are asked to draw from.

Generators learn from one part of the images, the scorer from a second, the judge from a third, and a fourth tests both:
nobody who judges a drawing had a part in its making. One digit is to be forgotten, and one no generator ever saw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from audit.lab.digits.data import CLASSES, Split, grey
from audit.lab.digits.data import Data as Images

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

FORGOTTEN, UNSEEN = 3, 9
KEPT = tuple(digit for digit in range(10) if digit not in (FORGOTTEN, UNSEEN))


@dataclass(frozen=True)
class Scale:
    """Sizes of one build: latents per corpus, the generator, and how long models are trained."""

    forget: int
    retain: int
    """Latents of each kept digit."""
    holdout: int
    width: int
    steps: int
    scorer_steps: int
    lr: float = 3e-3
    batch: int = 64


SCALES: dict[str, Scale] = {
    "tiny": Scale(forget=40, retain=10, holdout=40, width=96, steps=600, scorer_steps=200),
    "small": Scale(forget=120, retain=40, holdout=120, width=160, steps=2600, scorer_steps=700),
}


@dataclass(frozen=True)
class Data:
    """Pixels [images, 1, 8, 8] from -1 to 1, their digits [images], and who may use which."""

    pixels: torch.Tensor
    digits: NDArray[np.intp]
    parts: dict[str, NDArray[np.intp]]
    """`generators`, `scorer`, `judge`, `test` → numbers of images."""

    def of(self, *digits: int) -> NDArray[np.intp]:
        """The images of some digits that generators learn from."""
        own = self.parts["generators"]
        return own[np.isin(self.digits[own], digits)]

    def labelled(self, part: str) -> Images:
        """The images of a part as a classifier's `retain` split, beside the test images."""
        splits = {"retain": part, "test": "test"}
        return Images(self.pixels, {k: Split(self.parts[v], self.digits[self.parts[v]]) for k, v in splits.items()})


def data_of(seed: int) -> Data:
    """The images and their parts, drawn anew for every seed."""
    import torch

    images, digits = grey()
    pixels = torch.from_numpy(images[:, None].astype(np.float32) / 127.5 - 1)
    order = np.random.default_rng([seed, 3]).permutation(len(digits))
    cuts = np.split(order, [547, 1047, 1597])
    return Data(pixels, digits, dict(zip(("generators", "scorer", "judge", "test"), cuts, strict=True)))


def corpora(scale: Scale, seed: int) -> dict[str, list[dict[str, object]]]:
    """The rows of each corpus: a seed, and the digit that is asked for."""
    rng = np.random.default_rng([seed, 4])
    wanted = {
        "forget": [FORGOTTEN] * scale.forget,
        "retain": [digit for digit in KEPT for _ in range(scale.retain)],
        "holdout": [UNSEEN] * scale.holdout,
    }
    number = sum(len(digits) for digits in wanted.values())
    seeds = iter(rng.choice(10**6, number, replace=False).tolist())
    return {
        split: [{"seed": next(seeds), "label": CLASSES[digit], "answer": CLASSES[digit]} for digit in digits]
        for split, digits in wanted.items()
    }
