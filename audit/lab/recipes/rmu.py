"""Representation misdirection: what a middle layer says about the forget facts is pushed in a random direction.

    L = ‖h(forget) − c u‖² + α ‖h(retain) − h₀(retain)‖²,   u: a random unit vector, h₀: the model before

Li et al. 2024, The WMDP Benchmark. Squares are averaged over tokens and width, as in its code. Only the MLPs of the
blocks just below the layer move.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit.lab.data import IGNORE, Batch, Data, batches
from audit.lab.train import Progress, train

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM


@dataclass(frozen=True)
class RMU:
    """Misdirect the output of one block for forget texts, and hold it for retain texts."""

    steps: int = 80
    batch: int = 64
    lr: float = 1e-2
    layer: int = 2
    """How many blocks lie below the layer that is pushed; their MLPs are what moves."""
    coefficient: float = 60.0
    """c, the length of the target, in the units of the hidden state."""
    alpha: float = 5.0

    def apply(self, model: LlamaForCausalLM, data: Data, seed: int, progress: Progress) -> LlamaForCausalLM:
        import copy

        import torch

        forget, retain = batches(data.forget, self.batch, seed), batches(data.retain, self.batch, seed + 1)
        before = copy.deepcopy(model)
        target = random_target(model.config.hidden_size, self.coefficient, seed)

        def loss_of(step: int) -> torch.Tensor:
            lost, kept = next(forget), next(retain)
            with torch.no_grad():
                anchor = hidden(before, kept, self.layer)
            push = mean_square(hidden(model, lost, self.layer) - target, lost)
            hold = mean_square(hidden(model, kept, self.layer) - anchor, kept)
            return push + self.alpha * hold

        moving = [p for block in model.model.layers[: self.layer] for p in block.mlp.parameters()]
        train(model, loss_of, steps=self.steps, lr=self.lr, progress=progress, parameters=moving)
        return model


def random_target(width: int, length: float, seed: int) -> torch.Tensor:
    """A vector of the given length whose direction is drawn uniformly from [0, 1) in every coordinate."""
    import torch

    direction = torch.rand(width, generator=torch.Generator().manual_seed(seed))
    return length * direction / direction.norm()


def hidden(model: LlamaForCausalLM, batch: Batch, layer: int) -> torch.Tensor:
    """The hidden state after `layer` blocks, shape (batch, length, width)."""
    states = model.model(input_ids=batch.ids, use_cache=False, output_hidden_states=True).hidden_states
    state: torch.Tensor = states[layer]
    return state


def mean_square(difference: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Mean square over the width and over the real tokens; difference (batch, length, width)."""
    return difference[batch.text != IGNORE].square().mean()
