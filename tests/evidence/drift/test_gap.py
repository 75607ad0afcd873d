"""Gap: distance and AUC by hand, identical, moved and collapsed clouds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from audit.errors import CaseError, NotApplicable, NotIdentifiable
from audit.evidence.drift.gap import Gap, auc, gap, told
from audit.probing import grouped_folds
from audit.stats import conclude
from tests.evidence.drift.moved import assert_exactly_as_original, assert_table_without_residual, collapsed, world
from tests.evidence.probes.planted import PlantedBench

QUICK = Gap(draws=50)


def test_gap_by_hand() -> None:
    # Points at distance 2 from their centre (0, 0); the other cloud's centre is (3, 4), at distance 5: 5 / 2.
    x = np.array([[2, 0], [-2, 0], [0, 2], [0, -2]], np.float32)
    assert gap(x, x + np.array([3, 4], np.float32)) == pytest.approx(2.5)


def test_auc_by_hand() -> None:
    # Fold 0: second 3 and 1 against first 2 and 1: 3 > 2, 3 > 1, 1 < 2, 1 = 1, so 2.5 of 4. Fold 1: 0 < 5, 0 of 1.
    first, second, fold = np.array([2.0, 1.0, 5.0]), np.array([3.0, 1.0, 0.0]), np.array([0, 0, 1])
    weights = np.array([[1.0, 1, 1], [1, 1, 0], [2, 0, 0]])
    assert auc(first, second, fold, weights) == pytest.approx([2.5 / 5, 2.5 / 4, 1.0])


def test_auc_in_one_fold_is_that_of_sklearn() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=30).round(1), rng.normal(0.5, 1, size=30).round(1)
    expected = roc_auc_score(np.repeat([0, 1], 30), np.concatenate([first, second]))
    assert auc(first, second, np.zeros(30, np.intp), np.ones((1, 30)))[0] == pytest.approx(expected)


def test_clouds_of_one_distribution_are_told_apart_no_better_than_by_a_coin_even_in_many_dimensions() -> None:
    rng = np.random.default_rng(1)
    names = [f"entity {k}" for k in range(60)]
    fold = grouped_folds(names)
    found = []
    for _ in range(5):
        x, y = (rng.normal(size=(60, 100)).astype(np.float32) for _ in range(2))
        found.append(auc(*told(x, y, fold), fold, np.ones((1, 60)))[0])
    assert np.mean(found) == pytest.approx(0.5, abs=0.08)


def shifted(candidate: float, reference: float = 3.0, with_reference: bool = True) -> PlantedBench:
    """The original's states, moved by a fixed amount along every coordinate."""
    bench = world(0.0, with_reference=with_reference)
    for role, size in (("candidate", candidate), ("reference", reference)):
        for split in ("forget", "retain", "holdout"):
            moved = bench.planted["original", split, "answer"].copy()
            moved[1:] += np.float32(size)
            bench.planted[role, split, "answer"] = moved
    return bench


def test_the_original_as_its_own_candidate_has_no_gap() -> None:
    reading = QUICK.measure(shifted(0.0))
    found = assert_exactly_as_original(reading)
    assert found.original.value == 1.0
    table = pd.DataFrame(reading.rows).query("subject == 'candidate'")
    assert set(table.auc) == set(table.low) == set(table.high) == {0.5}
    assert set(table.gap) == {0.0}
    assert "cannot be told" in reading.note


def test_a_translated_cloud_is_found_by_both_on_forget_and_on_retain() -> None:
    bench = shifted(3.0)
    table = pd.DataFrame(QUICK.measure(bench).rows).query("subject == 'candidate'")
    assert set(table.split) == {"forget", "retain", "holdout"}
    assert (table.auc > 0.99).all()
    assert (table.gap > 1).all()
    # With one block of two as in the original, half of the headline is left.
    for split in ("forget", "retain", "holdout"):
        bench.planted["candidate", split, "answer"][1] = bench.planted["original", split, "answer"][1]
    residual = conclude(QUICK.measure(bench).panel).residual
    assert residual is not None
    assert residual.value == pytest.approx(0.5, abs=0.01)


def test_where_the_reference_cannot_be_told_from_the_original_there_is_no_residual() -> None:
    found = conclude(QUICK.measure(shifted(3.0, reference=0.0)).panel)
    assert found.residual is None
    assert "does not work here" in found.reason


def test_without_a_reference_there_is_a_table_and_no_residual() -> None:
    assert_table_without_residual("drift.gap", QUICK, world(1.0, with_reference=False))


def test_a_cloud_that_collapsed_on_the_originals_centre_is_not_called_like_it() -> None:
    bench = world(1.0)
    for split in ("forget", "retain", "holdout"):
        states = bench.planted["original", split, "answer"]
        bench.planted["candidate", split, "answer"][1:] = states[1:].mean(1, keepdims=True)
    with pytest.raises(NotIdentifiable, match="candidate.*block 1"):
        QUICK.measure(bench)


def test_collapsed_states_too_few_items_and_wrong_settings_say_so() -> None:
    with pytest.raises(NotIdentifiable, match="candidate.*block 2"):
        QUICK.measure(collapsed(world(1.0)))
    with pytest.raises(NotApplicable, match="at least 4 forget items"):
        QUICK.measure(world(1.0, entities=1))
    with pytest.raises(CaseError, match="at least 2 folds"):
        Gap(folds=1)
