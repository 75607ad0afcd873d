"""The statistics: hand-worked numbers, and the rules that no evidence can forget."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from audit import stats
from audit.errors import NotIdentifiable
from audit.stats import Panel, Scores, conclude, cross_fit, entity_weights, holm, mean, p_above
from audit.types import Residual


def scores(values: Any, per_entity: int = 1, used: Any = None) -> Scores:
    values = np.atleast_2d(np.asarray(values, float))
    n = values.shape[1]
    return Scores([f"i{i}" for i in range(n)], [f"e{i // per_entity}" for i in range(n)], values, used)


def panel(original: Any, candidate: Any, reference: Any, per_entity: int = 1) -> Panel:
    o, c, r = (mean(scores(v, per_entity)) for v in (original, candidate, reference))
    return Panel(o, c, r, r, "reference", r)


def test_mean_is_over_items_and_n_counts_entities() -> None:
    # Entities of unequal size: e0 has 1, 1, 0 and e1 has 0. Mean over items: 2 / 4 (over entities it would be 1/3).
    s = Scores(list("abcd"), ["e0", "e0", "e0", "e1"], np.array([1.0, 1, 0, 0]))
    sample = mean(s)
    assert sample.value == 0.5
    assert sample.n == 2
    # With two entities a draw is e0 twice (2/3), e1 twice (0) or one of each (2/4).
    assert set(np.round(np.unique(sample.draws), 6)) == {0.0, 0.5, round(2 / 3, 6)}


def test_entities_are_resampled_not_items() -> None:
    # 5 entities of 40 identical items: the interval is that of 5 numbers, far wider than that of 200.
    values = np.repeat([1, 1, 0, 0, 0], 40)
    clustered = mean(scores(values, per_entity=40)).estimate(0.0)
    independent = mean(scores(values)).estimate(0.0)
    assert clustered.high - clustered.low > 4 * (independent.high - independent.low)


def test_the_bootstrap_covers() -> None:
    # 30 entities of a Bernoulli(0.3): the 95 % interval must hold 0.3 in about 95 % of 300 worlds (clearly over 88 %).
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(300):
        estimate = mean(scores(rng.random(30) < 0.3), draws=400).estimate(0.0)
        hits += estimate.low <= 0.3 <= estimate.high
    assert 0.88 < hits / 300 < 0.99


def test_used_marks_what_counts() -> None:
    # Seed 0 scores items a, b (1, 0); seed 1 scores items b, c (1, 1). Mean = 3 / 4.
    values = np.array([[1, 0, np.nan], [np.nan, 1, 1]])
    s = Scores(list("abc"), list("abc"), values, ~np.isnan(values))
    assert mean(s).value == 0.75
    np.testing.assert_allclose(s.per_item(), [1.0, 0.5, 1.0])


def test_nan_never_becomes_a_number() -> None:
    with pytest.raises(ValueError, match="finite"):
        scores([1.0, np.nan])


def test_the_original_as_its_own_candidate_has_residual_exactly_one() -> None:
    rng = np.random.default_rng(1)
    o, r = rng.random(40), rng.random(40) * 0.2
    residual = conclude(panel(o, o, r, 2)).residual
    assert residual is not None
    assert (residual.value, residual.low, residual.high) == (1.0, 1.0, 1.0)


def test_the_reference_as_candidate_has_residual_exactly_zero() -> None:
    rng = np.random.default_rng(2)
    residual = conclude(panel(rng.random(40) * 0.2 + 0.8, r := rng.random(40) * 0.2, r)).residual
    assert residual is not None
    assert (residual.value, residual.low, residual.high) == (0.0, 0.0, 0.0)


def test_residual_by_hand() -> None:
    # original 1, reference 0.2, candidate 0.6 on every item: (0.6 - 0.2) / (1 - 0.2) = 0.5, with no spread.
    residual = conclude(panel([1] * 10, [0.6] * 10, [0.2] * 10)).residual
    assert residual is not None
    assert residual.value == pytest.approx(0.5)
    assert residual.low == pytest.approx(0.5)


def test_without_a_reference_each_model_is_read_against_itself_on_the_holdout() -> None:
    # forget: original 1.0, candidate 0.5; holdout: original 0.2, candidate 0.1. (0.5 - 0.1) / (1.0 - 0.2) = 0.5.
    samples = {
        ("original", "forget"): 1.0, ("candidate", "forget"): 0.5,
        ("original", "holdout"): 0.2, ("candidate", "holdout"): 0.1,
    }  # fmt: skip
    bench: Any = SimpleNamespace(null="holdout", seed=0)
    found = stats.panel(bench, lambda role, split: scores([samples[role, split]] * 10))
    conclusion = conclude(found)
    assert conclusion.residual is not None
    assert conclusion.residual.value == pytest.approx(0.5)
    assert conclusion.reference is None
    assert set(found.items()["split"]) == {"forget", "holdout"}


def test_an_instrument_that_finds_nothing_is_not_read() -> None:
    rng = np.random.default_rng(3)
    guess = (rng.random(60) < 0.1).astype(float)
    conclusion = conclude(panel(guess, np.ones(60), 1 - guess[::-1] * 0 - (rng.random(60) < 0.9)))
    assert conclusion.residual is None
    assert "does not work here" in conclusion.reason
    assert f"{guess.mean():.3f}" in conclusion.reason


def test_an_instrument_that_hardly_finds_anything_is_not_read() -> None:
    # Original right on 22 of 40, reference on 20 of 40: a gap of 0.05 whose interval reaches to 0 and below.
    original = np.r_[np.ones(22), np.zeros(18)]
    reference = np.r_[np.zeros(10), np.ones(20), np.zeros(10)]
    conclusion = conclude(panel(original, original, reference))
    assert conclusion.residual is None
    assert "0.550 from the original and 0.500 from the reference" in conclusion.reason
    # The same on every entity: a gap of 0.1 without any spread is read.
    assert conclude(panel([0.55] * 40, [0.5] * 40, [0.45] * 40)).residual is not None


def test_what_is_no_measure_of_knowledge_has_no_residual() -> None:
    found = conclude(dataclasses.replace(panel([1.0] * 10, [1.0] * 10, [0.0] * 10), no_scale="It is only counted."))
    assert found.residual is None
    assert found.reason == "It is only counted."
    assert found.candidate.value == 1


def test_too_few_entities_give_no_interval() -> None:
    conclusion = conclude(panel([1] * 8, [1] * 8, [0] * 8, per_entity=2))
    assert conclusion.residual is None
    assert "4 entities" in conclusion.reason


def test_best_of_24_layers_does_not_flag_a_model_that_never_knew() -> None:
    # 24 layers of coin flips at chance 0.1, 40 entities, 60 worlds: a choice made and scored on the same items would
    # lie well above chance in nearly all of them; the cross-fitted score stays at chance.
    rng = np.random.default_rng(4)
    honest, naive = [], []
    for world in range(60):
        table = rng.random((24, 120)) < 0.1
        chosen, _ = cross_fit(table, [f"e{i // 3}" for i in range(120)], seed=world)
        honest.append(chosen.mean())
        naive.append(table.mean(1).max())
    assert abs(np.mean(honest) - 0.1) < 0.015
    assert np.mean(naive) > 0.14


def test_cross_fit_by_hand() -> None:
    # Two choices; choice 1 is right on every item: both halves choose it, whichever the halves are.
    values, chosen = cross_fit([[0, 1, 0, 0], [1, 1, 1, 1]], list("abcd"))
    assert values.tolist() == [1, 1, 1, 1]
    assert chosen == (1, 1)
    with pytest.raises(NotIdentifiable, match="two entities"):
        cross_fit([[1, 0]], ["a", "a"])


def test_halves_never_cut_an_entity() -> None:
    entities = [f"e{i % 7}" for i in range(70)]
    first = stats.halves(entities, 5)
    assert not {e for e, f in zip(entities, first, strict=True) if f} & {
        e for e, f in zip(entities, first, strict=True) if not f
    }
    assert first.sum() == 30  # 3 of 7 entities, 10 items each


def test_the_same_entities_are_drawn_together_in_any_item_order() -> None:
    a, _ = entity_weights(["x", "y", "y", "z"], 50)
    b, _ = entity_weights(["z", "y", "x", "x"], 50)
    np.testing.assert_array_equal(a, b)


def test_holm_by_hand() -> None:
    # alpha 0.05, m = 4: 0.01 <= 0.0125 yes; 0.013 <= 0.0167 yes; 0.03 <= 0.025 no, and everything after it no.
    assert holm([0.03, 0.01, 0.04, 0.013], 0.05) == [False, True, False, True]
    assert holm([], 0.05) == []


def test_p_value_from_the_stored_quantiles() -> None:
    # A bootstrap that is uniform on 0..1 has the grid itself as quantiles: P(residual <= 0.25) = 0.25.
    uniform = Residual(0.5, 0.025, 0.975, tuple(stats.GRID))
    assert p_above(uniform, 0.25) == pytest.approx(0.25)
    assert p_above(Residual(0.9, 0.8, 1.0, (0.8,) * len(stats.GRID)), 0.25) == stats.GRID[0]
    assert p_above(Residual(0.1, 0.0, 0.2, (0.1,) * len(stats.GRID)), 0.25) == 1.0


def test_seeds_widen_the_interval() -> None:
    # Three seeds that disagree (0, 0.5, 1) on every item: entities carry no spread, the seeds do.
    spread = mean(scores(np.repeat([[0.0], [0.5], [1.0]], 20, axis=1))).estimate(0.0)
    assert spread.low < 0.2
    assert spread.high > 0.8
