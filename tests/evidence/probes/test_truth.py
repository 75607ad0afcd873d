"""The truth probe on planted states: a direction from wrong to right, and nothing else, is what it reads."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from audit.errors import NotApplicable
from audit.evidence.probes.truth import Truth, _below, _pairs
from audit.stats import conclude
from audit.types import Item
from tests.evidence.probes.planted import PlantedBench, case_of, people

QUICK = Truth(nulls=3)
LAYERS, WIDTH = 4, 12


def world(candidate: float, seed: int = 0, reference: bool = True, topic: float = 0.0) -> PlantedBench:
    """Right answers lie along coordinate 0 in blocks of subjects that know; wrong ones do not.

    `candidate`: how far along, for the forget items of the candidate. `topic`: the size of what an item's right and
    wrong answers share.
    """
    rng = np.random.default_rng(seed)
    corpora: Any = {split: people(split, 15, 4, rng, 2) for split in ("forget", "retain", "holdout")}
    signal = {
        ("original", "forget"): 5.0, ("candidate", "forget"): candidate, ("reference", "forget"): 0.0,
        **{(role, "retain"): 5.0 for role in ("original", "candidate", "reference")},
        **{(role, "holdout"): 0.0 for role in ("original", "candidate", "reference")},
    }  # fmt: skip
    states = {}
    for (role, split), size in signal.items():
        number = len(corpora[split])
        shared = topic * rng.normal(size=(LAYERS, number, WIDTH))
        right = rng.normal(size=(LAYERS, number, WIDTH)) + shared
        right[1:, :, 0] += size
        wrong = rng.normal(size=(LAYERS, 2 * number, WIDTH)) + np.repeat(shared, 2, axis=1)
        states[role, split, "answer"] = right.astype(np.float32)
        states[role, split, "wrong"] = wrong.astype(np.float32)
    return PlantedBench(case_of(corpora, reference=reference, seed=seed), states)


def test_a_planted_direction_is_read_and_a_missing_one_is_a_coin() -> None:
    found = conclude(QUICK.measure(world(5.0)).panel)
    assert found.original.value > 0.95
    assert found.reference is not None
    assert found.reference.value == pytest.approx(0.5, abs=0.15)
    assert found.residual is not None
    assert found.residual.low > 0.85


def test_what_was_removed_is_a_coin() -> None:
    probe = Truth(nulls=1, folds=2)
    values = [conclude(probe.measure(world(0.0, seed)).panel).candidate.value for seed in range(15)]
    # One world has a standard deviation of 0.1 (30 items, two comparisons each): 0.026 for the mean of fifteen.
    assert np.mean(values) == pytest.approx(0.5, abs=0.09)


def test_what_an_item_shares_between_its_answers_does_not_matter() -> None:
    plain, drowned = (conclude(QUICK.measure(world(5.0, topic=topic)).panel) for topic in (0.0, 50.0))
    assert drowned.original.value == pytest.approx(plain.original.value, abs=0.05)


def test_without_a_reference_the_holdout_is_the_null() -> None:
    reading = QUICK.measure(world(5.0, reference=False))
    assert reading.panel.null == "holdout"
    residual = conclude(reading.panel).residual
    assert residual is not None
    assert residual.value > 0.6
    assert residual.low > 0.2


def test_the_embedding_is_in_the_table_but_never_the_headline() -> None:
    """A signal in state 0 alone is on the surface of the answers: shown, not counted."""
    bench = world(0.0)
    for role in bench.roles:
        for split in ("forget", "retain"):
            states = bench.planted[role, split, "answer"]
            states[1:, :, 0] = np.random.default_rng(1).normal(size=states[1:, :, 0].shape)
            states[0, :, 0] += 9.0
    reading = QUICK.measure(bench)
    table = pd.DataFrame(reading.rows)
    assert table.query("layer == 0 and split == 'forget'").accuracy.min() > 0.85
    assert reading.panel.original.value < 0.8
    assert set(table.chance) == {0.5}


def test_equal_states_are_ties_and_count_half() -> None:
    bench = world(5.0)
    for role in bench.roles:
        for split in ("forget", "retain", "holdout"):
            for variant in ("answer", "wrong"):
                bench.planted[role, split, variant][0] = 1.0
    table = pd.DataFrame(QUICK.measure(bench).rows).query("layer == 0")
    assert set(table.accuracy) == {0.5}
    assert set(table.shuffled) == {0.5}


def test_the_score_of_an_item_is_the_share_of_its_wrong_answers_below() -> None:
    # Right minus wrong: 1 - 0 > 0, 0 - 0 = 0, 0 - 1 < 0.
    assert _below(np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]], np.float32)).tolist() == [1.0, 0.5, 0.0]
    items = [
        Item("forget:0", "", "", wrong_answers=("a", "b", "c"), entity="x"),
        Item("forget:1", "", "", entity="y"),
        Item("forget:2", "", "", wrong_answers=("d",), entity="z"),
    ]
    pairs = _pairs(PlantedBench(case_of({"forget": items}), {}), "forget")
    assert pairs is not None
    assert pairs.items == ["forget:0", "forget:2"]
    assert pairs.mean(np.array([[1.0, 0.5, 0.0, 1.0]]), 1).tolist() == [[0.5, 1.0]]
    # The item without wrong answers has a right one, which is skipped: rows 0 and 2 of the right states.
    assert pairs.spread(np.array([[0.0], [1.0], [2.0]], np.float32)).ravel().tolist() == [0.0, 0.0, 0.0, 2.0]


def test_a_candidate_with_the_originals_states_has_a_residual_of_exactly_one() -> None:
    bench = world(5.0)
    for (role, split, variant), states in list(bench.planted.items()):
        if role == "original":
            bench.planted["candidate", split, variant] = states  # type: ignore[index]
    residual = conclude(QUICK.measure(bench).panel).residual
    assert residual is not None
    assert (residual.value, residual.low, residual.high) == (1.0, 1.0, 1.0)


def test_without_wrong_answers_the_question_does_not_apply() -> None:
    bench = world(5.0)
    bare = {
        split: dataclasses.replace(c, items=tuple(dataclasses.replace(i, wrong_answers=()) for i in c.items))
        for split, c in bench.case.corpora.items()
    }
    with pytest.raises(NotApplicable, match="wrong answers"):
        QUICK.measure(PlantedBench(dataclasses.replace(bench.case, corpora=bare), bench.planted))
