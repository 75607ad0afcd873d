"""Gradient difference: ascent on what is to be forgotten, descent on what is to be kept.

    L = −CE on forget + CE on retain

The GD baseline of Maini et al. 2024 (TOFU), after Liu et al. 2022.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit.lab.data import Data, batches
from audit.lab.losses import answer_loss, keep_loss
from audit.lab.train import Progress, train

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM


@dataclass(frozen=True)
class GradientDifference:
    """Climb the loss of the forget answers while descending that of the retain answers."""

    steps: int = 60
    batch: int = 64
    lr: float = 2e-3
    weight: float = 6.0
    """How much the retain facts count."""

    def apply(self, model: LlamaForCausalLM, data: Data, seed: int, progress: Progress) -> LlamaForCausalLM:
        forget, retain = batches(data.forget, self.batch, seed), batches(data.retain, self.batch, seed + 1)

        def loss_of(step: int) -> torch.Tensor:
            return self.weight * keep_loss(model, next(retain)) - answer_loss(model, next(forget))

        train(model, loss_of, steps=self.steps, lr=self.lr, progress=progress)
        return model
