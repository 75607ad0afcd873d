"""TOFU's formulas by hand."""

import math

import numpy as np
import pytest

from audit.metrics import tofu


def test_truth_ratio_and_its_three_aggregators_by_hand():
    # item 0: right loss ln 2 (p 0.5); wrong losses ln 2 and ln 8, mean ln 4 (p 0.25): R = 0.25 / 0.5 = 0.5
    # item 1: right loss ln 4 (p 0.25); wrong losses 0 and ln 4, mean ln 2 (p 0.5):   R = 0.5 / 0.25 = 2
    ratios = tofu.truth_ratios([math.log(2), math.log(4)], [[math.log(2), math.log(8)], [0.0, math.log(4)]])
    assert ratios == pytest.approx([0.5, 2.0])
    assert tofu.closer_to_1_better(ratios) == pytest.approx([0.5, 0.5])  # min(0.5, 2), min(2, 0.5)
    assert tofu.true_better(ratios) == pytest.approx([0.5, 0.0])  # 1 - 0.5, max(0, 1 - 2)
    assert tofu.prob_mean(ratios) == pytest.approx([2 / 3, 1 / 3])  # 0.5/(0.5+0.25), 0.25/(0.25+0.5)
    averaged = tofu.truth_ratios([math.log(2), math.log(4)], [math.log(4), math.log(2)])
    assert averaged == pytest.approx(ratios), "wrong losses may come averaged over options"


def test_a_missing_loss_is_never_a_number():
    with pytest.raises(ValueError, match=r"wrong answer at \[1, 0\] is not a finite number"):
        tofu.truth_ratios([1.0, 1.0], [[1.0], [math.nan]])
    with pytest.raises(ValueError, match="2 right answers, but wrong answers of 1 items"):
        tofu.truth_ratios([1.0, 1.0], [[1.0]])


def test_normalised_probability_by_hand():
    # 0.3 / (0.3 + 0.1 + 0.2) = 0.5;  0.2 / (0.2 + 0.6 + 0) = 0.25
    assert tofu.normalised_probability([0.3, 0.2], [[0.1, 0.2], [0.6, 0.0]]) == pytest.approx([0.5, 0.25])


def test_forget_quality_by_hand_and_in_either_orientation():
    # candidate 1 2 3 4, reference 3.5 4.5 5.5 6.5: at 3 the first has 3/4, the second 0: D = 0.75.
    # Exact two-sided p for n = m = 4: of the C(8, 4) = 70 orders, seen as paths of 8 steps, those that reach +3 number
    # C(8, 7) = 8 by reflection, those that reach -3 as many, and none reaches both: 16 / 70.
    low, high = np.array([1.0, 2.0, 3.0, 4.0]), np.array([3.5, 4.5, 5.5, 6.5])
    found = tofu.forget_quality(low, high)
    assert found.statistic == pytest.approx(0.75)
    assert found.p_value == pytest.approx(16 / 70)
    assert tofu.forget_quality(1 / low, 1 / high) == pytest.approx(found)
    assert tofu.forget_quality(low, low) == pytest.approx((0.0, 1.0))


def test_model_utility_is_the_harmonic_mean_of_nine_named_parts():
    parts = dict.fromkeys(tofu.PARTS, 1.0) | {"wf_Prob": 0.5}
    assert tofu.model_utility(parts) == pytest.approx(9 / (8 + 2))  # eight times 1/1 and once 1/0.5
    assert tofu.model_utility(parts | {"ra_ROUGE": 0.0}) == 0.0
    with pytest.raises(ValueError, match="needs ra_ROUGE, wf_Prob"):
        tofu.model_utility(parts | {"ra_ROUGE": None, "wf_Prob": None})
    with pytest.raises(ValueError, match="not a finite number"):
        tofu.model_utility(parts | {"ra_ROUGE": math.nan})
