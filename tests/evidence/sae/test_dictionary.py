"""Dictionary fit on the tiny lab."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from audit.bench import Bench
from audit.evidence.sae.dictionary import Fit
from audit.stats import conclude
from tests.evidence.sae.quick import QUICK

EVIDENCE = Fit(**QUICK)


def test_the_dictionary_fits_what_was_not_edited_and_no_model_of_another_start(bench_of: Callable[..., Bench]) -> None:
    for name, low, high in (("untouched", 1.0, 1.0), ("last-block", 1.0, 1.0), ("retrained", -0.2, 0.3)):
        found = conclude(EVIDENCE.measure(bench_of(name)).panel).residual
        assert found is not None
        assert low <= found.value <= high, name


def test_rows_count_what_fell_silent_and_what_is_new(bench_of: Callable[..., Bench]) -> None:
    table = pd.DataFrame(EVIDENCE.measure(bench_of("retrained")).rows)
    own = table[table["subject"] == "original"]
    assert (own["silenced"] == 0).all()
    assert (own["new"] == 0).all()
    other = table[(table["subject"] == "candidate") & (table["split"] == "forget")]
    assert (other["silenced"] > 0).any()
    assert table["explained"].between(0, 1).all()


def test_a_holdout_says_nothing_about_fit(bench_of: Callable[..., Bench]) -> None:
    found = conclude(EVIDENCE.measure(bench_of("last-block", reference=False)).panel)
    assert found.residual is None
    assert "does not work here" in found.reason
