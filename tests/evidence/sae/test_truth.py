"""Features of the truth: planted in a made-up dictionary, where there is a truth to read, and on the tiny lab."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from audit.bench import Bench
from audit.collect import collect
from audit.errors import CaseError, NotApplicable
from audit.evidence.sae import truth
from audit.evidence.sae.truth import Truth, steadiness
from audit.stats import conclude
from audit.types import Status
from tests.evidence.probes.planted import PlantedBench
from tests.evidence.probes.test_truth import world
from tests.evidence.sae.quick import QUICK

SMALL = Truth(latents=2)


@pytest.fixture
def rectified(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dictionaries of two blocks with a feature for each direction of each coordinate: max(0, x) and max(0, -x)."""

    def encode(states: np.ndarray) -> np.ndarray:
        return np.maximum(np.hstack([states, -states]), 0.0)

    def known(self: Any, bench: Bench) -> list[Any]:
        return [SimpleNamespace(layer=layer, encode=encode, digest="rectified", name="made up") for layer in (1, 3)]

    monkeypatch.setattr(Truth, "dictionaries", known)
    monkeypatch.setattr(truth, "insist", lambda bench, dictionary: "made up")


def test_steadiness_by_hand() -> None:
    # Differences 1, 1: mean 1, mean square 1, so 1. 2, 0: mean 1, mean square 2, so 1/2. 1, -1: 0. Never: 0.
    found = steadiness(np.array([[1.0, 2.0, 1.0, 0.0], [1.0, 0.0, -1.0, 0.0]], np.float32))
    assert found.tolist() == [1.0, 0.5, 0.0, 0.0]


@pytest.mark.usefixtures("rectified")
def test_a_planted_truth_is_read_and_a_missing_one_is_a_coin() -> None:
    reading = SMALL.measure(world(5.0))
    found = conclude(reading.panel)
    assert found.original.value > 0.9
    assert found.reference is not None
    assert found.reference.value == pytest.approx(0.5, abs=0.15)
    assert found.residual is not None, found.reason
    assert found.residual.low > 0.8
    assert "a coin would score 50 %" in reading.note
    table = pd.DataFrame(reading.rows)
    assert set(table.layer) == {1, 3}
    assert set(table.chance) == {0.5}
    # Right and wrong swapped at random for each training item: fitted to noise, it may point either way.
    assert table.query("split == 'forget'").shuffled.mean() == pytest.approx(0.5, abs=0.15)
    # The two latents that were chosen are the two directions of coordinate 0, of which one always fires.
    assert set(table.firing) == {0.5}


@pytest.mark.usefixtures("rectified")
def test_what_was_removed_is_a_coin() -> None:
    values = [conclude(SMALL.measure(world(0.0, seed)).panel).candidate.value for seed in range(8)]
    # One world has a standard deviation of 0.1 (30 items, two comparisons each): 0.035 for the mean of eight.
    assert np.mean(values) == pytest.approx(0.5, abs=0.12)


@pytest.mark.usefixtures("rectified")
def test_labels_are_not_needed_and_wrong_answers_are() -> None:
    bench = world(5.0)

    def without(**changes: Any) -> PlantedBench:
        made = {
            split: dataclasses.replace(c, items=tuple(dataclasses.replace(i, **changes) for i in c.items))
            for split, c in bench.case.corpora.items()
        }
        return PlantedBench(dataclasses.replace(bench.case, corpora=made), bench.planted)

    with_labels, bare = (conclude(SMALL.measure(b).panel) for b in (bench, without(label=None, attribute=None)))
    assert bare.residual == with_labels.residual
    assert bare.residual is not None
    with pytest.raises(NotApplicable, match="wrong answers"):
        SMALL.measure(without(wrong_answers=()))


@pytest.mark.usefixtures("rectified")
def test_without_a_reference_the_holdout_is_the_null() -> None:
    reading = SMALL.measure(world(5.0, reference=False))
    assert reading.panel.null == "holdout"
    residual = conclude(reading.panel).residual
    assert residual is not None
    assert residual.low > 0.2


@pytest.mark.usefixtures("rectified")
def test_equal_states_are_exactly_the_original() -> None:
    bench: Any = world(5.0)
    for (role, split, variant), states in list(bench.planted.items()):
        if role == "original":
            bench.planted["candidate", split, variant] = states
    residual = conclude(SMALL.measure(bench).panel).residual
    assert residual is not None
    assert (residual.value, residual.low, residual.high) == (1.0, 1.0, 1.0)


@pytest.mark.usefixtures("rectified")
def test_the_candidate_and_the_forget_items_change_nothing_that_was_chosen() -> None:
    """Only the original's retain items choose: another candidate leaves every other subject's rows as they were."""
    one, other = (pd.DataFrame(SMALL.measure(world(size)).rows).query("subject != 'candidate'") for size in (5.0, 0.0))
    pd.testing.assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True))


def test_the_lab_s_small_models_hold_no_truth_that_its_features_tell(bench_of: Callable[..., Bench]) -> None:
    """Six hundred facts teach a small model no direction of truth: both numbers are given, and no residual."""
    finding = collect("sae.truth", Truth(**QUICK), bench_of("last-block"), {})
    assert finding.status is Status.NOT_IDENTIFIABLE, finding.provenance
    assert "does not work here" in finding.reason
    assert finding.residual is None
    assert finding.original is not None
    assert finding.original.value == pytest.approx(0.5, abs=0.15)
    assert set(finding.table["split"]) == {"forget", "holdout"}


def test_no_latents_is_refused() -> None:
    with pytest.raises(CaseError, match="latents"):
        Truth(latents=0)
