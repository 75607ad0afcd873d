"""TOFU's probabilities by hand, and on models of known truth."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from audit.bench import Bench
from audit.errors import NotIdentifiable
from audit.evidence.behaviour.probability import Probability, against_wrong, item_rows
from audit.stats import conclude
from audit.types import Item

BenchOf = Callable[..., Bench]


def likelihood(*rows: tuple[str, str, float]) -> pd.DataFrame:
    """What the bench gives, from (item, variant, probability per token); with the end token each is half as likely."""
    return pd.DataFrame(
        [(item, variant, math.log(p), math.log(p / 2)) for item, variant, p in rows],
        columns=["item", "variant", "mean_logprob", "published_logprob"],
    )


def test_by_hand() -> None:
    items = (Item("forget:0", "q", "a", entity="E"), Item("forget:1", "q", "a"))
    found = likelihood(
        ("forget:1", "answer", 0.3),
        ("forget:0", "answer", 0.5),
        ("forget:0", "paraphrased_answer", 0.4),
        ("forget:0", "wrong", 0.1),
        ("forget:0", "wrong", 0.4),
    )
    first, second = item_rows(found, items, "candidate", "forget")
    assert first.prob == pytest.approx(0.5)
    assert first.prob_wrong == pytest.approx((0.1 + 0.4) / 2)
    # 0.5 / (0.5 + 0.1 + 0.4)
    assert first.prob_normalised == pytest.approx(0.5)
    # geometric mean of the wrong answers: sqrt(0.1 * 0.4) = 0.2; over the paraphrased answer: 0.2 / 0.4
    assert first.truth_ratio == pytest.approx(0.5)
    # No wrong answers: no ratio, and no zero in its place.
    assert second[5:] == (pytest.approx(0.3), None, None, None, pytest.approx(0.15))
    # With the end token: the ratio of halves is the same, the probability is not.
    ended, _ = item_rows(found, items, "candidate", "forget", "published_logprob")
    assert (ended.prob, ended.published) == (pytest.approx(0.25), pytest.approx(0.25))
    assert ended.truth_ratio == pytest.approx(0.5)
    # Without an end token there is no such number, and no zero.
    none, _ = item_rows(found.assign(published_logprob=np.nan), items, "candidate", "forget")
    assert none.published is None and none.prob == first.prob
    assert (first.entity, second.entity) == ("E", "forget:1")


def test_without_a_paraphrased_answer_the_answer_is_the_denominator() -> None:
    # geometric mean of 0.2 and 0.2 over 0.8
    assert against_wrong(math.log(0.8), math.log(0.8), np.log([0.2, 0.2]))[2] == pytest.approx(0.25)


def test_a_wrecked_model_cannot_tell_rather_than_knows() -> None:
    # All answers have probability e^-2000 = 0 in floating point; right and wrong still weigh the same.
    wrong, normalised, ratio = against_wrong(-2000.0, -2000.0, np.array([-2000.0, -2000.0, -2000.0]))
    assert wrong == 0
    assert normalised == pytest.approx(1 / 4)
    assert ratio == pytest.approx(1)
    assert np.isfinite(against_wrong(-1e4, -1e4, np.array([-1.0]))).all()


def test_tells_the_original_from_the_reference(bench_of: BenchOf) -> None:
    reading = Probability().measure(bench_of("last-block"))
    conclusion = conclude(reading.panel)
    assert conclusion.original.value > 0.7
    assert conclusion.reference is not None and conclusion.reference.value < 0.3
    rows = pd.DataFrame(reading.rows)
    ratios = rows[rows["split"] == "forget"].groupby("subject")["truth_ratio"].median()
    assert ratios["original"] < 0.1 < ratios["reference"]


def test_a_model_that_never_knew_is_at_the_floor(bench_of: BenchOf) -> None:
    residual = conclude(Probability().measure(bench_of("retrained")).panel).residual
    assert residual is not None and abs(residual.value) < 0.2


def test_needs_a_control(bench_of: BenchOf) -> None:
    assert Probability().measure(bench_of("last-block", reference=False)).panel.null == "holdout"
    with pytest.raises(NotIdentifiable):
        Probability().measure(bench_of("last-block", reference=False, holdout=False))
