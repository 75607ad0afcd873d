"""Areas, rates and PrivLeak by hand and against scikit-learn."""

import math

import numpy as np
import pytest

from audit.metrics import auc as areas


def test_both_orientations_by_hand():
    # forget losses 1, 2, 4; holdout losses 2, 3: pairs in which holdout is higher:
    # (1: both = 2), (2: tie 0.5 + 1 = 1.5), (4: 0)  ->  3.5 of 6
    found = areas.membership_auc([1.0, 2.0, 4.0], [2.0, 3.0])
    assert found.open_unlearning == pytest.approx(3.5 / 6)
    assert found.muse == pytest.approx(2.5 / 6)
    assert areas.membership_auc([0.0], [1.0]) == (1.0, 0.0), "forget likelier: 1 there, 0 in MUSE"


def test_area_is_scikit_learns_with_ties():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    forget, holdout = rng.integers(0, 9, 50).astype(float), rng.integers(2, 11, 70).astype(float)
    labels = [0] * 50 + [1] * 70
    scores = np.concatenate([forget, holdout])
    found = areas.membership_auc(forget, holdout)
    assert found.open_unlearning == pytest.approx(roc_auc_score(labels, scores))
    assert found.muse == pytest.approx(roc_auc_score(labels, -scores))
    false, true = areas.roc(forget, holdout)
    assert np.trapezoid(true, false) == pytest.approx(found.open_unlearning)


def test_draws_with_whole_weights_are_areas_of_the_repeated_scores():
    higher, lower = np.array([3.0, 1.0, 2.0]), np.array([2.0, 0.0])
    weights = np.array([[1, 1, 1], [2, 0, 1]]), np.array([[1, 1], [0, 3]])
    found = areas.auc_draws(higher, lower, *weights)
    assert found[0] == pytest.approx(areas.auc(higher, lower))
    assert found[1] == pytest.approx(areas.auc([3.0, 3.0, 2.0], [0.0, 0.0, 0.0]))
    assert math.isnan(areas.auc_draws(higher, lower, [[0, 0, 0]], [[1, 1]])[0])


def test_rate_at_low_false_alarms_by_hand():
    # members 1 2 3 6, others 4 5 7 8: no false alarm up to threshold 3 -> 3/4; one of four (4, then 5 would be two)
    members, others = [1.0, 2.0, 3.0, 6.0], [4.0, 5.0, 7.0, 8.0]
    assert areas.tpr_at_fpr(members, others, 0.0) == 0.75
    assert areas.tpr_at_fpr(members, others, 0.25) == 0.75
    assert areas.tpr_at_fpr(members, others, 0.5) == 1.0
    assert areas.tpr_at_fpr([5.0], [1.0], 0.0) == 0.0


def test_privleak_is_one_number_in_both_orientations():
    # MUSE areas 0.2 and 0.5: (0.2 - 0.5) / 0.5 = -60 %; the same areas written by OpenUnlearning are 0.8 and 0.5
    assert areas.privleak(0.2, 0.5, "muse") == pytest.approx(-60)
    assert areas.privleak(0.8, 0.5) == pytest.approx(-60)
    assert areas.privleak(0.99915, 0.38666875) == pytest.approx(-99.86141255645111)  # published, Llama-2-7b full
    assert areas.privleak(0.3, 0.3) == 0.0


def test_a_missing_score_is_never_a_number():
    with pytest.raises(ValueError, match="score at 1 is not a finite number"):
        areas.auc([1.0, math.nan], [1.0])
    with pytest.raises(ValueError, match="at least one score"):
        areas.membership_auc([], [1.0])
