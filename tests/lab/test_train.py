from __future__ import annotations

from typing import Any

import pytest
import torch

from audit.lab.train import cosine, train


def test_the_schedule_rises_for_a_tenth_and_falls_to_nought() -> None:
    rates = [cosine(step, 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == 1.0 and rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5) and rates[100] == pytest.approx(0.0)
    assert all(0 < cosine(step, 1) <= 1 for step in range(1))


def test_only_the_given_parameters_move_and_progress_is_told_of_every_step(micro_model: Any, weights: Any) -> None:
    before, told = weights(micro_model), []
    last = micro_model.model.layers[-1]

    def loss_of(step: int) -> torch.Tensor:
        return micro_model(input_ids=torch.ones(1, 3, dtype=torch.long)).logits.square().mean()

    train(
        micro_model,
        loss_of,
        steps=4,
        lr=1e-2,
        progress=lambda fraction, message: told.append(fraction),
        parameters=last.parameters(),
    )
    changed = {name for name, tensor in micro_model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed and all(name.startswith("model.layers.2.") for name in changed)
    assert told == [0.25, 0.5, 0.75, 1.0]
