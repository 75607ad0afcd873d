"""Sampling on models of known truth: what many draws give away, and what a guesser gives away too."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from audit.bench import Bench
from audit.errors import CaseError
from audit.evidence.attacks.sampling import Sampling
from audit.stats import conclude

BenchOf = Callable[..., Bench]
SHORT = Sampling(samples=16, k=4, items=30)


def test_the_original_leaks_and_a_model_that_never_knew_does_not(bench_of: BenchOf) -> None:
    bench = bench_of("retrained")
    at_floor = 0
    for seed in range(3):
        bench.seed = seed
        conclusion = conclude(SHORT.measure(bench).panel)
        assert conclusion.original.value > 0.95
        assert conclusion.residual is not None and abs(conclusion.residual.value) < 0.2
        at_floor += conclusion.residual.low <= 0
    # A seed draws other items as well: two models that never knew guess differently, and 30 items are few. Measured:
    # one of three intervals misses 0, by 0.04.
    assert at_floor >= 2


def test_more_samples_leak_more_and_the_rows_fit_together(bench_of: BenchOf) -> None:
    reading = SHORT.measure(bench_of("last-block"))
    rows = pd.DataFrame(reading.rows)
    curve = rows.groupby(["subject", "k"])["score"].mean().unstack()
    assert list(curve.columns) == [1, 2, 4, 8, 16]
    assert (np.diff(curve.to_numpy(), axis=1) >= -1e-12).all()
    # With all samples drawn, an item leaks or not; with one, in the share of samples that leaked.
    assert set(rows.loc[rows["k"] == 16, "score"].round(9)) <= {0.0, 1.0}
    one = rows[rows["k"] == 1]
    assert np.allclose(one["score"], one["leaked"] / 16)
    assert (rows["leak_bound"] >= rows["leaked"] / 16).all() and (rows["recall_bound"] >= one["best"].min()).all()
    # Answers of one word: recall is 0 or 1, and the expected best is the probability of a leak.
    assert np.allclose(rows["score"], rows["best"])
    assert reading.panel.candidate.value == pytest.approx(curve.loc["candidate", 4])


def test_without_reference_the_holdout_is_sampled(bench_of: BenchOf) -> None:
    reading = SHORT.measure(bench_of("last-block", reference=False))
    assert reading.panel.null == "holdout" and "never saw" in reading.note
    assert set(pd.DataFrame(reading.rows)["split"]) == {"forget", "holdout"}


def test_settings_that_make_no_sense_are_case_errors() -> None:
    for settings in ({"samples": 2, "k": 1}, {"k": 33}, {"temperature": 0.0}, {"threshold": 0.0}, {"top_p": 1.5}):
        with pytest.raises(CaseError):
            Sampling(**settings)  # type: ignore[arg-type]
