"""Exact memorization and extraction strength on a string of eight tokens."""

import math

from audit.metrics.memorization import exact_memorization, extraction_strength


def test_by_hand():
    hits = [1, 0, 1, 0, 0, 1, 1, 1]
    assert exact_memorization(hits) == 5 / 8
    assert extraction_strength(hits) == 1 - 5 / 8  # the last wrong token is at 4: from 5 on everything follows
    assert extraction_strength([1] * 8) == 1.0
    assert math.isnan(exact_memorization([])) and math.isnan(extraction_strength([]))


def test_open_unlearning_never_reports_0():
    hits = [1, 1, 1, 0]
    assert extraction_strength(hits) == 0.0
    assert extraction_strength(hits, as_open_unlearning=True) == 1 / 4  # its loop ends at k = T - 1 = 3
    assert extraction_strength([0, 1, 1, 1], as_open_unlearning=True) == extraction_strength([0, 1, 1, 1]) == 3 / 4
