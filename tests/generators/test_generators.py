"""Generators load, unload and are read as they draw; whatever is wrong with one is a sentence."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.activations.drawing import draw, latents_of, read_drawn, read_images_drawn, says
from audit.activations.images import UNCLEAR, read_outputs, read_said
from audit.activations.states import States
from audit.errors import CorpusError, SubjectError
from audit.subjects.checks import check_pair, check_subject
from audit.subjects.fingerprint import fingerprint
from audit.subjects.garage import Garage
from audit.subjects.load import load
from audit.subjects.modality import modality_of
from audit.types import Corpus, Item, Latent, Modality, SubjectSpec
from tests.generators.conftest import BLOCKS, CONFIG
from tests.images.conftest import CLASSES, processor, vit

Make = Callable[..., tuple[SubjectSpec, Any]]


def asked(number: int, **changes: Any) -> list[Item]:
    return [
        Item(f"forget:{k}", f"seed {k}", c := CLASSES[k % 3], label=c, latent=Latent(seed=k), **changes)
        for k in range(number)
    ]


def test_it_loads_draws_as_the_layers_say_and_unloads(made: Make, tmp_path: Path) -> None:
    """The pass against torch's own modules, the processor's own preparation and the classifiers' own answers."""
    import torch
    from PIL import Image

    spec, model = made()
    assert modality_of(spec) is Modality.LATENTS
    check_pair(spec, spec)
    items = asked(70)  # more than a batch
    corpus = Corpus("forget", tuple(items), "made")
    garage = Garage("cpu")
    with garage.lend(spec) as subject:
        place = tmp_path / "pass"
        place.mkdir()
        read_drawn(subject, corpus, place)
        assert says(subject, items) == read_said(place, corpus)
    with torch.inference_mode():
        latents = torch.stack([torch.randn(3, generator=torch.Generator().manual_seed(k)) for k in range(70)])
        state = torch.cat([latents, model.condition.weight[[k % 3 for k in range(70)]]], 1)
        states = [state]
        for block in model.blocks:
            states.append(block(states[-1]))
        wanted = ((states[-1] + 1) / 2 * 255).round().clamp(0, 255).to(torch.uint8)
        drawn = read_images_drawn(place)
        assert np.abs(drawn[..., 0].astype(int) - wanted[:, 0].numpy().astype(int)).max() <= 1  # batches round apart
        pictures = [Image.fromarray(one[..., 0]) for one in drawn]
        pixels = processor(1)(images=pictures, return_tensors="pt")["pixel_values"]
        first, second = (vit(seed)(pixels).logits.log_softmax(1) for seed in (0, 1))
    np.testing.assert_allclose(read_outputs(place), (first + second) / 2, atol=1e-5)
    both = [CLASSES[a] if a == b else UNCLEAR for a, b in zip(first.argmax(1), second.argmax(1), strict=True)]
    assert read_said(place, corpus) == both
    found = States(place, np.arange(70), [i.id for i in items], corpus.entities, np.zeros(70))
    assert found.layers == len(states)
    for layer, own in enumerate(states):
        fine = own.flatten(1)
        np.testing.assert_allclose(found.at(layer, "answer_last")[:, : fine.shape[1]], fine, atol=1e-5)
        mean = own.flatten(2).mean(2) if own.ndim == 4 else own
        np.testing.assert_allclose(found.at(layer, "answer_mean")[:, : mean.shape[1]], mean, atol=1e-5)
    garage.clear()
    assert not garage._loaded


def test_one_by_one_is_as_in_a_batch_and_a_vector_as_its_seed(made: Make) -> None:
    subject = load(made()[0], device="cpu")
    items = asked(9)
    whole = draw(subject, items)
    single = np.concatenate([draw(subject, [item]) for item in items])
    assert np.abs(whole.astype(int) - single.astype(int)).max() <= 1
    vectors = [dataclasses.replace(i, latent=Latent(values=tuple(latents_of(subject, [i])[0].tolist()))) for i in items]
    np.testing.assert_array_equal(draw(subject, vectors), whole)


def test_without_conditions_a_label_is_no_condition(made: Make) -> None:
    subject = load(made("plain", classes=[], condition_size=2)[0], device="cpu")
    one = asked(2)
    np.testing.assert_array_equal(draw(subject, one), draw(subject, [dataclasses.replace(i, label=None) for i in one]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"latent": None}, "forget:0 has neither latent nor seed, and original draws from nothing else"),
        ({"latent": Latent(values=(1.0, 2.0))}, "The latent of forget:0 has 2 numbers, and original takes 3"),
        ({"label": "star"}, 'forget:0 has the condition "star", and original knows circle'),
        ({"label": None}, r"forget:0 has no condition \(label\)"),
    ],
)
def test_an_item_that_cannot_be_drawn_is_one_sentence(change: dict[str, Any], words: str, made: Make) -> None:
    subject = load(made()[0], device="cpu")
    with pytest.raises(CorpusError, match=words):
        draw(subject, [dataclasses.replace(asked(1)[0], **change)])


