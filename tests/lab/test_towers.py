"""The emblems: what its data are, and what each recipe keeps."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.lab.towers.builder import case_toml, plans
from audit.lab.towers.data import SCALES, SIDE, Data, world
from audit.lab.towers.model import encoded, processor, random_model, tokenizer_of
from audit.lab.towers.recipes import GradientAscent, ProjectionOnly, WrongPairs

TINY = dataclasses.replace(SCALES["tiny"], forget=6, retain=10, holdout=6, width=16)


@pytest.fixture(scope="module")
def made() -> tuple[Data, Any]:
    splits = world(TINY, 0)
    tokenizer = tokenizer_of(splits)
    return encoded(tokenizer, splits), tokenizer


def test_nobody_is_in_two_splits_and_no_two_emblems_are_alike(made: tuple[Data, Any]) -> None:
    data, tokenizer = made
    people = [person for split in data.splits.values() for person in split.people]
    assert len({person.name for person in people}) == len(people) == 22
    assert len({person.caption for person in people}) == 22
    assert len({person.cells.tobytes() for person in people}) == 22
    for split in data.splits.values():
        assert len(split.grey) == len(split.owner) == TINY.views * len(split.people)
        assert {p.trade for p in split.people} == {p.trade for p in people}, "a trade to forget is one to keep too"
    texts = [tokenizer(person.caption)["input_ids"] for person in people]
    assert all(tokenizer.unk_token_id not in ids for ids in texts)
    assert {len(ids) for ids in texts} == {data.ids["forget"].shape[1]}
    assert np.array_equal(world(TINY, 0)["forget"].grey, data.splits["forget"].grey)
    assert not np.array_equal(world(TINY, 1)["forget"].grey, data.splits["forget"].grey)


def test_pixels_are_what_the_processor_makes_of_the_files(made: tuple[Data, Any], tmp_path: Path) -> None:
    from PIL import Image

    from audit.lab.towers.builder import _write_images

    data, _ = made
    _write_images(tmp_path, data.splits["forget"])
    image = Image.open(tmp_path / "0004.png")
    assert image.size == (SIDE, SIDE)
    found = processor()(images=[image], return_tensors="pt")["pixel_values"]
    np.testing.assert_allclose(found[0], data.pixels("forget")[4], atol=1e-6)


@pytest.mark.parametrize(
    ("recipe", "moved"),
    [(ProjectionOnly(), True), (GradientAscent(), False), (WrongPairs(), False)],
    ids=lambda x: str(x),
)
def test_what_each_recipe_changes(recipe: Any, moved: bool, made: tuple[Data, Any]) -> None:
    data, tokenizer = made
    model = random_model(TINY, tokenizer, 0)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    after = dataclasses.replace(recipe, steps=3).apply(model, data, 0, lambda share, message: None)
    changed = {name for name, p in after.named_parameters() if not np.array_equal(before[name], p.detach())}
    projections = {"visual_projection.weight", "text_projection.weight"}
    assert changed == projections if moved else len(changed) > 20


def test_every_candidate_starts_from_the_original() -> None:
    found = plans(TINY, 0)
    assert len({plan.seed for plan in found.values()}) == len(found)
    for name, plan in found.items():
        first = name in ("original", "reference", "retrained")
        assert (plan.start is None) == first
        assert first or plan.start is found["original"]
        assert f'path = "models/{plan.name}"' in case_toml(TINY, 0)
