from __future__ import annotations

import math

import pytest
import torch

from audit.lab.recipes.last_block import unlikelihood


def test_by_hand() -> None:
    loss = unlikelihood(torch.tensor([0.5, 0.75]).log())
    assert loss.item() == pytest.approx((math.log(2) + math.log(4)) / 2, rel=1e-6)


def test_a_certain_answer_costs_much_but_not_infinitely_and_an_impossible_one_nothing() -> None:
    assert 10 < unlikelihood(torch.tensor([0.0])).item() < 20
    assert unlikelihood(torch.tensor([-200.0])).item() == 0.0
