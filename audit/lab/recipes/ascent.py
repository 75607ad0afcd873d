"""Gradient ascent run too far: it unlearns what it should, and ruins what it should not.

    L = −CE on forget

The GA baseline of Maini et al. 2024 (TOFU), with nothing to hold the rest and more steps than it can bear.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit.lab.data import Data, batches
from audit.lab.losses import answer_loss
from audit.lab.train import Progress, train

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM


@dataclass(frozen=True)
class GradientAscent:
    """Climb the loss of the forget answers."""

    steps: int = 40
    batch: int = 64
    lr: float = 5e-4

    def apply(self, model: LlamaForCausalLM, data: Data, seed: int, progress: Progress) -> LlamaForCausalLM:
        forget = batches(data.forget, self.batch, seed)

        def loss_of(step: int) -> torch.Tensor:
            return -answer_loss(model, next(forget))

        train(model, loss_of, steps=self.steps, lr=self.lr, progress=progress)
        return model