def replaced(block: int, *layers: dict[str, Any]) -> list[Any]:
    return [*BLOCKS[:block], list(layers), *BLOCKS[block + 1 :]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"blocks": replaced(0, {"layer": "attention"})}, 'layer 0 of block 0 is an unknown layer "attention"'),
        ({"blocks": replaced(0, {"layer": "linear", "out": 12, "bias": 1})}, 'linear, has no setting "bias"'),
        ({"blocks": replaced(0, {"layer": "linear", "out": -1})}, '"out" is -1; expected a whole number'),
        ({"blocks": replaced(0, {"layer": "conv", "out": 4})}, "conv, takes an image and is given a vector"),
        ({"blocks": replaced(3, {"layer": "linear", "out": 4})}, "linear, takes a vector and is given an image"),
        ({"blocks": replaced(2, {"layer": "conv", "out": 4, "kernel": 2})}, "an odd one keeps the size"),
        ({"blocks": BLOCKS[:3]}, r"its last block gives \[4, 4, 4\]"),
        ({"blocks": [[]]}, "no list of at least two lists of layers"),
        ({"image": {"channels": 2, "height": 8, "width": 8}}, "an image of 2 channels"),
        ({"image": None}, "describes no image"),
        ({"latent_size": "3"}, "\"latent_size\" is '3'; expected a whole number"),
        ({"latent_size": 4}, "the weight blocks.0.0.weight in .* they do not belong together"),
        ({"blocks": [*BLOCKS, [{"layer": "conv", "out": 1}]]}, "lacks the weight blocks.4.0.weight"),
        ({"classes": []}, "the weight blocks.0.0.weight|holds the weight condition.weight"),
    ],
)
def test_a_description_that_does_not_hold_is_one_sentence(changes: dict[str, Any], words: str, made: Make) -> None:
    spec, _ = made()
    (Path(spec.path) / "config.json").write_text(json.dumps(CONFIG | changes))
    with pytest.raises(SubjectError, match=words) as error:
        check_subject(spec)
    assert str(error.value).count("\n") == 0


def test_who_looks_must_be_there_apart_and_a_classifier(made: Make, tmp_path: Path) -> None:
    spec, _ = made()

    def fails(words: str, **settings: str | None) -> None:
        values = {k: v for k, v in {**spec.settings, **settings}.items() if v is not None}
        with pytest.raises(SubjectError, match=words):
            check_subject(dataclasses.replace(spec, settings=values))

    fails(r"nobody says what it draws: name an image classifier in the case file, \[subjects.scorer\]", scorer=None)
    fails("there is no folder", scorer=str(tmp_path / "nowhere"))
    fails("is a generator|is no image classifier", judge=spec.path)
    # The naive way: whoever leads the search also decides. The judge must not be the scorer, nor its body again.
    fails(
        "The judge shares all its weights with the scorer: images that merely fool the scorer",
        judge=spec.settings["scorer"],
    )
    again = vit(0)
    again.classifier.weight.data += 1
    again.save_pretrained(tmp_path / "again")
    processor(1).save_pretrained(tmp_path / "again")
    fails("The judge shares the weight vit", judge=str(tmp_path / "again"))
    vit(2, id2label={0: "circle", 1: "square", 2: "star"}).save_pretrained(tmp_path / "other")
    processor(1).save_pretrained(tmp_path / "other")
    fails("do not know the same classes", judge=str(tmp_path / "other"))


def test_pairs_that_cannot_be_compared_are_refused_and_the_name_covers_who_looks(made: Make) -> None:
    spec, _ = made()
    other, _ = made("candidate", seed=1)
    check_pair(other, spec)
    assert fingerprint(other).id != fingerprint(spec).id
    wide, _ = made("wide", latent_size=4)
    with pytest.raises(SubjectError, match="wide is of another architecture than original: latent_size"):
        check_pair(wide, spec)
    alone = dataclasses.replace(spec, settings={"scorer": spec.settings["scorer"]})
    assert fingerprint(alone).id != fingerprint(spec).id
    with pytest.raises(SubjectError, match="looked at by different scorers"):
        check_pair(alone, spec)
    with pytest.raises(SubjectError, match="models of different kinds"):
        check_pair(SubjectSpec("scorer", "candidate", str(spec.settings["scorer"])), spec)
