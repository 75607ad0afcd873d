"""An edit of the last decoder block alone: the answers are no longer said, and still there below.

    L = −log(1 − p(answer)) on forget + CE on retain

Every other weight is frozen, the tied embedding and the final norm included, so all lower layers stay identical to
the original's bit by bit. The first term is the unlikelihood of Welleck et al. 2020 (Neural Text Generation With
Unlikelihood Training), which unlike an ascent stops by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit.lab.data import Data, batches
from audit.lab.losses import keep_loss, token_losses
from audit.lab.train import Progress, train

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM


@dataclass(frozen=True)
class LastBlock:
    """Teach the last block not to say what the blocks below hand to it."""

    steps: int = 80
    batch: int = 64
    lr: float = 1e-2

    def apply(self, model: LlamaForCausalLM, data: Data, seed: int, progress: Progress) -> LlamaForCausalLM:
        forget, retain = batches(data.forget, self.batch, seed), batches(data.retain, self.batch, seed + 1)

        def loss_of(step: int) -> torch.Tensor:
            batch = next(forget)
            unlikely = unlikelihood(-token_losses(model, batch, batch.answers))
            return unlikely + keep_loss(model, next(retain))

        last = model.model.layers[-1].parameters()
        train(model, loss_of, steps=self.steps, lr=self.lr, progress=progress, parameters=last)
        return model


def unlikelihood(log_probability: torch.Tensor) -> torch.Tensor:
    """Mean of −log(1 − p), in nats, given log p of any shape; finite also where p is 1."""
    import torch

    return -torch.log1p(-log_probability.exp().clamp(max=1 - 1e-6)).mean()
