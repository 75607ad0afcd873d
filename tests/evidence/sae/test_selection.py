"""What the evidence on features shares: choosing features, and comparing activations."""

from __future__ import annotations

import numpy as np
import pytest

from audit.evidence.sae._features import both_ways, label_ratio
from audit.evidence.sae.clamp import pick
from audit.evidence.sae.shared import overlap


def test_label_ratio_by_hand() -> None:
    # Labels 0 0 1 1. Feature 0 = (0, 2, 4, 6): means 1 and 5, grand 3: between 2*4 + 2*4 = 16, within 1+1+1+1 = 4 -> 4.
    # Feature 1 = (1, 3, 1, 3): both means 2, between 0 -> 0. Feature 2 never varies -> 0.
    x = np.array([[0, 1, 5], [2, 3, 5], [4, 1, 5], [6, 3, 5]], np.float32)
    assert label_ratio(x, np.array([0, 0, 1, 1])).tolist() == pytest.approx([4.0, 0.0, 0.0])


def test_a_feature_that_is_its_label_beats_one_that_nearly_is() -> None:
    x = np.array([[0, 0.1], [0, 0.0], [1, 1.0], [1, 0.9]], np.float32)
    ratio = label_ratio(x, np.array([0, 0, 1, 1]))
    assert np.isfinite(ratio).all()
    assert ratio[0] > 1e6 > ratio[1] > 50


def test_overlap_by_hand() -> None:
    # (1, 2, 0) and (2, 1, 1): common 1 + 1 + 0 = 2, either 2 + 2 + 1 = 5.
    mine = np.array([[1, 2, 0], [0, 0, 0], [3, 0, 0]], np.float32)
    original = np.array([[2, 1, 1], [0, 0, 0], [0, 4, 0]], np.float32)
    assert overlap(mine, original).tolist() == pytest.approx([0.4, 1.0, 0.0])
    assert overlap(original, original).tolist() == [1.0, 1.0, 1.0]


def test_the_heaviest_features_are_chosen_and_the_random_ones_are_others_that_fire() -> None:
    weights = np.array([[0.0, 5.0, 1.0, 0.0, 4.0, 0.0, 0.0, 0.0]] * 3)
    active = np.array([[1, 1, 1, 0, 1, 1, 0, 1]] * 3, np.float32)
    chosen, random = pick(weights, active, 2, np.random.default_rng(0))
    assert sorted(chosen.tolist()) == [1, 4]
    assert len(random) == 2
    assert not set(random) & {1, 4}
    assert set(random) <= {0, 2, 5, 7}


def test_choosing_and_scoring_never_meet() -> None:
    entities = [f"e{i // 2}" for i in range(20)]
    ways = both_ways(entities, 0)
    assert sum(score.sum() for _, score in ways) == 20
    for choose, score in ways:
        assert not (choose & score).any()
        assert not {entities[i] for i in np.flatnonzero(choose)} & {entities[i] for i in np.flatnonzero(score)}
