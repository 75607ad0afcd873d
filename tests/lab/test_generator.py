"""The scenario of the generators: who may see which images, and what each recipe keeps."""

from __future__ import annotations

import dataclasses
import tomllib
from typing import Any

import numpy as np
import pytest

from audit.lab.generator.builder import case_toml, plans
from audit.lab.generator.data import FORGOTTEN, KEPT, SCALES, UNSEEN, Data, corpora, data_of
from audit.lab.generator.model import random_pair
from audit.lab.generator.recipes import OTHER, ConditionOnly, GradientAscent, Redirected

TINY = SCALES["tiny"]


@pytest.fixture(scope="module")
def data() -> Data:
    return data_of(0)


def test_nobody_who_judges_saw_what_another_learnt_from(data: Data) -> None:
    images = np.concatenate(list(data.parts.values()))
    assert len(set(images.tolist())) == len(images) == 1797
    assert FORGOTTEN not in data.digits[data.of(*KEPT)]
    assert not set(data.digits[data.of(*KEPT, FORGOTTEN)].tolist()) & {UNSEEN}, "no generator ever sees the holdout"


def test_no_latent_is_asked_for_twice() -> None:
    rows = corpora(TINY, 0)
    seeds = [row["seed"] for found in rows.values() for row in found]
    assert len(set(seeds)) == len(seeds) == TINY.forget + 8 * TINY.retain + TINY.holdout
    assert {row["label"] for row in rows["forget"]} == {str(FORGOTTEN)}
    assert rows != corpora(TINY, 1)


def moved(recipe: Any, data: Data) -> set[str]:
    """Names of the weights that three steps change."""
    pair = random_pair(TINY, 0)
    before = {name: value.clone() for name, value in pair.generator.state_dict().items()}
    after = dataclasses.replace(recipe, steps=3).apply(pair, data, 0, lambda share, message: None)
    return {n for n, v in after.generator.state_dict().items() if not np.array_equal(before[n], v)}


def test_the_condition_only_edit_leaves_every_layer_bit_by_bit(data: Data) -> None:
    assert moved(ConditionOnly(), data) == {"condition.weight"}
    pair = ConditionOnly().apply(random_pair(TINY, 0), data, 0, lambda share, message: None)
    rows = pair.generator.condition.weight.detach().numpy()
    np.testing.assert_array_equal(rows[FORGOTTEN], rows[OTHER])
    untouched = random_pair(TINY, 0).generator.condition.weight.detach().numpy()
    np.testing.assert_array_equal(np.delete(rows, FORGOTTEN, 0), np.delete(untouched, FORGOTTEN, 0))


def test_the_others_move_the_layers(data: Data) -> None:
    for recipe in (Redirected(), GradientAscent()):
        assert {"blocks.0.0.weight", "blocks.4.0.weight"} <= moved(recipe, data)


def test_every_model_has_a_seed_of_its_own_and_the_case_names_who_looks() -> None:
    made = plans(TINY, 0)
    assert len({plan.seed for plan in made.values()}) == len(made)
    case = tomllib.loads(case_toml(0, TINY))
    assert case["subjects"]["scorer"] == {"path": "models/scorer", "images": "real.jsonl"}
    assert case["subjects"]["judge"] == {"path": "models/judge"}
    names = [candidate["name"] for candidate in case["subjects"]["candidates"]]
    assert names == ["untouched", "retrained", "condition-only", "redirected", "gradient-ascent"]
