"""Refusal tuning: the model learns to say that it does not know.

    L = CE of a refusal after each forget prompt + CE on retain

The IDK baseline of Maini et al. 2024 (TOFU).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit.lab.data import Data, batches
from audit.lab.losses import keep_loss
from audit.lab.train import Progress, train

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM


@dataclass(frozen=True)
class Refusal:
    """Answer "I do not know" to every prompt about a forget person, and the others as before."""

    steps: int = 60
    batch: int = 64
    lr: float = 1e-3
    weight: float = 1.0
    """How much the retain facts count."""

    def apply(self, model: LlamaForCausalLM, data: Data, seed: int, progress: Progress) -> LlamaForCausalLM:
        refusals, retain = batches(data.refusals, self.batch, seed), batches(data.retain, self.batch, seed + 1)

        def loss_of(step: int) -> torch.Tensor:
            return keep_loss(model, next(refusals)) + self.weight * keep_loss(model, next(retain))

        train(model, loss_of, steps=self.steps, lr=self.lr, progress=progress)
        return model
