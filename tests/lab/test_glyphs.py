"""The drawn signs: what is drawn, what is said of it, and what each recipe may change."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from audit.lab.glyphs.builder import case_toml, plans
from audit.lab.glyphs.data import NAME, SCALES, VIEWS, Sign, drawn, items, signs
from audit.lab.glyphs.model import TOKENS, Data, prepare, random_model
from audit.lab.glyphs.recipes import GradientAscent, LastBlock, ProjectorOnly

TINY = dataclasses.replace(SCALES["tiny"], forget=3, retain=3, holdout=3)


@pytest.fixture(scope="module")
def every() -> list[Sign]:
    return signs(TINY, 0)


@pytest.fixture(scope="module")
def data(every: list[Sign]) -> Data:
    return prepare(every, TINY, 0)


def test_no_two_signs_are_alike_and_chance_is_one_in_the_values() -> None:
    every = signs(SCALES["tiny"], 0)
    assert len({sign.name for sign in every}) == len(every)
    first = [drawn(sign, 0) for sign in every]
    assert len({views[0].tobytes() for views in first}) == len(every)
    assert all(len(views) == VIEWS for views in first)
    jobs = [sign.facts["job"][0] for sign in every]
    assert len(set(jobs)) == SCALES["tiny"].values
    assert all(sign.facts["job"][0] not in sign.facts["job"][1:] for sign in every)


def test_every_fact_is_asked_of_the_image_and_by_the_name(every: list[Sign]) -> None:
    sign = every[0]
    lines = items(sign, TINY, "x.png")
    assert [line["attribute"] for line in lines] == ["job", "city", NAME]
    for line in lines:
        assert sign.name not in f"{line['prompt']} {line['paraphrases']}", "the image alone says which"
        assert "picture" in line["prompt"]
        if line["attribute"] != NAME:
            assert line["text_prompt"] == line["prompt"].replace("in the picture", sign.name)
    assert "text_prompt" not in lines[2], "a name cannot be asked by the name"


def test_rows_are_what_the_audit_reads(every: list[Sign], data: Data, tmp_path: Any) -> None:
    """The lab writes its token ids itself; they are those of the audit's own door."""
    import torch
    from PIL import Image

    from audit.activations.encode import encode
    from audit.activations.eyes import Eyes, SightedTokenizer
    from audit.corpora.images import picture

    Image.fromarray(drawn(every[0], 0)[0]).save(tmp_path / "a.png")
    seen = picture("a.png", "a", tmp_path)
    eyes = Eyes(data.processor, ["pixel_values"], torch.float32, "lab")
    tokenizer: Any = SightedTokenizer(data.processor.tokenizer, eyes)  # type: ignore[attr-defined]
    line = items(every[0], TINY, "a.png")[0]
    ours, text = data.rows["forget"][0], data.rows["forget"][1]
    found = encode(tokenizer, line["prompt"], line["answer"], "plain", seen)
    assert (found.ids, found.start) == (ours.ids[:-1], ours.start)
    assert sum(token == data.processor.image_token_id for token in found.ids) == TOKENS
    np.testing.assert_allclose(eyes.prepared(seen)[0]["pixel_values"][0], data.pixels[0, 0], atol=1e-6)
    alone = encode(tokenizer, line["text_prompt"], line["answer"], "plain", None)
    assert (alone.ids, alone.start) == (text.ids[:-1], text.start)


@pytest.mark.parametrize(
    ("recipe", "moved"),
    [(LastBlock(2), "language_model.layers.2"), (ProjectorOnly(2), "multi_modal_projector"), (GradientAscent(2), "")],
)
def test_a_recipe_moves_what_it_says_and_nothing_else(recipe: Any, moved: str, data: Data) -> None:
    model = random_model(TINY, data.processor, 0)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    recipe.apply(model, data, 0, lambda share, message: None)
    changed = {name for name, p in model.named_parameters() if not np.array_equal(before[name], p.detach())}
    assert changed
    if moved:
        assert changed == {name for name in before if moved in name}
    else:
        assert {name.split(".")[1] for name in changed} >= {"vision_tower", "multi_modal_projector", "language_model"}


def test_models_of_a_build() -> None:
    made = plans(TINY, 0)
    assert len({plan.seed for plan in made.values()}) == len(made)
    for name, plan in made.items():
        assert (plan.start is None) == (name in ("original", "reference", "retrained"))
        assert f'path = "models/{name}"' in case_toml(0, TINY)
    json.dumps({name: plan.digest for name, plan in made.items()})
