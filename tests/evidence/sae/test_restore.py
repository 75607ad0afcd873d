"""Restoring: nothing is added to the original, the control has equal norms, a model that never knew stays put."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from audit.bench import Bench
from audit.errors import CaseError
from audit.evidence.sae.restore import Restore, _like
from audit.stats import conclude
from tests.evidence.sae.quick import QUICK

EVIDENCE = Restore(**QUICK)


def test_random_pushes_have_the_same_norm() -> None:
    rng = np.random.default_rng(0)
    push = rng.normal(size=(5, 6)).astype(np.float32)
    other = _like(push, rng.normal(size=(3, 6)).astype(np.float32), rng)
    assert np.linalg.norm(other, axis=1) == pytest.approx(np.linalg.norm(push, axis=1), rel=1e-5)
    assert not np.allclose(other, push)


def test_nothing_is_lost_in_the_original_and_nothing_returns_in_a_retrained_model(
    bench_of: Callable[..., Bench],
) -> None:
    own = conclude(EVIDENCE.measure(bench_of("untouched")).panel).residual
    gone = conclude(EVIDENCE.measure(bench_of("retrained")).panel).residual
    assert own is not None
    assert gone is not None
    assert (own.value, own.low, own.high) == (1.0, 1.0, 1.0)
    assert gone.low < 0.1


def test_the_table_has_the_control_beside_it(bench_of: Callable[..., Bench]) -> None:
    table = pd.DataFrame(EVIDENCE.measure(bench_of("rmu")).rows)
    assert set(table["added"]) == {"nothing", "chosen", "random"}
    original = table[table["subject"] == "original"]
    assert original["answered"].nunique() == 1  # nothing was lost, so nothing is added, whatever is chosen


def test_adding_no_feature_is_refused() -> None:
    with pytest.raises(CaseError, match="number"):
        Restore(number=0)
