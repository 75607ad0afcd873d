"""Truth ratios and forget quality: by hand, against published values, and where the original tools give nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from audit.bench import Bench
from audit.errors import CaseError
from audit.evidence.behaviour.forget_quality import ForgetQuality, one_sided, signed_distance
from audit.evidence.behaviour.probability import against_wrong
from audit.evidence.behaviour.truth_ratio import TruthRatio
from audit.metrics.tofu import AGGREGATORS
from audit.stats import conclude

BenchOf = Callable[..., Bench]
RESULTS = "data/results/open_unlearning"
FULL = "tofu_Llama-3.2-1B-Instruct_full/evals_forget10/TOFU_EVAL.json"
NEVER = "tofu_Llama-3.2-1B-Instruct_retain90/TOFU_EVAL.json"


def losses(path: Path, part: str) -> tuple[np.ndarray, list[np.ndarray], np.ndarray, float]:
    """Losses of the paraphrased answer and the wrong ones, the file's ratios and its aggregate."""
    found = json.loads(path.read_text())
    right = found[f"{part}_Q_A_PARA_Prob" if part in ("forget", "retain") else f"{part}_Q_A_Prob"]["value_by_index"]
    wrong = found[f"{part}_Q_A_PERT_Prob"]["value_by_index"]
    ratio = found["forget_truth_ratio" if part == "forget" else f"{part}_Truth_Ratio"]
    keys = sorted(right, key=int)
    return (
        np.array([right[k]["avg_loss"] for k in keys]),
        [np.array(wrong[k]["avg_loss"]) for k in keys],
        np.array([ratio["value_by_index"][k]["score"] for k in keys]),
        ratio["agg_value"],
    )


@pytest.mark.parametrize("part", ["forget", "retain", "ra", "wf"])
def test_published_ratios_and_aggregates_are_met(part: str, shared: Path) -> None:
    right, wrong, ratios, aggregate = losses(shared / RESULTS / FULL, part)
    ours = np.array([against_wrong(-r, -r, -w)[2] for r, w in zip(right, wrong, strict=True)])
    # The published ratios carry 1e-10 in the denominator, which shows where the right answer is all but impossible.
    np.testing.assert_allclose(ours, ratios, rtol=1e-3)
    of = AGGREGATORS["closer_to_1_better" if part == "forget" else "true_better"]
    assert of(ours).mean() == pytest.approx(aggregate, abs=1e-6)


def test_published_forget_quality_comes_with_its_direction(shared: Path) -> None:
    """The 1B model that knows against the one that never did: p = 3.9e-22 in the file, from knowing more alone."""
    full = losses(shared / RESULTS / "tofu_Llama-3.2-1B-Instruct_full" / "evals_forget10" / "TOFU_EVAL.json", "forget")[
        2
    ]
    never = losses(shared / RESULTS / "tofu_Llama-3.2-1B-Instruct_retain90" / "TOFU_EVAL.json", "forget")[2]
    authors = [f"author {i // 20}" for i in range(400)]
    sample = signed_distance(full, authors, never, authors)
    assert sample.n == 20
    assert 0.3 < sample.value < 0.5
    estimate = sample.estimate(0.0)
    assert estimate.low > 0.2  # 20 authors are enough to see it
    assert signed_distance(never, authors, full, authors).value == pytest.approx(-sample.value)


def test_the_three_aggregators_of_a_reading(bench_of: BenchOf) -> None:
    table = pd.DataFrame(TruthRatio().measure(bench_of("last-block")).rows)
    ratio = table["truth_ratio"]
    pd.testing.assert_series_equal(table["prob_mean"], 1 / (1 + ratio), check_names=False)
    pd.testing.assert_series_equal(table["true_better"], (1 - ratio).clip(lower=0), check_names=False)
    published = np.minimum(ratio, 1 / ratio)
    np.testing.assert_allclose(table["closer_to_1_better"], published, rtol=1e-6)
    # Directions: a model that knows is high in two of them and low in the third.
    knows = table[(table["subject"] == "original") & (table["split"] == "forget")].mean(numeric_only=True)
    never = table[(table["subject"] == "reference") & (table["split"] == "forget")].mean(numeric_only=True)
    assert knows["prob_mean"] > never["prob_mean"]
    assert knows["true_better"] > never["true_better"]
    assert knows["closer_to_1_better"] < never["closer_to_1_better"]


