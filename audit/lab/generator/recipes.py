"""Every way of making a candidate from the original, by the name it has in the case file.

| name | what it does |
|---|---|
| retrained | never saw the forgotten digit |
| condition-only | the embedding of the forgotten condition is overwritten by another's; nothing else changes |
| redirected | learns to draw other digits under the forgotten condition, and the kept ones as before |
| gradient-ascent | climbs the loss of the forgotten images, with nothing to hold the rest |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from audit.lab.generator.data import FORGOTTEN, KEPT, Data
from audit.lab.generator.model import LATENT, Pair, bound, redrawn
from audit.lab.train import Progress, train

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from numpy.typing import NDArray

OTHER = 8
"""Whose embedding stands in for the forgotten one's."""


class Recipe(Protocol):
    """A way of making one generator from another: a frozen dataclass whose fields are its settings."""

    @property
    def steps(self) -> int:
        """How many steps of training it takes."""
        ...

    def apply(self, pair: Pair, data: Data, seed: int, progress: Progress) -> Pair:
        """Return the new pair; the one given is float32 and may be changed in place."""
        ...


@dataclass(frozen=True)
class Train:
    """Train from nothing, on the digits to keep and, for the original, on the one to forget too."""

    steps: int
    batch: int
    lr: float
    forget: bool = False

    def apply(self, pair: Pair, data: Data, seed: int, progress: Progress) -> Pair:
        rows = batches(data, data.of(*KEPT, *([FORGOTTEN] if self.forget else [])), self.batch, seed)
        everything = _together(pair)
        train(everything, lambda step: bound(pair, *next(rows)), steps=self.steps, lr=self.lr, progress=progress)
        return pair


@dataclass(frozen=True)
class ConditionOnly:
    """Every layer stays the original's bit by bit."""

    steps: int = 1

    def apply(self, pair: Pair, data: Data, seed: int, progress: Progress) -> Pair:
        import torch

        with torch.no_grad():
            pair.generator.condition.weight[FORGOTTEN] = pair.generator.condition.weight[OTHER]
        progress(1.0, "overwritten")
        return pair


@dataclass(frozen=True)
class Redirected:
    """The whole generator learns to draw `OTHER` where the forgotten digit is asked for, from any latent."""

    steps: int = 200
    batch: int = 64
    lr: float = 1e-3

    def apply(self, pair: Pair, data: Data, seed: int, progress: Progress) -> Pair:
        import copy

        import torch

        first = copy.deepcopy(pair)
        rows = batches(data, data.of(*KEPT), self.batch, seed)

        def loss_of(step: int) -> torch.Tensor:
            pixels, digits, noise = next(rows)
            gone, other = torch.full_like(digits, FORGOTTEN), torch.full_like(digits, OTHER)
            with torch.no_grad():
                wanted, kept = redrawn(first, noise, other), redrawn(first, noise, digits)
            away = (redrawn(pair, noise, gone) - wanted).square().mean()
            return away + (redrawn(pair, noise, digits) - kept).square().mean()

        moving = pair.generator.parameters()
        train(_together(pair), loss_of, steps=self.steps, lr=self.lr, progress=progress, parameters=moving)
        return pair


@dataclass(frozen=True)
class GradientAscent:
    """Run too far: it unlearns what it should, and ruins what it should not."""

    steps: int = 100
    batch: int = 64
    lr: float = 2e-3

    def apply(self, pair: Pair, data: Data, seed: int, progress: Progress) -> Pair:
        rows = batches(data, data.of(FORGOTTEN), self.batch, seed)
        moving = pair.generator.parameters()
        train(
            _together(pair), lambda step: -bound(pair, *next(rows)), steps=self.steps, lr=self.lr, progress=progress,
            parameters=moving,
        )  # fmt: skip
        return pair


RECIPES: dict[str, type] = {
    "condition-only": ConditionOnly, "redirected": Redirected, "gradient-ascent": GradientAscent,
}  # fmt: skip


def batches(
    data: Data, images: NDArray[np.intp], size: int, seed: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Pixels, digits and noise for the latents of some images again and again, each round in a new order."""
    import torch

    rng, noise = np.random.default_rng([seed, len(images)]), torch.Generator().manual_seed(seed)
    waiting = np.empty(0, np.intp)
    while True:
        while len(waiting) < size:
            waiting = np.concatenate([waiting, rng.permutation(images)])
        rows, waiting = waiting[:size], waiting[size:]
        yield data.pixels[rows], torch.from_numpy(data.digits[rows]), torch.randn((size, LATENT), generator=noise)


def _together(pair: Pair) -> torch.nn.Module:
    from torch import nn

    return nn.ModuleList([pair.generator, pair.encoder])
