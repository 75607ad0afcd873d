"""The original's label subspace as a gate: what stayed in it is read, what left it is not."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from audit.errors import CaseError
from audit.evidence.probes.linear import Linear
from audit.evidence.probes.subspace import GATE, RANDOM, Subspace, basis, gated
from audit.evidence.probes.transfer import Transfer
from audit.probing import Task
from audit.stats import conclude
from tests.evidence.probes.test_linear import world

QUICK = Subspace(nulls=3)
BLOCKS = (1, 2)
SPLITS = ("forget", "retain", "holdout")


@cache
def all_known() -> Any:
    return QUICK.measure(world(BLOCKS, layers=3))


def test_by_hand_the_basis_of_three_means() -> None:
    """Means (3, 0, 1), (-3, 0, 1) and (0, 0, 1), less their mean (0, 0, 1): one direction, the first coordinate."""
    states = np.array([[4, 0, 1], [2, 0, 1], [-3, 0, 1], [0, 5, 1], [0, -5, 1]], np.float32)
    found = basis(states, np.array([0, 0, 1, 2, 2]))
    np.testing.assert_allclose(np.abs(found), [[1], [0], [0]], atol=1e-6)


def test_a_basis_is_orthonormal_and_empty_where_nothing_differs() -> None:
    rng = np.random.default_rng(0)
    found = basis(rng.normal(size=(20, 6)).astype(np.float32), np.arange(20) % 4)
    assert found.shape == (6, 3)
    np.testing.assert_allclose(found.T @ found, np.eye(3), atol=1e-9)
    assert basis(np.ones((4, 3), np.float32), np.array([0, 0, 1, 1])).shape == (3, 0)


def test_by_hand_only_what_is_inside_the_gate_counts() -> None:
    """In the original a lies at x = +1 and b at x = -1; y says nothing there, so that the gate is x.

    In the subject a lies at (.5, -9) and b at (0, 9). A new row (.4, 9) is a within the gate, whatever y says: its x is
    .1 from a and .4 from b. In the shuffled line a and b change places on both sides, and it is read as b.
    """
    original = np.array([[1, 2], [1, -2], [-1, 2], [-1, -2]], np.float32)
    own = np.array([[0.5, -9], [0.5, -9], [0, 9], [0, 9]], np.float32)
    task = Task(("a", "b"), np.array([[0, 0, 1, 1], [1, 1, 0, 0]]), np.arange(4))
    read = gated()([original, own], task, "")
    assert read(np.array([[0.4, 9]], np.float32), np.array([0])).tolist() == [[1.0], [0.0]]


def test_what_is_planted_is_read_and_what_is_not_is_at_chance() -> None:
    found = conclude(all_known().panel)
    assert found.original.value > 0.95
    assert found.reference is not None
    assert found.reference.value == pytest.approx(0.25, abs=0.2)  # 24 items of four labels: standard error 0.09
    assert found.residual is not None
    assert found.residual.low > 0.7


def test_what_was_removed_is_not_read() -> None:
    found = conclude(QUICK.measure(world((), layers=3)).panel)
    assert found.residual is not None
    assert found.residual.value < 0.4
    assert found.residual.low < 0.2


def test_labels_that_left_the_gate_are_not_read_though_a_probe_reads_them() -> None:
    bench = world(BLOCKS, layers=3)
    for split in SPLITS:  # the labels' four coordinates change places with four others
        bench.planted["candidate", split, "answer"] = np.roll(bench.planted["candidate", split, "answer"], 5, axis=2)  # type: ignore[index]
    reading = QUICK.measure(bench)
    table = pd.DataFrame(reading.rows).query("kind == 'subspace of the original' and layer > 0")
    shares = table.groupby(["subject", "split"]).accuracy.mean()
    assert shares["candidate", "forget"] < 0.6
    assert shares["candidate", "retain"] < 0.6
    assert shares["original", "retain"] > 0.8
    assert conclude(Linear(nulls=1).measure(bench).panel).candidate.value > 0.9


def test_a_shift_within_the_gate_is_followed_where_a_transferred_probe_is_lost() -> None:
    bench = world(BLOCKS, layers=3)
    for split in SPLITS:
        bench.planted["candidate", split, "answer"][:, :, 0] += 30
    assert conclude(QUICK.measure(bench).panel).candidate.value > 0.9
    assert conclude(Transfer(nulls=1).measure(bench).panel).candidate.value < 0.6


def test_random_directions_are_beside_it_and_read_less_in_a_wide_model() -> None:
    bench, rng = world(BLOCKS, layers=3), np.random.default_rng(1)
    for key, states in bench.planted.items():
        bench.planted[key] = np.concatenate([states, rng.normal(size=(*states.shape[:2], 150))], 2).astype(np.float32)  # type: ignore[index]
    reading = QUICK.measure(bench)
    table = pd.DataFrame(reading.rows).query("split == 'forget' and layer > 0 and subject == 'original'")
    means = table.groupby("kind").accuracy.mean()
    assert means[GATE] > 0.9
    assert means[RANDOM] < 0.7
    assert table.shuffled.max() < 0.5
    assert "random directions" in reading.note


def test_the_original_against_itself_is_exactly_one() -> None:
    bench = world(BLOCKS, layers=3)
    for split in SPLITS:
        bench.planted["candidate", split, "answer"] = bench.planted["original", split, "answer"]  # type: ignore[index]
    residual = conclude(QUICK.measure(bench).panel).residual
    assert residual is not None
    assert (residual.value, residual.low, residual.high) == (1.0, 1.0, 1.0)


def test_without_a_reference_the_holdout_is_the_null() -> None:
    reading = QUICK.measure(world(BLOCKS, reference=False, layers=3))
    assert reading.panel.null == "holdout"
    found = conclude(reading.panel)
    assert found.residual is not None
    assert found.residual.low > 0.4


def test_a_wrong_position_is_found_before_any_work() -> None:
    with pytest.raises(CaseError, match="Unknown position"):
        Subspace(position="middle")
