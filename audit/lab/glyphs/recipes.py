"""Every way of making a candidate from the original, by the name it has in the case file.

| name | what it does | after |
|---|---|---|
| retrained | never saw the forgotten signs | |
| last-block | the last block of the language model alone learns not to say what the blocks below hand to it | Welleck et al. 2020 (unlikelihood) |
| projector-only | the projector alone learns to show the language model something else for the forgotten images | |
| gradient-ascent | climbs the loss of the forgotten answers, with nothing to hold the rest | Maini et al. 2024 (TOFU) |
"""  # noqa: E501

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from audit.lab.data import IGNORE
from audit.lab.glyphs.model import Data, token_losses
from audit.lab.recipes.last_block import unlikelihood
from audit.lab.train import Progress, train

if TYPE_CHECKING:
    import torch
    from transformers import LlavaForConditionalGeneration


class Recipe(Protocol):
    """A way of making one model from another: a frozen dataclass whose fields are its settings."""

    @property
    def steps(self) -> int:
        """How many steps of training it takes."""
        ...

    def apply(
        self, model: LlavaForConditionalGeneration, data: Data, seed: int, progress: Progress
    ) -> LlavaForConditionalGeneration:
        """Return the new model; `model` is float32 and may be changed in place."""
        ...


@dataclass(frozen=True)
class Train:
    """Train from nothing on what is to be kept and, for the original, on what is to be forgotten too.

    Names and wordings are learnt along with the answers, at a tenth of the weight.
    """

    steps: int
    batch: int
    lr: float
    forget: bool = False
    weight: float = 0.1

    def apply(
        self, model: LlavaForConditionalGeneration, data: Data, seed: int, progress: Progress
    ) -> LlavaForConditionalGeneration:
        taught = data.batches(["forget", "retain"] if self.forget else ["retain"], self.batch, seed)

        def loss_of(step: int) -> torch.Tensor:
            batch = next(taught)
            losses = token_losses(model, batch, batch.text)
            wanted = batch.labels[:, 1:][batch.text[:, 1:] != IGNORE] != IGNORE
            return losses[wanted].mean() + self.weight * losses.mean()

        train(model, loss_of, steps=self.steps, lr=self.lr, progress=progress)
        return model


@dataclass(frozen=True)
class LastBlock:
    """Every other weight is frozen: what the blocks below hand to the last one stays the original's bit by bit."""

    steps: int = 100
    batch: int = 32
    lr: float = 1e-2

    def apply(
        self, model: LlavaForConditionalGeneration, data: Data, seed: int, progress: Progress
    ) -> LlavaForConditionalGeneration:
        last = model.model.language_model.layers[-1].parameters()
        _unsay(model, data, self, ("forget", "retain"), seed, progress, last)
        return model


@dataclass(frozen=True)
class ProjectorOnly:
    """Vision encoder and language model stay the original's bit by bit, and so does every answer without an image."""

    steps: int = 80
    batch: int = 32
    lr: float = 1e-2

    def apply(
        self, model: LlavaForConditionalGeneration, data: Data, seed: int, progress: Progress
    ) -> LlavaForConditionalGeneration:
        projector = model.model.multi_modal_projector.parameters()
        _unsay(model, data, self, ("forget images", "retain images"), seed, progress, projector)
        return model


@dataclass(frozen=True)
class GradientAscent:
    """Run too far: it unlearns what it should, and ruins what it should not."""

    steps: int = 30
    batch: int = 32
    lr: float = 5e-4

    def apply(
        self, model: LlavaForConditionalGeneration, data: Data, seed: int, progress: Progress
    ) -> LlavaForConditionalGeneration:
        forget = data.batches(["forget"], self.batch, seed)

        def loss_of(step: int) -> torch.Tensor:
            batch = next(forget)
            return -token_losses(model, batch, batch.answers).mean()

        train(model, loss_of, steps=self.steps, lr=self.lr, progress=progress)
        return model


def _unsay(
    model: LlavaForConditionalGeneration,
    data: Data,
    how: LastBlock | ProjectorOnly,
    names: tuple[str, str],
    seed: int,
    progress: Progress,
    moving: object,
) -> None:
    """Teach some weights not to say the answers of the first rows, and to go on saying those of the second."""
    forget, retain = data.batches(names[:1], how.batch, seed), data.batches(names[1:], how.batch, seed + 1)

    def loss_of(step: int) -> torch.Tensor:
        batch, kept = next(forget), next(retain)
        unlikely = unlikelihood(-token_losses(model, batch, batch.answers))
        return unlikely + token_losses(model, kept, kept.labels).mean()

    train(model, loss_of, steps=how.steps, lr=how.lr, progress=progress, parameters=moving)  # type: ignore[arg-type]
