from __future__ import annotations

import math

import pytest
import torch

from audit.lab.recipes.npo import npo_loss


def test_an_unchanged_answer_costs_two_log_two_over_beta() -> None:
    same = torch.tensor([-3.0, -0.5])
    assert npo_loss(same, same, beta=0.1).item() == pytest.approx(20 * math.log(2), rel=1e-6)


def test_by_hand() -> None:
    """β = 0.5, the answer has become e² times less likely: −4 log σ(1) = 4 log(1 + e⁻¹)."""
    loss = npo_loss(torch.tensor([-4.0]), torch.tensor([-2.0]), beta=0.5)
    assert loss.item() == pytest.approx(4 * math.log(1 + math.exp(-1)), rel=1e-6)


def test_with_beta_near_nought_its_slope_is_that_of_ascent() -> None:
    now = torch.tensor([-2.0, -7.0], dtype=torch.float64, requires_grad=True)
    npo_loss(now, torch.tensor([-1.0, -1.0], dtype=torch.float64), beta=1e-6).backward()
    assert now.grad is not None
    torch.testing.assert_close(now.grad, torch.full((2,), 0.5, dtype=torch.float64), rtol=1e-4, atol=0)


def test_it_slows_down_once_an_answer_is_unlikely() -> None:
    now = torch.tensor([-1.0, -50.0], requires_grad=True)
    npo_loss(now, torch.tensor([-1.0, -1.0]), beta=0.5).backward()
    assert now.grad is not None
    assert now.grad[1] < 1e-6 < now.grad[0]
