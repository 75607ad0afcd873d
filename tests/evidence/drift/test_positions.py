"""Positions: the cosine by hand, a change at one token lights up that token only, and controls."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from audit.activations.capture import POSITIONS
from audit.errors import CaseError, NotApplicable, NotIdentifiable
from audit.evidence.drift.positions import Positions, compare
from audit.stats import conclude
from audit.types import Role, Split
from tests.evidence.drift.moved import assert_exactly_as_original, assert_table_without_residual, world
from tests.evidence.probes.planted import PlantedBench

QUICK = Positions()


def test_cosine_by_hand() -> None:
    # Retain mean (1, 1). Item 0: (2, 1) is (1, 0) from it, (1, 3) is (0, 2): cosine 0; item 1: (1, 0) and (2, -1) from
    # it: 2 / sqrt(5); item 2 is the same state, and item 3 is the mean itself in the subject, which has no direction.
    retain = np.array([[0, 1], [2, 1]], np.float32)
    forget = np.array([[2, 1], [2, 1], [5, 5], [2, 1]], np.float32)
    moved = np.array([[1, 3], [3, 0], [5, 5], [1, 1]], np.float32)
    found = compare({"forget": forget, "retain": retain}, {"forget": moved, "retain": retain})
    assert found["forget"] == pytest.approx([0.0, 2 / np.sqrt(5), 1.0, 0.0])
    assert found["retain"].tolist() == [1.0, 1.0]


class Dense(PlantedBench):
    """A bench in which one position of the candidate has states of its own."""

    moved: np.ndarray

    def states(self, role: Role, split: Split, variant: str = "answer") -> Any:
        plain = self.planted[role, split, variant]

        def at(layer: int, position: str = "prompt_last") -> np.ndarray:
            if (role, split, layer, position) == ("candidate", "forget", 2, "answer_last"):
                return self.moved
            return plain[layer]  # type: ignore[no-any-return]

        return SimpleNamespace(layers=len(plain), at=at)


def test_a_change_at_one_token_in_one_layer_is_shown_there_only() -> None:
    plain = world(0.0)
    bench = Dense(plain.case, plain.planted)
    bench.moved = -plain.planted["original", "forget", "answer"][2]
    reading = QUICK.measure(bench)
    table = pd.DataFrame(reading.rows).query("subject == 'candidate'")
    changed = table[table.likeness < 1.0]
    assert len(changed) == 1
    assert (changed.iloc[0].layer, changed.iloc[0].token) == (2, "forget: answer last")
    assert changed.iloc[0].likeness < -0.9
    assert "block 2 at answer_last" in reading.note
    # Six places (three positions, two blocks), one of which turned from 1 to about -1: the mean is about 2/3.
    assert conclude(reading.panel).candidate.value == pytest.approx(2 / 3, abs=0.02)


def test_the_original_as_its_own_candidate_is_exactly_one() -> None:
    reading = QUICK.measure(world(0.0))
    found = assert_exactly_as_original(reading)
    assert found.original.value == 1.0
    assert "the same at every position" in reading.note


def test_a_small_move_is_near_the_original_and_a_large_one_near_the_reference() -> None:
    near, far = (conclude(QUICK.measure(world(size)).panel).residual for size in (0.1, 3.0))
    assert near is not None
    assert far is not None
    assert near.low > 0.95
    assert far.value == pytest.approx(0.0, abs=0.15)


def test_a_direction_that_all_states_share_does_not_make_them_alike() -> None:
    plain, pushed = world(3.0), world(3.0)
    for key in list(pushed.planted):
        pushed.planted[key] = pushed.planted[key] + np.float32(100)  # type: ignore[index]
    sides = [conclude(QUICK.measure(bench).panel).candidate.value for bench in (plain, pushed)]
    assert sides[1] == pytest.approx(sides[0], abs=1e-3)
    assert sides[1] < 0.5


def test_the_map_has_one_cell_for_each_token_layer_and_split() -> None:
    table = pd.DataFrame(QUICK.measure(world(1.0)).rows)
    assert set(table.position) == set(POSITIONS)
    assert table.groupby(["subject", "token", "layer"]).size().max() == 1
    assert table["token"].unique()[0] == "forget: prompt last"


def test_without_a_reference_there_is_a_table_and_no_residual() -> None:
    assert_table_without_residual("drift.positions", QUICK, world(1.0, with_reference=False))


def test_an_original_without_variation_too_few_items_and_a_wrong_setting_say_so() -> None:
    bench = world(1.0)
    for split in ("forget", "retain"):
        bench.planted["original", split, "answer"][1] = 0.5
    with pytest.raises(NotIdentifiable, match="block 1"):
        QUICK.measure(bench)
    few = world(1.0)
    corpora = {"retain": few.case.corpora["retain"]}
    with pytest.raises(NotApplicable, match="at least 2 forget items; the case has 0"):
        QUICK.measure(PlantedBench(dataclasses.replace(few.case, corpora=corpora), few.planted))
    with pytest.raises(CaseError, match="At least 2 items"):
        Positions(items=1)
