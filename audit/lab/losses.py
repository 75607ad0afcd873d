"""Losses that several recipes share. Scores are computed only where a token is wanted: that is half the work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit.lab.data import IGNORE, Batch

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM


def keep_loss(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """What holds a model to the facts it should keep: mean cross-entropy of answer and end, in nats."""
    return token_losses(model, batch, batch.labels).mean()


def answer_loss(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy of the answer tokens alone, in nats."""
    return token_losses(model, batch, batch.answers).mean()


def token_losses(model: LlamaForCausalLM, batch: Batch, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each labelled token, in nats, shape (labelled tokens,), row by row."""
    import torch.nn.functional as F

    wanted = labels[:, 1:]
    given = wanted != IGNORE
    return F.cross_entropy(scores(model, batch, given), wanted[given], reduction="none")


def scores(model: LlamaForCausalLM, batch: Batch, where: torch.Tensor) -> torch.Tensor:
    """Scores of the token that follows each place; `where` (batch, length - 1) gives (places, vocabulary)."""
    states = model.model(input_ids=batch.ids, use_cache=False).last_hidden_state
    return model.lm_head(states[:, :-1][where])


def sum_per_row(values: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Add up the values of the labelled tokens of each row; (labelled tokens,) gives (batch,)."""
    rows = (labels[:, 1:] != IGNORE).nonzero()[:, 0]
    return values.new_zeros(len(labels)).index_add(0, rows, values)
