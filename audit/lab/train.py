"""The one training loop of the lab."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Progress = Callable[[float, str], None]


def part(progress: Progress, start: float, share: float, name: str = "") -> Progress:
    """A progress function for a share of the whole that begins at `start`; `name` goes before its messages."""
    before = f"{name}: " if name else ""
    return lambda fraction, message: progress(start + share * fraction, before + message)


def train(
    model: PreTrainedModel,
    loss_of: Callable[[int], torch.Tensor],
    *,
    steps: int,
    lr: float,
    progress: Progress,
    parameters: Iterable[torch.nn.Parameter] | None = None,
) -> None:
    """Minimise `loss_of(step)` in place with AdamW, one-tenth of the steps warming up, then a cosine to zero.

    Only `parameters` move (default: all). Dropout is never on, so a run depends on its batches alone.
    """
    import torch

    moving = list(model.parameters() if parameters is None else parameters)
    optimizer = torch.optim.AdamW(moving, lr=lr, weight_decay=0.0, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine(step, steps))
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for parameter in moving:
        parameter.requires_grad_(True)
    for step in range(steps):
        loss = loss_of(step)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(moving, 1.0)
        optimizer.step()
        schedule.step()
        progress((step + 1) / steps, f"step {step + 1} of {steps}, loss {loss.item():.3f}")


def cosine(step: int, steps: int) -> float:
    """The learning rate at a step, as a fraction of its peak: a tenth of the steps up, the rest down."""
    warmup = max(1, steps // 10)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
