"""Effective rank: by hand, weighted draws, collapse, and planted states."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from audit.errors import CaseError, NotApplicable, NotIdentifiable
from audit.evidence.drift.rank import Rank, effective_rank
from audit.stats import conclude
from tests.evidence.drift.moved import assert_exactly_as_original, assert_table_without_residual, world
from tests.evidence.probes.planted import PlantedBench

QUICK = Rank(draws=50)


def test_effective_rank_by_hand() -> None:
    # Centred already; columns of length sqrt(2) * 2 and sqrt(2) * 1, so singular values 2 : 1 and p = 2/3, 1/3.
    states = np.array([[2, 0], [-2, 0], [0, 1], [0, -1]], np.float32)
    expected = np.exp(-(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3)))
    assert effective_rank(states + 7, np.ones((1, 4)))[0] == pytest.approx(expected)
    # Equal lengths: two directions. On a line: one. At one point: none.
    assert effective_rank(states * np.array([1, 2], np.float32), np.ones((1, 4)))[0] == pytest.approx(2.0)
    assert effective_rank(states * np.array([1, 0], np.float32), np.ones((1, 4)))[0] == pytest.approx(1.0)
    assert effective_rank(states * np.float32(0) + 3, np.ones((1, 4)))[0] == 0.0


def test_weights_count_items_as_often_as_they_are_drawn() -> None:
    rng = np.random.default_rng(0)
    states = rng.normal(size=(12, 5)).astype(np.float32)
    counts = rng.integers(0, 3, size=(4, 12))
    again = [effective_rank(np.repeat(states, line, axis=0), np.ones((1, line.sum())))[0] for line in counts]
    assert effective_rank(states, counts.astype(float)) == pytest.approx(again)


def flattened(candidate: float, reference: float = 0.2, with_reference: bool = True) -> PlantedBench:
    """The original's states on all splits, with half of the directions shrunk to a share."""
    bench = world(0.0, with_reference=with_reference)
    for role, size in (("candidate", candidate), ("reference", reference)):
        scale = np.array([1.0] * 5 + [size] * 5, np.float32)
        for split in ("forget", "retain", "holdout"):
            bench.planted[role, split, "answer"] = bench.planted["original", split, "answer"] * scale
    return bench


def test_the_original_as_its_own_candidate_is_exactly_one() -> None:
    found = assert_exactly_as_original(QUICK.measure(flattened(1.0)))
    assert found.original.value == 1.0
    assert found.reference is not None
    assert 0.5 < found.reference.value < 0.9


def test_a_flattened_candidate_is_as_the_flattened_reference_and_a_whole_one_as_the_original() -> None:
    whole, flat = (conclude(QUICK.measure(flattened(size)).panel).residual for size in (0.95, 0.2))
    assert whole is not None
    assert flat is not None
    assert whole.low > 0.9
    assert flat.value == pytest.approx(0.0, abs=1e-6)


def test_a_rank_that_grew_is_a_change_too() -> None:
    bench = flattened(0.2)
    for split in ("forget", "retain", "holdout"):
        roles = ("original", "candidate")
        first, second = (bench.planted[role, split, "answer"] for role in roles)
        bench.planted["original", split, "answer"], bench.planted["candidate", split, "answer"] = second, first
    reading = QUICK.measure(bench)
    assert pd.DataFrame(reading.rows).query("subject == 'candidate'").ratio.min() > 1.1
    assert conclude(reading.panel).candidate.value < 0.9


def test_a_collapsed_model_is_called_damaged_before_it_is_called_forgetful() -> None:
    bench = flattened(1.0)
    for split in ("forget", "retain", "holdout"):
        bench.planted["candidate", split, "answer"][2] = bench.planted["candidate", split, "answer"][2, :, :1]
    reading = QUICK.measure(bench)
    assert reading.note.startswith("The candidate is damaged: on retain, in block 2")
    assert "damaged" not in QUICK.measure(flattened(1.0)).note
    # All items at one point: no direction is left, which is a number and no failure.
    for split in ("forget", "retain", "holdout"):
        bench.planted["candidate", split, "answer"][2] = 0.5
    table = pd.DataFrame(QUICK.measure(bench).rows).query("subject == 'candidate' and layer == 2")
    assert set(table["rank"]) == set(table.ratio) == {0.0}


def test_where_the_reference_has_the_originals_rank_there_is_no_residual() -> None:
    found = conclude(QUICK.measure(flattened(0.2, reference=1.0)).panel)
    assert found.residual is None
    assert "does not work here" in found.reason


def test_without_a_reference_there_is_a_table_and_no_residual() -> None:
    assert_table_without_residual("drift.rank", QUICK, flattened(0.5, with_reference=False))


def test_an_original_without_variation_too_few_items_and_wrong_settings_say_so() -> None:
    bench = flattened(0.5)
    bench.planted["original", "forget", "answer"][1] = 2.0
    with pytest.raises(NotIdentifiable, match="block 1"):
        QUICK.measure(bench)
    with pytest.raises(NotApplicable, match="at least 4 forget items"):
        QUICK.measure(world(1.0, entities=1))
    with pytest.raises(CaseError, match="at least 1 draw"):
        Rank(draws=0)
