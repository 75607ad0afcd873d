"""Neighbours: the overlap by hand, chance, and controls on planted states."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from audit.errors import CaseError, NotApplicable, NotIdentifiable
from audit.evidence.drift.neighbours import Neighbours, nearest, overlap, unit
from audit.stats import conclude
from tests.evidence.drift.moved import assert_exactly_as_original, assert_table_without_residual, collapsed, world

QUICK = Neighbours(neighbours=5)


def test_neighbours_and_overlap_by_hand() -> None:
    # Directions at 0, 10, 30 and 90 degrees; lengths do not matter. Nearest two of each, itself left out:
    # 0 -> 10, 30; 10 -> 0, 30 (10 and 20 away); 30 -> 10, 0; 90 -> 30, 10.
    angles = np.deg2rad([0, 10, 30, 90])
    states = (np.stack([np.cos(angles), np.sin(angles)], 1) * [[1], [5], [2], [9]]).astype(np.float32)
    found = nearest(unit(states), unit(states), 2, within=True)
    assert found.tolist() == [[1, 2], [0, 2], [1, 0], [2, 1]]
    # Of {1, 2} and {2, 3} one in two is kept; of {0, 2} and {2, 0} both, in whatever order.
    assert overlap(np.array([[1, 2], [0, 2]]), np.array([[2, 3], [2, 0]])).tolist() == [0.5, 1.0]


def test_unrelated_states_are_at_chance() -> None:
    rng = np.random.default_rng(0)
    lists = [nearest(*[unit(rng.normal(size=(300, 20)).astype(np.float32))] * 2, 10, within=True) for _ in range(2)]
    assert overlap(*lists).mean() == pytest.approx(10 / 299, abs=0.01)


def test_the_original_as_its_own_candidate_keeps_all_neighbours() -> None:
    found = assert_exactly_as_original(QUICK.measure(world(0.0)))
    assert found.original.value == 1.0
    assert found.reference is not None
    assert found.reference.value < 0.6


def test_a_small_move_keeps_neighbours_and_a_large_one_does_not() -> None:
    near, far = (conclude(QUICK.measure(world(size)).panel).residual for size in (0.03, 3.0))
    assert near is not None
    assert far is not None
    assert near.low > 0.7
    assert far.value == pytest.approx(0.0, abs=0.1)


def test_the_table_leaves_out_layers_without_variation_and_gives_chance() -> None:
    table = pd.DataFrame(QUICK.measure(world(1.0)).rows)
    assert set(table.layer) == {1, 2}
    assert set(table.subject) == {"original", "candidate", "reference"}
    assert (table.low <= table.overlap).all()
    assert (table.overlap <= table.high).all()
    # 30 forget and 30 retain items: a forget item has 59 others, a holdout item 60.
    assert table.groupby("split").chance.first().to_dict() == {"forget": 5 / 59, "retain": 5 / 59, "holdout": 5 / 60}


def test_without_a_reference_there_is_a_table_and_no_residual() -> None:
    assert_table_without_residual("drift.neighbours", QUICK, world(1.0, with_reference=False))


def test_collapsed_states_too_few_items_and_wrong_settings_say_so() -> None:
    with pytest.raises(NotIdentifiable, match="candidate.*block 2"):
        QUICK.measure(collapsed(world(1.0)))
    with pytest.raises(NotApplicable, match="at least 40 forget items; the case has 30"):
        Neighbours(neighbours=40).measure(world(1.0))
    with pytest.raises(CaseError, match="Unknown position"):
        Neighbours(position="last")
    with pytest.raises(CaseError, match="at least 1 neighbour"):
        Neighbours(neighbours=0)
