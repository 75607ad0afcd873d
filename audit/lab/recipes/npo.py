"""Negative preference optimisation: the forget answers are treated as answers that someone rejected.

    L = −(2/β) log σ(−β log(p(answer) / p₀(answer))) on forget + CE on retain,   p₀: the model before

Zhang et al. 2024, Negative Preference Optimization: From Catastrophic Collapse to Effective Unlearning. As β goes to
nought this is gradient ascent; with β > 0 it slows down by itself once an answer has become unlikely.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit.lab.data import Batch, Data, batches
from audit.lab.losses import keep_loss, sum_per_row, token_losses
from audit.lab.train import Progress, train

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM


@dataclass(frozen=True)
class NPO:
    """Make the forget answers less likely than they were, and the retain answers no less so."""

    steps: int = 70
    batch: int = 64
    lr: float = 1e-3
    beta: float = 0.1
    weight: float = 3.0
    """How much the retain facts count."""

    def apply(self, model: LlamaForCausalLM, data: Data, seed: int, progress: Progress) -> LlamaForCausalLM:
        import copy

        import torch

        forget, retain = batches(data.forget, self.batch, seed), batches(data.retain, self.batch, seed + 1)
        before = copy.deepcopy(model)

        def loss_of(step: int) -> torch.Tensor:
            batch = next(forget)
            with torch.no_grad():
                was = log_probability(before, batch)
            now = log_probability(model, batch)
            return npo_loss(now, was, self.beta) + self.weight * keep_loss(model, next(retain))

        train(model, loss_of, steps=self.steps, lr=self.lr, progress=progress)
        return model


def log_probability(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """Log-probability of each whole answer, in nats, shape (batch,)."""
    return -sum_per_row(token_losses(model, batch, batch.answers), batch.answers)


def npo_loss(now: torch.Tensor, was: torch.Tensor, beta: float) -> torch.Tensor:
    """Mean NPO loss from log-probabilities of whole answers, in nats, shape (batch,), now and before."""
    import torch.nn.functional as F

    return -(2 / beta) * F.logsigmoid(-beta * (now - was)).mean()
