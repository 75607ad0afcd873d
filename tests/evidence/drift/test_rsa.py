"""RSA: rank correlations by hand and against scipy, and controls on planted states."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from audit.errors import CaseError, NotApplicable, NotIdentifiable
from audit.evidence.drift.rsa import RSA, similarities, spearman
from audit.stats import conclude
from tests.evidence.drift.moved import assert_exactly_as_original, assert_table_without_residual, collapsed, world

QUICK = RSA()


def test_rank_correlation_by_hand() -> None:
    # Ranks 1 2 3 4 against 1 2 4 3: differences 0 0 1 1, so 1 - 6 * 2 / (4 * 15) = 0.8; reversed ranks are -1.
    lines = np.array([[0.1, 0.2, 0.3, 0.9], [0.1, 0.2, 0.3, 0.9]])
    others = np.array([[5.0, 6.0, 8.0, 7.0], [4.0, 3.0, 2.0, 1.0]])
    assert spearman(lines, others) == pytest.approx([0.8, -1.0])


def test_rank_correlation_with_ties_is_that_of_scipy_and_a_constant_line_has_none() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, (6, 20)).astype(float), rng.integers(0, 5, (6, 20)).astype(float)
    assert spearman(x, y) == pytest.approx([spearmanr(a, b).statistic for a, b in zip(x, y, strict=True)])
    assert np.isnan(spearman(np.ones((1, 4)), y[:1, :4])).all()


def test_similarities_leave_out_the_item_itself() -> None:
    # Forget: (1, 0), (0, 2); retain: (3, 3); holdout: (-1, 0). To the pool: item 0 is 0 from item 1, 0.71 from item 2.
    clouds = {"forget": [[1, 0], [0, 2]], "retain": [[3, 3]], "holdout": [[-1, 0]]}
    found = similarities({s: np.array(x, np.float32) for s, x in clouds.items()})  # type: ignore[misc]
    half = np.sqrt(0.5)
    assert found["forget"] == pytest.approx(np.array([[0, half], [0, half]]))
    assert found["retain"] == pytest.approx(np.array([[half, half]]))
    assert found["holdout"] == pytest.approx(np.array([[-1, 0, -half]]))


def test_the_original_as_its_own_candidate_is_exactly_one() -> None:
    found = assert_exactly_as_original(QUICK.measure(world(0.0)))
    assert found.original.value == 1.0


def test_a_small_move_keeps_the_structure_and_a_large_one_does_not() -> None:
    near, far = (conclude(QUICK.measure(world(size)).panel).residual for size in (0.1, 3.0))
    assert near is not None
    assert far is not None
    assert near.low > 0.9
    assert far.value == pytest.approx(0.0, abs=0.15)


def test_a_rotation_and_a_scale_change_nothing() -> None:
    bench = world(0.0)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(10, 10)))[0]
    for split in ("forget", "retain", "holdout"):
        bench.planted["candidate", split, "answer"] = (3 * bench.planted["original", split, "answer"] @ turn).astype(
            np.float32
        )
    found = conclude(QUICK.measure(bench).panel)
    assert found.candidate.value == pytest.approx(1.0, abs=1e-4)


def test_the_table_shows_that_retain_moved_less() -> None:
    table = pd.DataFrame(QUICK.measure(world(1.0)).rows).query("subject == 'candidate'")
    assert set(table.layer) == {1, 2}
    means = table.groupby("split").correlation.mean()
    assert means["forget"] < means["retain"] - 0.2


def test_without_a_reference_there_is_a_table_and_no_residual() -> None:
    assert_table_without_residual("drift.rsa", QUICK, world(1.0, with_reference=False))


def test_collapsed_states_too_few_items_and_wrong_settings_say_so() -> None:
    with pytest.raises(NotIdentifiable, match="candidate.*block 2"):
        QUICK.measure(collapsed(world(1.0)))
    with pytest.raises(NotApplicable, match="at least 4 forget items; the case has 2"):
        QUICK.measure(world(1.0, entities=1))
    with pytest.raises(CaseError, match="At least 4 items"):
        RSA(items=2)
