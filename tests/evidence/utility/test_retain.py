"""What was kept, on models of known truth."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pandas as pd
import pytest

from audit.bench import Bench
from audit.errors import NotApplicable
from audit.evidence.utility.retain import Retain
from audit.stats import conclude

BenchOf = Callable[..., Bench]


def test_a_kept_model_is_as_good_as_the_original(bench_of: BenchOf) -> None:
    conclusion = conclude(Retain().measure(bench_of("retrained")).panel)
    assert conclusion.original.value > 0.9
    assert conclusion.residual is not None and conclusion.residual.value > 0.9


def test_residual_is_candidate_over_original(bench_of: BenchOf) -> None:
    panel = Retain().measure(bench_of("gradient-ascent")).panel
    residual = conclude(panel).residual
    assert panel.null == "chance" and panel.split == "retain"
    assert residual is not None and residual.value == pytest.approx(panel.candidate.value / panel.original.value)


def test_every_subject_is_asked_the_same_few_items_of_many_entities(bench_of: BenchOf) -> None:
    rows = pd.DataFrame(Retain(items=30).measure(bench_of("last-block")).rows)
    asked = rows.groupby("subject")["item"].agg(tuple)
    assert set(rows["subject"]) == {"original", "candidate", "reference"}
    assert len(set(asked)) == 1 and len(asked["original"]) == 30
    # Thirty items of forty-eight people: no one is asked about twice.
    assert rows[rows["subject"] == "original"]["entity"].is_unique


def test_zero_asks_all(bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    assert len(Retain(items=0).measure(bench).rows) == 3 * len(bench.corpus("retain"))


def test_needs_no_reference_but_a_retain_corpus(bench_of: BenchOf) -> None:
    bench = bench_of("last-block", reference=False, holdout=False)
    assert conclude(Retain().measure(bench).panel).residual is not None
    bench.case = dataclasses.replace(bench.case, corpora={"forget": bench.corpus("forget")})
    with pytest.raises(NotApplicable, match="no retain corpus"):
        Retain().measure(bench)
