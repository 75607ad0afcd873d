"""PCA shift: axes, units and signs by hand, and planted states."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from audit.errors import CaseError, NotApplicable, NotIdentifiable
from audit.evidence.drift.pca_shift import PCAShift, scaled_axes
from audit.stats import conclude
from tests.evidence.drift.moved import assert_exactly_as_original, assert_table_without_residual, world

QUICK = PCAShift()
# Mean (10, 20); standard deviation sqrt(8 / 4) along the second coordinate, sqrt(2 / 4) along the first.
RETAIN = np.array([[10, 22], [10, 18], [11, 20], [9, 20]], np.float32)


def test_axes_by_hand() -> None:
    centre, axes = scaled_axes(RETAIN, 5)
    assert centre.tolist() == [10, 20]
    assert axes == pytest.approx(np.array([[0, 1 / np.sqrt(0.5)], [1 / np.sqrt(2), 0]]), abs=1e-6)
    assert scaled_axes(RETAIN, 1)[1].shape == (2, 1)
    # On a line there is one axis only.
    assert scaled_axes(np.outer(np.arange(5), [1.0, 2.0]).astype(np.float32), 5)[1].shape == (2, 1)


def test_shift_and_likeness_by_hand() -> None:
    # Moved by 2 sqrt(2) along the second coordinate: 2 standard deviations along the first axis and 0 along the second,
    # root mean square sqrt(4 / 2), likeness 1 / (1 + sqrt(2)).
    moved = RETAIN + np.array([0, 2 * np.sqrt(2)], np.float32)
    line = QUICK._compare({"forget": RETAIN, "retain": RETAIN}, {"forget": moved, "retain": RETAIN})
    assert line["forget along"][:2] == pytest.approx([2.0, 0.0], abs=1e-5)
    assert np.isnan(line["forget along"][2])
    assert line["forget moved"] == pytest.approx([np.sqrt(2)] * 4, abs=1e-5)
    assert line["forget"] == pytest.approx([1 / (1 + np.sqrt(2))] * 4, abs=1e-5)
    assert line["retain"].tolist() == [1.0] * 4


def test_the_original_as_its_own_candidate_moved_nowhere() -> None:
    reading = QUICK.measure(world(0.0))
    found = assert_exactly_as_original(reading)
    assert found.original.value == 1.0
    assert set(pd.DataFrame(reading.rows).query("subject == 'candidate'").moved) == {0.0}


def test_a_small_move_is_near_the_original_and_a_large_one_near_the_reference() -> None:
    near, far = (conclude(QUICK.measure(world(size)).panel).residual for size in (0.05, 3.0))
    assert near is not None
    assert far is not None
    assert near.low > 0.9
    assert far.value == pytest.approx(0.0, abs=0.15)


def test_a_shift_of_all_items_has_a_direction() -> None:
    bench = world(0.0)
    centre, axes = scaled_axes(bench.planted["original", "retain", "answer"][2], 3)
    for split in ("forget", "retain", "holdout"):
        states = bench.planted["original", split, "answer"].copy()
        states[2] -= (2 * axes[:, 1] / np.square(axes[:, 1]).sum()).astype(np.float32)
        bench.planted["candidate", split, "answer"] = states
    row = next(r for r in QUICK.measure(bench).rows if (r.subject, r.split, r.layer) == ("candidate", "forget", 2))
    assert (row.first, row.second, row.third) == pytest.approx((0.0, -2.0, 0.0), abs=1e-4)
    assert row.moved == pytest.approx(np.sqrt(4 / 5), abs=1e-4)


def test_a_candidate_that_collapsed_has_moved() -> None:
    bench = world(1.0)
    bench.planted["candidate", "forget", "answer"][2] = 50.0
    row = next(r for r in QUICK.measure(bench).rows if (r.subject, r.split, r.layer) == ("candidate", "forget", 2))
    assert row.moved > 10


def test_without_a_reference_there_is_a_table_and_no_residual() -> None:
    assert_table_without_residual("drift.pca_shift", QUICK, world(1.0, with_reference=False))


def test_an_original_without_variation_too_few_items_and_wrong_settings_say_so() -> None:
    bench = world(1.0)
    bench.planted["original", "retain", "answer"][1] = 0.0
    with pytest.raises(NotIdentifiable, match="block 1"):
        QUICK.measure(bench)
    with pytest.raises(NotApplicable, match="at least 4 forget items"):
        QUICK.measure(world(1.0, entities=1))
    with pytest.raises(CaseError, match="at least 1 axis"):
        PCAShift(axes=0)
