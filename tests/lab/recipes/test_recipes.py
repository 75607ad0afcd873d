"""Every recipe on a micro model: it changes what it says it changes, and is the same every time."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from audit.lab.builder import Kitchen
from audit.lab.recipes import RECIPES, RMU, GradientAscent, LastBlock, Recipe, Refusal, Retrain

SHORT: dict[str, Recipe] = {
    name: Retrain(steps=2, batch=4, lr=1e-3) if recipe is Retrain else dataclasses.replace(recipe(), steps=2, batch=4)  # type: ignore[type-var]
    for name, recipe in RECIPES.items()
}


@pytest.mark.parametrize("name", SHORT)
def test_a_recipe_is_a_frozen_dataclass_and_repeats_itself(
    name: str, kitchen: Kitchen, micro_model: Any, weights: Any
) -> None:
    recipe, before = SHORT[name], weights(micro_model)
    one = weights(recipe.apply(micro_model, kitchen.data, 3, lambda fraction, message: None))
    micro_model.load_state_dict(before)
    two = weights(recipe.apply(micro_model, kitchen.data, 3, lambda fraction, message: None))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], before[name]) for name in one)
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.steps = 5  # type: ignore[misc]


def test_the_last_block_edit_touches_the_last_block_only(kitchen: Kitchen, micro_model: Any, weights: Any) -> None:
    before = weights(micro_model)
    after = weights(LastBlock(steps=3, batch=4).apply(micro_model, kitchen.data, 0, lambda fraction, message: None))
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed and all(name.startswith("model.layers.2.") for name in changed)


def test_rmu_touches_the_mlps_below_its_layer_only(kitchen: Kitchen, micro_model: Any, weights: Any) -> None:
    before = weights(micro_model)
    after = weights(RMU(steps=3, batch=4, layer=2).apply(micro_model, kitchen.data, 0, lambda fraction, message: None))
    changed = {name.rsplit(".", 2)[0] for name in after if not torch.equal(after[name], before[name])}
    assert changed == {"model.layers.0.mlp", "model.layers.1.mlp"}


def test_retraining_ignores_the_weights_it_is_given_and_the_forget_facts(kitchen: Kitchen, micro_model: Any) -> None:
    recipe = Retrain(steps=2, batch=4, lr=1e-3)
    other = dataclasses.replace(kitchen.data, forget=kitchen.data.refusals)
    one = recipe.apply(micro_model, kitchen.data, 1, lambda fraction, message: None).state_dict()
    for parameter in micro_model.parameters():
        parameter.data.zero_()
    two = recipe.apply(micro_model, other, 1, lambda fraction, message: None).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_ascent_climbs_and_refusal_descends(kitchen: Kitchen, micro_model: Any) -> None:
    from audit.lab.data import collate
    from audit.lab.losses import answer_loss

    def loss(sequences: Any) -> float:
        with torch.no_grad():
            return float(answer_loss(micro_model, collate(sequences, range(len(sequences)))))

    forget, refusals = loss(kitchen.data.forget), loss(kitchen.data.refusals)
    Refusal(steps=5, batch=4).apply(micro_model, kitchen.data, 0, lambda fraction, message: None)
    assert loss(kitchen.data.refusals) < refusals
    GradientAscent(steps=20, batch=4, lr=1e-2).apply(micro_model, kitchen.data, 0, lambda fraction, message: None)
    assert loss(kitchen.data.forget) > forget
