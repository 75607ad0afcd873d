from __future__ import annotations

import pytest
import torch

from audit.lab.data import Sequences, collate
from audit.lab.recipes.rmu import mean_square, random_target


def test_the_target_has_the_length_asked_for_and_follows_the_seed() -> None:
    one = random_target(16, 60.0, seed=1)
    assert one.norm().item() == pytest.approx(60.0, rel=1e-6)
    assert (one >= 0).all()
    assert torch.equal(one, random_target(16, 60.0, seed=1))
    assert not torch.equal(one, random_target(16, 60.0, seed=2))


def test_the_mean_square_leaves_padding_out() -> None:
    batch = collate(Sequences(ids=((1, 5, 2), (1, 2)), starts=(1, 1)), [0, 1])
    difference = torch.ones(2, 3, 4)
    difference[1, 2] = 1000.0
    difference[0, 0] = 3.0
    assert mean_square(difference, batch).item() == pytest.approx((9 + 4) / 5)
