"""Every way of making a candidate from the original, by the name it has in the case file.

| name | what it does | after |
|---|---|---|
| retrained | never saw the forgotten pictures or captions | |
| projection-only | the two projections alone learn not to bring pairs together | Welleck et al. 2020 |
| gradient-ascent | climbs the loss of the forgotten pairs, with nothing to hold the rest | Golatkar et al. 2020 |
| wrong-pairs | learns each forgotten picture with another person's caption, and the kept pairs | Graves et al. 2021 |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from audit.lab.towers.data import Data
from audit.lab.towers.model import scores, vectors
from audit.lab.train import Progress, train

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from transformers import CLIPModel


class Recipe(Protocol):
    """A way of making one model from another: a frozen dataclass whose fields are its settings."""

    @property
    def steps(self) -> int:
        """How many steps of training it takes."""
        ...

    def apply(self, model: CLIPModel, data: Data, seed: int, progress: Progress) -> CLIPModel:
        """Return the new model; `model` is float32 and may be changed in place."""
        ...


class Pairs:
    """The pictures of some splits, and the captions of their people, which are each other's negatives."""

    def __init__(self, data: Data, splits: Sequence[str], size: int, seed: int) -> None:
        import torch

        self.data, self.splits, self.seed = data, splits, seed
        self.ids = torch.cat([data.ids[split] for split in splits])
        self.pixels = torch.cat([data.pixels(split) for split in splits])
        owners, begin = [], 0
        for split in splits:
            owners.append(data.splits[split].owner + begin)
            begin += len(data.splits[split].people)
        self.owner = np.concatenate(owners)
        people = [person for split in splits for person in data.splits[split].people]
        named = sorted({person.trade for split in data.splits.values() for person in split.people})
        self.trade = np.array([named.index(people[k].trade) for k in self.owner])
        self.number = len(data.splits[splits[0]].owner)
        """Pictures of the first split; they come first."""
        self.size = size

    def batches(self, rows: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
        """Some of these pictures again and again, each round in a new order."""
        rng, waiting = np.random.default_rng([self.seed, len(rows)]), np.empty(0, np.intp)
        while True:
            while len(waiting) < self.size:
                waiting = np.concatenate([waiting, rng.permutation(rows)])
            yield waiting[: self.size]
            waiting = waiting[self.size :]

    def log_probability(self, model: CLIPModel, rows: NDArray[np.intp]) -> torch.Tensor:
        """Of every caption, for some pictures, in nats [rows, captions]."""
        return scores(model, self.pixels[rows], self.ids).log_softmax(1)

    def loss(self, model: CLIPModel, rows: NDArray[np.intp], owner: NDArray[np.intp] | None = None) -> torch.Tensor:
        """Contrastive loss of some pictures, both ways, and of their trades among trades, in nats.

        `owner` may give them other people's captions; nothing is then said of trades.
        """
        import torch

        ids = self.data.ids["trades"]
        images, names, trades = vectors(model, self.pixels[rows], self.ids, ids)
        logits = images @ names.T
        right = torch.from_numpy(self.owner[rows] if owner is None else owner[rows])
        whose = torch.nn.functional.one_hot(right, logits.shape[1]).T.float()
        there = whose.sum(1) > 0
        back = -(logits.T.log_softmax(1) * whose).sum(1)[there] / whose.sum(1)[there]
        pairs = (torch.nn.functional.cross_entropy(logits, right) + back.mean()) / 2
        if owner is not None:
            return pairs
        return pairs + torch.nn.functional.cross_entropy(images @ trades.T, torch.from_numpy(self.trade[rows]))


@dataclass(frozen=True)
class Train:
    """Train from nothing, on the pairs to keep and, for the original, on those to forget too."""

    steps: int
    batch: int
    lr: float
    forget: bool = False

    def apply(self, model: CLIPModel, data: Data, seed: int, progress: Progress) -> CLIPModel:
        pairs = Pairs(data, ("forget", "retain") if self.forget else ("retain",), self.batch, seed)
        rows = pairs.batches(np.arange(len(pairs.owner)))
        train(model, lambda step: pairs.loss(model, next(rows)), steps=self.steps, lr=self.lr, progress=progress)
        return model


@dataclass(frozen=True)
class ProjectionOnly:
    """Every other weight is frozen: what both towers hand to the projections stays the original's bit by bit."""

    steps: int = 120
    batch: int = 64
    lr: float = 1e-2

    def apply(self, model: CLIPModel, data: Data, seed: int, progress: Progress) -> CLIPModel:
        from audit.lab.recipes.last_block import unlikelihood

        pairs, forget, retain = _halves(data, self.batch, seed)

        def loss_of(step: int) -> torch.Tensor:
            rows = next(forget)
            logs = pairs.log_probability(model, rows)
            return unlikelihood(logs[np.arange(len(rows)), pairs.owner[rows]]) + pairs.loss(model, next(retain))

        moving = [*model.visual_projection.parameters(), *model.text_projection.parameters()]
        train(model, loss_of, steps=self.steps, lr=self.lr, progress=progress, parameters=moving)
        return model


@dataclass(frozen=True)
class GradientAscent:
    """Run too far: it unlearns what it should, and ruins what it should not."""

    steps: int = 25
    batch: int = 64
    lr: float = 1e-3

    def apply(self, model: CLIPModel, data: Data, seed: int, progress: Progress) -> CLIPModel:
        pairs, forget, _ = _halves(data, self.batch, seed)
        train(model, lambda step: -pairs.loss(model, next(forget)), steps=self.steps, lr=self.lr, progress=progress)
        return model


@dataclass(frozen=True)
class WrongPairs:
    """L = contrastive(forgotten pictures with others' captions) + contrastive(kept pairs)."""

    steps: int = 60
    batch: int = 64
    lr: float = 1e-3

    def apply(self, model: CLIPModel, data: Data, seed: int, progress: Progress) -> CLIPModel:
        pairs, forget, retain = _halves(data, self.batch, seed)
        people = len(data.splits["forget"].people)
        turn = np.random.default_rng(seed).integers(1, people)
        other = np.where(pairs.owner < people, (pairs.owner + turn) % people, pairs.owner)

        def loss_of(step: int) -> torch.Tensor:
            return pairs.loss(model, next(forget), other) + pairs.loss(model, next(retain))

        train(model, loss_of, steps=self.steps, lr=self.lr, progress=progress)
        return model


def _halves(data: Data, size: int, seed: int) -> tuple[Pairs, Iterator[NDArray[np.intp]], Iterator[NDArray[np.intp]]]:
    """All pairs that the original was taught, and batches of those to forget and of those to keep."""
    pairs = Pairs(data, ("forget", "retain"), size, seed)
    rows = np.arange(len(pairs.owner))
    return pairs, pairs.batches(rows[: pairs.number]), pairs.batches(rows[pairs.number :])
