"""Clusters: the adjusted Rand index by hand and as in scikit-learn, and planted groups."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from audit.errors import CaseError, NotApplicable, NotIdentifiable
from audit.evidence.drift.clusters import Clusters, agreement, assigned
from audit.stats import conclude
from tests.evidence.drift.moved import assert_exactly_as_original, assert_table_without_residual, collapsed, world
from tests.evidence.probes.planted import PlantedBench

QUICK = Clusters(clusters=4, draws=50)


def test_agreement_by_hand() -> None:
    # {0 1} {2 3} against {0 1 2} {3}: of 6 pairs 2 are together in the first, 3 in the second, 1 in both. Expected
    # 2 * 3 / 6 = 1, so (1 - 1) / (2.5 - 1) = 0. Without item 2: {0 1} {3} in both, so 1.
    first, second = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1])
    assert agreement(first, second, np.array([[1.0, 1, 1, 1], [1, 1, 0, 1]])) == pytest.approx([0.0, 1.0])


def test_agreement_is_that_of_sklearn_also_where_all_are_together() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 4, 50), rng.integers(0, 3, 50)
    second[:25] = first[:25]
    assert agreement(first, second, np.ones((1, 50)))[0] == pytest.approx(adjusted_rand_score(first, second))
    one = np.zeros(50, np.intp)
    assert agreement(one, one, np.ones((1, 50)))[0] == adjusted_rand_score(one, one) == 1.0
    assert agreement(one, second, np.ones((1, 50)))[0] == adjusted_rand_score(one, second) == 0.0


def test_a_copy_is_no_pair_with_itself() -> None:
    # Doubling every item adds pairs of copies to a plain index, which all agree; here the value stays about the same.
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 4, 40), rng.integers(0, 4, 40)
    once, twice = agreement(first, second, np.array([[1.0] * 40, [2.0] * 40]))
    assert twice == pytest.approx(once, abs=1e-9)
    assert adjusted_rand_score(np.repeat(first, 2), np.repeat(second, 2)) > once + 0.02


def test_items_go_to_the_nearest_centre_of_retain() -> None:
    retain = np.array([[0, 0], [0, 1], [9, 0], [9, 1]], np.float32)
    forget = np.array([[1, 0], [8, 0]], np.float32)
    found = assigned({"forget": forget, "retain": retain}, 2, seed=0)
    assert found["retain"][0] == found["retain"][1] == found["forget"][0]
    assert found["retain"][2] == found["retain"][3] == found["forget"][1]
    assert found["forget"][0] != found["forget"][1]
    again = assigned({"forget": forget + 5, "retain": retain + 5}, 2, 1, found["retain"])
    assert {s: v.tolist() for s, v in again.items()} == {s: v.tolist() for s, v in found.items()}


def grouped(candidate: float, reference: float = 1.0, with_reference: bool = True) -> PlantedBench:
    """Four groups in the original; in the other subjects a share of the items lies in another group."""
    bench = world(0.0, with_reference=with_reference)
    rng = np.random.default_rng(3)
    for split in ("forget", "retain", "holdout"):
        shape = bench.planted["original", split, "answer"].shape
        group = rng.integers(0, 4, shape[1])
        for role, share in (("original", 0.0), ("candidate", candidate), ("reference", reference)):
            moved = rng.random(shape[1]) < (share if split == "forget" else 0.0)
            here = np.where(moved, rng.integers(0, 4, shape[1]), group)
            noise = np.random.default_rng(4).normal(size=shape) if share == 0 else rng.normal(size=shape)
            states = noise + 20 * (here[:, None] == np.arange(shape[2]))
            states[0] = 1.0
            bench.planted[role, split, "answer"] = states.astype(np.float32)
    return bench


def test_the_original_as_its_own_candidate_is_exactly_one() -> None:
    found = assert_exactly_as_original(QUICK.measure(grouped(0.0)))
    assert found.original.value == 1.0
    assert found.reference is not None
    assert found.reference.value < 0.3


def test_items_that_changed_groups_are_counted() -> None:
    some, all_of_them = (QUICK.measure(grouped(share)) for share in (0.05, 1.0))
    kept, lost = conclude(some.panel).residual, conclude(all_of_them.panel).residual
    assert kept is not None
    assert lost is not None
    assert kept.low > 0.5
    assert lost.value == pytest.approx(0.0, abs=0.2)
    table = pd.DataFrame(all_of_them.rows).query("subject == 'candidate'")
    assert set(table.layer) == {1, 2}
    assert table.query("split == 'retain'").agreement.min() == pytest.approx(1.0)
    assert set(table.clusters) == {4}


def test_without_a_reference_there_is_a_table_and_no_residual() -> None:
    assert_table_without_residual("drift.clusters", QUICK, grouped(0.5, with_reference=False))


def test_collapsed_states_too_few_items_and_wrong_settings_say_so() -> None:
    with pytest.raises(NotIdentifiable, match="candidate.*block 2"):
        QUICK.measure(collapsed(grouped(0.5)))
    with pytest.raises(NotApplicable, match="20 clusters need at least 40 retain items; 30"):
        Clusters(clusters=20).measure(grouped(0.5))
    with pytest.raises(CaseError, match="At least 2 clusters"):
        Clusters(clusters=1)
