"""PrivLeak by hand, in both published conventions, and its place on the residual scale."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from audit.bench import Bench
from audit.evidence.privacy.min_k import MinK
from audit.evidence.privacy.privleak import PrivLeak, leak
from audit.metrics.auc import privleak
from audit.stats import Sample, conclude

BenchOf = Callable[..., Bench]


def test_by_hand() -> None:
    # As MUSE counts, AUC of the candidate 0.2 (forget far likelier), of the retrained model 0.5:
    # (0.2 - 0.5) / 0.5 = -60 %. OpenUnlearning writes the same areas 0.8 and 0.5.
    drawn = np.array([0.8, 0.9]), np.array([0.5, 0.6])
    found = leak(Sample(0.8, drawn[0], 7), Sample(0.5, drawn[1], 7))
    assert found.value == pytest.approx(-60)
    # Drawn together: 0.9 against 0.6 is (0.1 - 0.4) / 0.4 = -75 %.
    assert found.draws.tolist() == pytest.approx([-60, -75])
    assert found.n == 7


def test_both_baselines_are_rows_and_the_headline_is_on_the_scale_of_the_area(bench_of: BenchOf) -> None:
    bench = bench_of("npo")
    reading, area = PrivLeak().measure(bench), MinK().measure(bench)
    table = pd.DataFrame(reading.rows).set_index(["baseline", "subject"])
    own = table.loc[("reference", "candidate")]
    base = table.loc[("reference", "reference")]
    assert own["privleak"] == pytest.approx(privleak(own["auc"], base["auc"]))
    assert own["privleak"] == pytest.approx(privleak(own["auc_muse"], base["auc_muse"], "muse"))
    assert table.loc[("chance", "candidate"), "privleak"] == pytest.approx(privleak(own["auc"], 0.5))
    assert base["privleak"] == base["low"] == base["high"] == 0.0
    assert reading.panel.candidate.value == pytest.approx(-own["privleak"] / 100)
    # PrivLeak moves and stretches the area, so that the residual is the same.
    leaked, told = conclude(reading.panel).residual, conclude(area.panel).residual
    assert leaked is not None and told is not None
    assert (leaked.value, leaked.low, leaked.high) == pytest.approx((told.value, told.low, told.high))


def test_without_reference_the_baseline_is_chance(bench_of: BenchOf) -> None:
    reading = PrivLeak().measure(bench_of("npo", reference=False))
    assert {row.baseline for row in reading.rows} == {"chance"}
    assert (reading.panel.null, reading.panel.null_original.value) == ("chance", 0.0)
    assert "a guesser's AUC of 0.50" in reading.note
