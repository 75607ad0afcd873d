"""leak@k, the expected best of k and their bounds, by hand and against enumeration."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from audit.metrics.sampling import clopper_pearson_upper, dkw_upper_mean, expected_max, leak_at_k


def test_leak_at_k_by_hand() -> None:
    # n = 4 samples, of which c = 0, 1, 2, 3, 4 leaked. Of C(4,2) = 6 pairs, those without a leak: 6, 3, 1, 0, 0.
    assert leak_at_k([0, 1, 2, 3, 4], 4, 2) == pytest.approx([0, 1 / 2, 5 / 6, 1, 1])
    assert leak_at_k([0, 1, 2, 3, 4], 4, 1) == pytest.approx([0, 1 / 4, 2 / 4, 3 / 4, 1])
    assert leak_at_k([0, 1, 2, 3, 4], 4, 4) == pytest.approx([0, 1, 1, 1, 1])


def test_large_numbers_stay_exact() -> None:
    # 1 - C(199,128)/C(200,128) = 128/200
    assert leak_at_k([1], 200, 128)[0] == pytest.approx(128 / 200)
    assert leak_at_k([0], 200, 128)[0] == 0.0


def test_expected_max_by_hand() -> None:
    # Scores 0.1, 0.4, 0.7 in pairs: best 0.4, 0.7, 0.7, in the mean 0.6.
    assert expected_max([0.7, 0.1, 0.4], 2) == pytest.approx(0.6)
    assert expected_max([0.7, 0.1, 0.4], 1) == pytest.approx(0.4)
    assert expected_max([0.7, 0.1, 0.4], 3) == pytest.approx(0.7)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7), st.data())
def test_expected_max_is_the_mean_over_all_subsets(scores: list[float], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(scores)))
    every = [max(chosen) for chosen in combinations(scores, k)]
    assert float(expected_max(scores, k)) == pytest.approx(np.mean(every))
    yes = np.asarray(scores) > 0.5
    assert float(expected_max(yes, k)) == pytest.approx(float(leak_at_k(int(yes.sum()), len(scores), k)))


def test_clopper_pearson_is_where_so_few_leaks_become_unlikely() -> None:
    # No leak in n samples: (1 - p)^n = alpha, so p = 1 - 0.01^(1/32) = 0.1340.
    assert clopper_pearson_upper([0], 32)[0] == pytest.approx(1 - 0.01 ** (1 / 32))
    bound = clopper_pearson_upper([0, 3, 31, 32], 32)
    assert bound[-1] == 1.0
    for count, p in zip([0, 3, 31], bound[:3], strict=True):
        assert binom.cdf(count, 32, p) == pytest.approx(0.01)
        assert p > count / 32


def test_dkw_by_hand_and_in_simulation() -> None:
    # n = 50, alpha = exp(-1): eps = sqrt(1/100) = 0.1. Ten samples of 0 and forty of 0.5: a tenth of the mass (five of
    # the zeros) moves to 1: 0.1 * 1 + 0.1 * 0 + 0.8 * 0.5 = 0.5.
    scores = [0.0] * 10 + [0.5] * 40
    assert float(dkw_upper_mean(scores, float(np.exp(-1)))) == pytest.approx(0.5)
    # Too few samples say nothing: eps reaches 1.
    assert float(dkw_upper_mean([0.0, 0.0], 0.01)) == 1.0
    rng = np.random.default_rng(0)
    drawn = rng.beta(1, 4, size=(2000, 40))
    assert (dkw_upper_mean(drawn, 0.05) < 1 / 5).mean() < 0.05


def test_wrong_input_is_refused() -> None:
    for k in (0, 5):
        with pytest.raises(ValueError, match="k must be from 1 to n"):
            leak_at_k([0], 4, k)
    for count in (-1, 5, 0.5):
        with pytest.raises(ValueError, match="count of leaks"):
            leak_at_k([count], 4, 2)
    with pytest.raises(ValueError, match="count of leaks"):
        clopper_pearson_upper([5], 4)
    with pytest.raises(ValueError, match="alpha"):
        dkw_upper_mean([0.1], 0.9)
