"""The digits scenario: what its data are, and what each recipe keeps."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from audit.errors import CaseError
from audit.lab import build
from audit.lab.digits.builder import case_toml, plans
from audit.lab.digits.data import CLASSES, GROUPS, SCALES, Data, kinds
from audit.lab.digits.label_agnostic import LabelAgnostic
from audit.lab.digits.model import random_model
from audit.lab.digits.recipes import GradientAscent, HeadOnly, RandomLabels, SaliencyMasking

TINY = SCALES["tiny"]


@pytest.fixture(scope="module")
def data() -> dict[str, Data]:
    return kinds(TINY, 0)


def test_no_image_is_in_two_splits_and_wrong_labels_are_wrong(data: dict[str, Data]) -> None:
    from sklearn.datasets import load_digits

    digits = load_digits().target
    for kind, found in data.items():
        images = np.concatenate([split.images for split in found.splits.values()])
        assert len(set(images.tolist())) == len(images), kind
    forget, retain = data["samples"].splits["forget"], data["samples"].splits["retain"]
    assert len(forget.images) == TINY.forget
    assert (forget.labels != digits[forget.images]).all()
    assert (retain.labels == digits[retain.images]).all()
    assert GROUPS == {"class": (3,), "semantic": (0, 6, 8, 9)}
    for kind, group in GROUPS.items():
        gone, kept = data[kind].splits["forget"], data[kind].splits["retain"]
        assert set(gone.labels.tolist()) == set(group)
        assert set(kept.labels.tolist()) == set(range(10)) - set(group)


def test_pixels_are_what_the_processor_makes_of_the_files(data: dict[str, Data], tmp_path: Any) -> None:
    from PIL import Image

    from audit.lab.digits.builder import write_images
    from audit.lab.digits.model import processor

    write_images(tmp_path)
    made = processor()(images=[Image.open(tmp_path / "0007.png")], return_tensors="pt")["pixel_values"]
    np.testing.assert_allclose(made[0], data["samples"].pixels[7], atol=1e-6)


def apply(recipe: Any, data: Data) -> tuple[dict[str, Any], dict[str, Any]]:
    """Weights before and after three steps."""
    model = random_model(TINY, 0)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    short = dataclasses.replace(recipe, steps=3, **({"repair": 1} if isinstance(recipe, LabelAgnostic) else {}))
    after = short.apply(model, data, 0, lambda share, message: None)
    return before, {name: p.detach() for name, p in after.named_parameters()}


def test_the_head_only_edit_leaves_everything_else_bit_by_bit(data: dict[str, Data]) -> None:
    before, after = apply(HeadOnly(), data["samples"])
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {"classifier.weight", "classifier.bias"}


def test_saliency_masking_moves_half_of_the_weights_and_random_labels_nearly_all(data: dict[str, Data]) -> None:
    def moved(recipe: Any) -> float:
        before, after = apply(recipe, data["samples"])
        counts = [(int((before[n] != after[n]).sum()), before[n].numel()) for n in before]
        return sum(a for a, _ in counts) / sum(b for _, b in counts)

    assert moved(SaliencyMasking()) == pytest.approx(0.5, abs=0.02)
    assert moved(RandomLabels()) > 0.9
    assert moved(GradientAscent()) > 0.9


def test_label_agnostic_forgetting_does_not_read_the_forgotten_labels(data: dict[str, Data]) -> None:
    found = data["samples"]
    forget = found.splits["forget"]
    other = dataclasses.replace(forget, labels=(forget.labels + 1) % len(CLASSES))
    _, first = apply(LabelAgnostic(), found)
    _, second = apply(LabelAgnostic(), Data(found.pixels, {**found.splits, "forget": other}))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_every_model_starts_from_the_original_of_its_kind() -> None:
    made = plans(TINY, 0)
    assert len({plan.seed for plan in made.values()}) == len(made)
    for (kind, name), plan in made.items():
        first = name in ("original", "reference", "retrained")
        assert (plan.start is None) == first
        assert first or plan.start is made[kind, "original"]
        assert f'path = "models/{plan.name}"' in case_toml(kind, 0, 5)


def test_an_unknown_scenario_is_a_sentence() -> None:
    with pytest.raises(CaseError, match='Did you mean "digits"'):
        build("digit", out=None)  # type: ignore[arg-type]
