"""Every way of making a candidate from the original, by the name it has in the case file.

| name | what it does | after |
|---|---|---|
| retrained | never saw the forgotten images | |
| head-only | the last linear layer alone learns not to name the class | Welleck et al. 2020 (unlikelihood) |
| gradient-ascent | climbs the loss of the forgotten images, with nothing to hold the rest | Golatkar et al. 2020 |
| random-labels | learns a random label for each forgotten image, and the kept ones | Graves et al. 2021 |
| saliency-masking | the same, of the half of the weights that the forgotten images' gradient is largest in | SalUn, Fan et al. 2024 |
| label-agnostic | moves the forgotten images' representations, without their labels | LAF, Shen et al. 2024 |
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from audit.lab.digits.data import Data
from audit.lab.train import Progress, train

if TYPE_CHECKING:
    import torch
    from transformers import ViTForImageClassification


class Recipe(Protocol):
    """A way of making one model from another: a frozen dataclass whose fields are its settings."""

    @property
    def steps(self) -> int:
        """How many steps of training it takes."""
        ...

    def apply(
        self, model: ViTForImageClassification, data: Data, seed: int, progress: Progress
    ) -> ViTForImageClassification:
        """Return the new model; `model` is float32 and may be changed in place."""
        ...


def batches(data: Data, split: str, size: int, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Pixels and labels again and again, each round in a new order."""
    number = len(data.splits[split].labels)
    rng, waiting = np.random.default_rng([seed, number]), np.empty(0, np.intp)
    while True:
        while len(waiting) < size:
            waiting = np.concatenate([waiting, rng.permutation(number)])
        rows, waiting = waiting[:size], waiting[size:]
        yield data.batch(split, rows)


def loss_on(model: ViTForImageClassification, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Mean cross entropy, in nats."""
    import torch

    return torch.nn.functional.cross_entropy(model(pixel_values=batch[0]).logits, batch[1])


@dataclass(frozen=True)
class Train:
    """Train from nothing, on the images to keep and, for the original, on those to forget too."""

    steps: int
    batch: int
    lr: float
    forget: bool = False

    def apply(
        self, model: ViTForImageClassification, data: Data, seed: int, progress: Progress
    ) -> ViTForImageClassification:
        everything = _joined(data) if self.forget else data
        rows = batches(everything, "retain", self.batch, seed)
        train(model, lambda step: loss_on(model, next(rows)), steps=self.steps, lr=self.lr, progress=progress)
        return model


@dataclass(frozen=True)
class HeadOnly:
    """Every other weight is frozen: what the blocks hand to the head stays the original's bit by bit."""

    steps: int = 200
    batch: int = 128
    lr: float = 1e-2

    def apply(
        self, model: ViTForImageClassification, data: Data, seed: int, progress: Progress
    ) -> ViTForImageClassification:
        from audit.lab.recipes.last_block import unlikelihood

        forget, retain = batches(data, "forget", self.batch, seed), batches(data, "retain", self.batch, seed)

        def loss_of(step: int) -> torch.Tensor:
            pixels, labels = next(forget)
            logs = model(pixel_values=pixels).logits.log_softmax(1).gather(1, labels[:, None])
            return unlikelihood(logs) + loss_on(model, next(retain))

        moving = model.classifier.parameters()
        train(model, loss_of, steps=self.steps, lr=self.lr, progress=progress, parameters=moving)
        return model


@dataclass(frozen=True)
class GradientAscent:
    """Run too far: it unlearns what it should, and ruins what it should not."""

    steps: int = 40
    batch: int = 64
    lr: float = 1e-3

    def apply(
        self, model: ViTForImageClassification, data: Data, seed: int, progress: Progress
    ) -> ViTForImageClassification:
        forget = batches(data, "forget", self.batch, seed)
        train(model, lambda step: -loss_on(model, next(forget)), steps=self.steps, lr=self.lr, progress=progress)
        return model


@dataclass(frozen=True)
class RandomLabels:
    """L = CE(a random other label) on forget + CE on retain; with `share` below 1, in the salient weights alone."""

    steps: int = 120
    batch: int = 64
    lr: float = 1e-3
    share: float = 1.0

    def apply(
        self, model: ViTForImageClassification, data: Data, seed: int, progress: Progress
    ) -> ViTForImageClassification:
        import torch

        handles = self._hold(model, data) if self.share < 1 else []
        forget, retain = batches(data, "forget", self.batch, seed), batches(data, "retain", self.batch, seed)
        others = torch.Generator().manual_seed(seed)

        def loss_of(step: int) -> torch.Tensor:
            pixels, labels = next(forget)
            classes = model.config.num_labels
            other = (labels + torch.randint(1, classes, labels.shape, generator=others)) % classes
            return loss_on(model, (pixels, other)) + loss_on(model, next(retain))

        train(model, loss_of, steps=self.steps, lr=self.lr, progress=progress)
        for handle in handles:
            handle.remove()
        return model

    def _hold(self, model: ViTForImageClassification, data: Data) -> list[torch.utils.hooks.RemovableHandle]:
        """Hooks that take the gradient of every weight below the median away, so that it stays bit by bit."""
        import torch

        pixels, labels = data.batch("forget", range(len(data.splits["forget"].labels)))
        model.requires_grad_(True)
        loss_on(model, (pixels, labels)).backward()
        moving = list(model.parameters())
        sizes = [torch.zeros_like(p) if p.grad is None else p.grad.abs() for p in moving]
        limit = torch.cat([size.flatten() for size in sizes]).quantile(1 - self.share)
        model.zero_grad()
        return [
            p.register_hook(lambda gradient, kept=size > limit: gradient * kept)
            for p, size in zip(moving, sizes, strict=True)
        ]


@dataclass(frozen=True)
class SaliencyMasking(RandomLabels):
    """Half of the weights, those that the loss of the forgotten images moves most."""

    steps: int = 160
    lr: float = 2e-3
    share: float = 0.5


def _joined(data: Data) -> Data:
    """The images to forget among those to keep."""
    from audit.lab.digits.data import Split

    parts = [data.splits[name] for name in ("forget", "retain")]
    every = Split(np.concatenate([p.images for p in parts]), np.concatenate([p.labels for p in parts]))
    return Data(data.pixels, {**data.splits, "retain": every})
