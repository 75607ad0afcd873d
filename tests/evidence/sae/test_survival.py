"""Feature survival on the tiny lab, whose truth is known by construction."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from audit.bench import Bench
from audit.errors import CaseError
from audit.evidence.sae.survival import Survival
from audit.stats import conclude
from tests.evidence.sae.quick import QUICK

EVIDENCE = Survival(**QUICK)


def test_features_below_the_edit_survive_and_a_retrained_model_has_none(bench_of: Callable[..., Bench]) -> None:
    kept = conclude(EVIDENCE.measure(bench_of("last-block")).panel).residual
    gone = conclude(EVIDENCE.measure(bench_of("retrained")).panel).residual
    assert kept is not None
    assert gone is not None
    assert kept.value >= 0.9
    assert gone.low < 0.1
    assert gone.value < 0.3


def test_the_original_is_exactly_itself(bench_of: Callable[..., Bench]) -> None:
    found = conclude(EVIDENCE.measure(bench_of("untouched")).panel).residual
    assert found is not None
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


def test_without_a_reference_the_holdout_is_the_null(bench_of: Callable[..., Bench]) -> None:
    reading = EVIDENCE.measure(bench_of("last-block", reference=False))
    assert reading.panel.null == "holdout"
    found = conclude(reading.panel).residual
    assert found is not None
    assert found.value >= 0.9


def test_shuffled_labels_are_at_chance_and_features_of_others_fire(bench_of: Callable[..., Bench]) -> None:
    table = pd.DataFrame(EVIDENCE.measure(bench_of("last-block")).rows)
    forget = table[table["split"] == "forget"]
    assert forget["shuffled"].mean() == pytest.approx(forget["chance"].mean(), abs=0.12)
    assert forget["firing"].between(0, 1).all()


def test_no_latents_is_refused() -> None:
    with pytest.raises(CaseError, match="latents"):
        Survival(latents=0)
