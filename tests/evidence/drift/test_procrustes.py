"""Procrustes: the rotation and the distance by hand, no fit where there is nothing to fit, and planted states."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import orthogonal_procrustes

from audit.errors import CaseError, NotApplicable, NotIdentifiable
from audit.evidence.drift.procrustes import Procrustes, rotation, shares
from audit.stats import conclude
from tests.evidence.drift.moved import assert_exactly_as_original, assert_table_without_residual, collapsed, world

QUICK = Procrustes()


def test_a_quarter_turn_is_found_by_hand() -> None:
    # (1, 0), (0, 1) turned by 90 degrees are (0, 1), (-1, 0).
    onto, moved = np.array([[0.0, 1.0], [-1.0, 0.0]]), np.eye(2)
    assert rotation(moved, onto) == pytest.approx(np.array([[0, 1], [-1, 0]]))


def test_shares_average_to_the_distance_by_hand() -> None:
    # X = (2, 0), (0, 2), Y = (2, 0), (2, 0): <X, Y> = 4, |X| = |Y| = sqrt(8), so 1 - D^2 / 2 = 1/2: 1 and 0 by item.
    onto, moved = np.array([[2.0, 0.0], [0.0, 2.0]]), np.array([[2.0, 0.0], [2.0, 0.0]])
    assert shares(onto, moved).tolist() == pytest.approx([1.0, 0.0])
    distance = np.square(onto / np.sqrt(8) - moved / np.sqrt(8)).sum()
    assert shares(onto, moved).mean() == pytest.approx(1 - distance / 2)


def test_fewer_items_than_features_do_not_fake_a_fit() -> None:
    # Two unrelated clouds of 60 items (30 fitted) in 10 dimensions look alike to a rotation that saw the items it is
    # scored on, and unlike to one that did not.
    bench = world(100.0, reference=100.0)
    first, second = (bench.planted[role, "forget", "answer"][1].astype(float) for role in ("original", "candidate"))
    first, second = first - first.mean(0), second - second.mean(0)
    faked = shares(first, second @ orthogonal_procrustes(second, first)[0]).mean()
    table = pd.DataFrame(QUICK.measure(bench).rows).query("subject == 'candidate' and split == 'forget'")
    assert faked > 0.4
    assert abs(table.fit).max() < 0.25


def test_the_original_as_its_own_candidate_is_exactly_one() -> None:
    found = assert_exactly_as_original(QUICK.measure(world(0.0)))
    assert found.original.value == 1.0


def test_a_rotation_a_scale_and_a_shift_change_nothing() -> None:
    bench = world(0.0)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(10, 10)))[0]
    for split in ("forget", "retain", "holdout"):
        original = bench.planted["original", split, "answer"]
        bench.planted["candidate", split, "answer"] = (3 * original @ turn + 7).astype(np.float32)
    assert conclude(QUICK.measure(bench).panel).candidate.value == pytest.approx(1.0, abs=1e-4)


def test_a_tiny_move_is_no_jump_even_with_more_features_than_items() -> None:
    bench = world(0.0)
    rng = np.random.default_rng(2)
    for split in ("forget", "retain", "holdout"):
        scale = 0.9 ** np.arange(200)
        wide = (rng.normal(size=(3, 30, 200)) * scale).astype(np.float32)
        bench.planted["original", split, "answer"] = wide
        bench.planted["candidate", split, "answer"] = wide + np.float32(1e-3) * rng.normal(size=wide.shape).astype("f4")
        bench.planted["reference", split, "answer"] = (rng.normal(size=wide.shape) * scale).astype(np.float32)
    residual = conclude(QUICK.measure(bench).panel).residual
    assert residual is not None
    assert residual.low > 0.97


def test_a_small_move_is_near_the_original_and_a_large_one_near_the_reference() -> None:
    near, far = (conclude(QUICK.measure(world(size)).panel).residual for size in (0.1, 3.0))
    assert near is not None
    assert far is not None
    assert near.low > 0.9
    assert far.value == pytest.approx(0.0, abs=0.2)


def test_without_a_reference_there_is_a_table_and_no_residual() -> None:
    assert_table_without_residual("drift.procrustes", QUICK, world(1.0, with_reference=False))


def test_collapsed_states_one_entity_and_wrong_settings_say_so() -> None:
    with pytest.raises(NotIdentifiable, match="candidate.*block 2"):
        QUICK.measure(collapsed(world(1.0)))
    with pytest.raises(NotApplicable, match="at least 4 forget items; the case has 2"):
        QUICK.measure(world(1.0, entities=1))
    with pytest.raises(CaseError, match="at least 1 axis"):
        Procrustes(axes=0)