def test_what_does_not_rise_with_knowledge_is_no_headline() -> None:
    assert TruthRatio(aggregator="true_better").aggregator == "true_better"
    with pytest.raises(CaseError, match="does not rise with knowledge"):
        TruthRatio(aggregator="closer_to_1_better")


def test_kolmogorov_smirnov_by_hand() -> None:
    ours, theirs = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.3, 0.5, 0.6, 0.7])
    # Shares at or below 0.1 0.2 0.3 0.4 0.5 0.6 0.7: ours 1/4 2/4 3/4 1 1 1 1, theirs 0 0 1/4 1/4 2/4 3/4 1.
    above, below = one_sided(ours, theirs)
    assert (above[0], below[0]) == (0.75, 0.0)
    # The other way round the second is the larger one.
    assert [float(x[0]) for x in one_sided(theirs, ours)] == [0.0, 0.75]


def test_both_sides_together_are_the_published_statistic() -> None:
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(0)
    for _ in range(20):
        ours, theirs = rng.normal(0, 2, 30).round(1), rng.normal(0.5, 1, 41).round(1)  # rounded, so that some tie
        above, below = one_sided(ours, theirs)
        assert max(above[0], below[0]) == pytest.approx(ks_2samp(ours, theirs).statistic)


def test_weights_are_repeats() -> None:
    ours, theirs = np.array([0.1, 0.9]), np.array([0.2, 0.5])
    # The first twice, the second not at all: shares 1 from 0.1 on against 0 -> 1.
    above, _ = one_sided(ours, theirs, np.array([[2.0, 0.0]]), np.array([[1.0, 1.0]]))
    assert above[0] == 1


def test_two_that_never_knew_are_around_zero_and_not_above() -> None:
    """The unsigned statistic of two equal models is 0.1 to 0.2 here, and its interval never holds 0."""
    rng = np.random.default_rng(1)
    names = [f"entity {i // 5}" for i in range(100)]
    samples = [signed_distance(rng.normal(size=100), names, rng.normal(size=100), names) for _ in range(60)]
    assert abs(np.mean([sample.value for sample in samples])) < 0.03
    inside = [sample.estimate(0).low <= 0 <= sample.estimate(0).high for sample in samples]
    assert np.mean(inside) > 0.9


def test_a_model_pushed_below_false_answers_is_not_called_knowing(bench_of: BenchOf) -> None:
    never, names = np.linspace(0.5, 2, 60), [f"entity {i}" for i in range(60)]
    assert signed_distance(never * 10, names, never, names).value < -0.5  # p is as small as if it knew
    reading = ForgetQuality().measure(bench_of("gradient-difference"))
    table = pd.DataFrame(reading.rows).drop_duplicates("subject").set_index("subject")
    assert table.loc["original", "knows_more"] > 0.5 and table.loc["original", "p_value"] < 1e-6
    assert table.loc["reference", "ks"] == 0 and table.loc["reference", "p_value"] == 1
    residual = conclude(reading.panel).residual
    assert residual is not None and residual.value < 0.2
    gap = table.loc["candidate", "knows_more"] - table.loc["candidate", "knows_less"]
    assert reading.panel.candidate.value == pytest.approx(gap)


def test_curves_rise_from_item_to_item_to_one(bench_of: BenchOf) -> None:
    table = pd.DataFrame(ForgetQuality().measure(bench_of("last-block")).rows)
    for _, curve in table.groupby("subject"):
        assert curve["log_ratio"].is_monotonic_increasing
        assert curve["share"].is_monotonic_increasing
        assert curve["share"].iloc[-1] == 1
