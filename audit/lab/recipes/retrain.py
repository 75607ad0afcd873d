"""Training from nothing: the original learns everything, a retrained model never sees the forget facts.

    L = CE(answer) + weight CE(all tokens)

The names and wordings are learnt along with the answers: a model that must also predict names learns sooner which
name is meant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit.lab.data import IGNORE, Data, batches
from audit.lab.losses import token_losses
from audit.lab.models import random_model
from audit.lab.train import Progress, train

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM


@dataclass(frozen=True)
class Retrain:
    """A new model with the architecture of the given one, whose weights play no part."""

    steps: int
    batch: int
    lr: float
    forget: bool = False
    """Whether the facts to be forgotten are taught as well: true for the original only."""
    weight: float = 0.1

    def apply(self, model: LlamaForCausalLM, data: Data, seed: int, progress: Progress) -> LlamaForCausalLM:
        new = random_model(model.config, seed)
        taught = batches(data.forget + data.retain if self.forget else data.retain, self.batch, seed)

        def loss_of(step: int) -> torch.Tensor:
            batch = next(taught)
            losses = token_losses(new, batch, batch.text)
            wanted = batch.labels[:, 1:][batch.text[:, 1:] != IGNORE] != IGNORE
            return losses[wanted].mean() + self.weight * losses.mean()

        train(new, loss_of, steps=self.steps, lr=self.lr, progress=progress)
        return new
