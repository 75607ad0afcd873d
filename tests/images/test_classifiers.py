"""Image classifiers of true architectures: they load, unload and are read; what is wrong with one is a sentence."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.activations.capture import POSITIONS
from audit.activations.images import read_features, read_images, read_outputs, read_said, says
from audit.activations.states import States, read_scores
from audit.corpora.images import open_image
from audit.corpora.read import read_corpus
from audit.errors import CorpusError, MissingDependency, SubjectError
from audit.subjects.checks import check_pair
from audit.subjects.garage import Garage
from audit.subjects.load import load
from audit.subjects.modality import modality_of
from audit.types import Modality, SubjectSpec
from tests.images.conftest import CLASSES, processor, resnet, vit

Save = Callable[..., Path]


@pytest.fixture(params=["vit", "resnet"])
def kind(request: pytest.FixtureRequest) -> tuple[Any, int, int]:
    """A model, its channels and its side in pixels."""
    return (vit(), 1, 8) if request.param == "vit" else (resnet(), 3, 32)


def test_it_loads_says_what_the_library_says_and_unloads(
    kind: tuple[Any, int, int], saved: Save, folder_of_images: Save, tmp_path: Path
) -> None:
    import torch

    model, channels, side = kind
    spec = SubjectSpec("original", "original", str(saved(model, channels=channels, side=side)))
    assert modality_of(spec) is Modality.IMAGES
    check_pair(spec, spec)
    folder_of_images("forget", 70, channels)
    corpus = read_corpus("forget", "forget", base=tmp_path)
    images = [open_image(item.image) for item in corpus.items if item.image]
    with torch.inference_mode():
        own = model(processor(channels, side)(images=images, return_tensors="pt")["pixel_values"])
    garage = Garage("cpu")
    with garage.lend(spec) as subject:
        assert subject.classes == CLASSES
        place = tmp_path / "pass"
        place.mkdir()
        read_images(subject, corpus, place)
        assert says(subject, corpus.items) == read_said(place, corpus)
    np.testing.assert_allclose(read_outputs(place), own.logits, atol=1e-5)
    assert read_said(place, corpus) == [CLASSES[k] for k in own.logits.argmax(1)]
    logs = own.logits.log_softmax(1)
    classes = [CLASSES.index(item.answer) for item in corpus.items]
    np.testing.assert_allclose(read_scores(place)["mean_logprob"], logs[range(70), classes], atol=1e-5)
    garage.clear()
    assert not garage._loaded


def test_states_are_those_of_every_block(
    kind: tuple[Any, int, int], saved: Save, folder_of_images: Save, tmp_path: Path
) -> None:
    import torch

    model, channels, side = kind
    subject = load(SubjectSpec("o", "original", str(saved(model, channels=channels, side=side))), device="cpu")
    folder_of_images("forget", 5, channels)
    corpus = read_corpus("forget", "forget", base=tmp_path)
    place = tmp_path / "pass"
    place.mkdir()
    read_images(subject, corpus, place)
    found = States(place, np.arange(5), [i.id for i in corpus.items], corpus.entities, np.zeros(5))
    images = [open_image(item.image) for item in corpus.items if item.image]
    pixels = processor(channels, side)(images=images, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        own = model(pixels, output_hidden_states=True).hidden_states
    assert found.layers == len(own) == 3
    for layer, state in enumerate(own):
        for position in POSITIONS:
            mine = found.at(layer, position)
            if state.ndim == 4:  # the mean over places; six channels are filled up to ten
                wanted = state.mean((2, 3))
            else:
                wanted = state[:, 1:].mean(1) if position == "answer_mean" else state[:, 0]
            np.testing.assert_allclose(mine[:, : wanted.shape[1]], wanted, atol=1e-5)
            assert not mine[:, wanted.shape[1] :].any()
    # What the last layer reads, times its weights, is the logits.
    last = model.classifier if isinstance(model.classifier, torch.nn.Linear) else model.classifier[-1]
    with torch.inference_mode():
        again = last(torch.from_numpy(read_features(place)))
    np.testing.assert_allclose(again, read_outputs(place), atol=1e-5)


def test_a_label_that_is_no_class_is_one_sentence(saved: Save, folder_of_images: Save, tmp_path: Path) -> None:
    subject = load(SubjectSpec("mine", "original", str(saved(vit()))), device="cpu")
    folder_of_images("forget", 3, classes=["circle", "triangle"])
    corpus = read_corpus("forget", "forget", base=tmp_path)
    with pytest.raises(CorpusError, match=r'triangle/001\.png: the label "triangle" is no class of mine, which knows'):
        read_images(subject, corpus, tmp_path)


def test_an_image_that_is_gone_later_is_one_sentence(saved: Save, folder_of_images: Save, tmp_path: Path) -> None:
    subject = load(SubjectSpec("mine", "original", str(saved(vit()))), device="cpu")
    path = folder_of_images("forget", 3) / "cross" / "002.png"
    corpus = read_corpus("forget", "forget", base=tmp_path)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(CorpusError, match=r"cross/002\.png: the image cannot be decoded"):
        read_images(subject, corpus, tmp_path)


def test_pairs_that_cannot_be_compared_are_refused(saved: Save) -> None:
    original = SubjectSpec("original", "original", str(saved(vit())))
    others = {
        "is of another architecture": saved(vit(hidden_size=24, num_attention_heads=2), "wide"),
        "Keep an output for a class": saved(vit(id2label={0: "circle", 1: "cross"}), "fewer"),
        "prepares images otherwise": saved(vit(), "scaled", side=8),
    }
    settings = json.loads((others["prepares images otherwise"] / "preprocessor_config.json").read_text())
    (others["prepares images otherwise"] / "preprocessor_config.json").write_text(
        json.dumps({**settings, "image_mean": [0.4]})
    )
    for words, folder in others.items():
        with pytest.raises(SubjectError, match=words):
            check_pair(SubjectSpec("candidate", "candidate", str(folder)), original)


def test_without_a_processor_nothing_is_guessed(saved: Save) -> None:
    folder = saved(vit())
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(SubjectError, match="so how images are scaled for it is not known"):
        load(SubjectSpec("mine", "original", str(folder)), device="cpu")


def timm_folder(tmp_path: Path) -> SubjectSpec:
    import torch
    from safetensors.torch import save_file

    folder = tmp_path / "plain"
    folder.mkdir()
    tensors = {"layer1.weight": torch.ones(4, 3, 1, 1), "fc.weight": torch.ones(2, 4), "fc.bias": torch.zeros(2)}
    save_file(tensors, folder / "model.safetensors")
    return SubjectSpec("plain", "original", str(folder), {"timm": "tiny", "classes": ["cat", "dog"]})


def test_a_plain_state_dict_needs_timm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    spec = timm_folder(tmp_path)
    assert modality_of(spec) is Modality.IMAGES
    with pytest.raises(MissingDependency, match="pip install timm"):
        load(spec, device="cpu")


def test_a_library_that_cannot_be_imported_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision for CUDA beside a torch without it is found, and raises torch's own errors."""
    (tmp_path / "timm.py").write_text('raise RuntimeError("operator torchvision::nms does not exist")')
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependency, match=r"cannot be used here \(operator torchvision::nms does not exist\)"):
        load(timm_folder(tmp_path), device="cpu")


@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224"])
def test_a_plain_state_dict_is_what_timm_itself_computes(name: str, folder_of_images: Save, tmp_path: Path) -> None:
    """The real library, where it and a torchvision for this torch are installed."""
    timm = pytest.importorskip("timm", exc_type=Exception)
    import torch
    from safetensors.torch import save_file

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = timm.create_model(name, pretrained=False, num_classes=len(CLASSES)).eval()
    folder = tmp_path / "plain"
    folder.mkdir()
    save_file(model.state_dict(), folder / "model.safetensors")
    spec = SubjectSpec("plain", "original", str(folder), {"timm": name, "classes": list(CLASSES)})
    assert modality_of(spec) is Modality.IMAGES
    check_pair(spec, spec)
    folder_of_images("forget", 3, 3)
    corpus = read_corpus("forget", "forget", base=tmp_path)
    subject, place = load(spec, device="cpu"), tmp_path / "pass"
    place.mkdir()
    read_images(subject, corpus, place)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    pixels = torch.stack([transform(open_image(item.image).convert("RGB")) for item in corpus.items if item.image])
    with torch.inference_mode():
        own = model(pixels)
        again = model.get_classifier()(torch.from_numpy(read_features(place)))
    np.testing.assert_allclose(read_outputs(place), own, atol=1e-4)
    np.testing.assert_allclose(again, own, atol=1e-4)
    found = States(place, np.arange(3), [i.id for i in corpus.items], corpus.entities, np.zeros(3))
    assert found.layers > 2
    wrong = SubjectSpec("wrong", "candidate", spec.path, {"timm": "resnet18", "classes": list(CLASSES)})
    with pytest.raises(SubjectError, match="are not those of a resnet18"):
        load(wrong, device="cpu")


def test_names_of_classes_are_asked_for(tmp_path: Path) -> None:
    spec = timm_folder(tmp_path)
    with pytest.raises(SubjectError, match=r"its classes have no names; .*classes = "):
        load(SubjectSpec("plain", "original", spec.path, {"timm": "tiny"}), device="cpu")
    with pytest.raises(SubjectError, match='Setting "classes" of subject "plain"'):
        load(SubjectSpec("plain", "original", spec.path, {"timm": "tiny", "classes": "cat"}), device="cpu")


def test_a_wrong_state_dict_is_said_where_the_library_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's two entry points, as its documentation has them, around a model of our own."""
    import types

    import torch
    from torch import nn

    class Tiny(nn.Module):
        def __init__(self, classes: int) -> None:
            super().__init__()
            self.layer1, self.fc = nn.Conv2d(3, 4, 1, bias=False), nn.Linear(4, classes)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.fc(self.layer1(pixels).mean((2, 3)))
            return found

    library: Any = types.ModuleType("timm")
    library.create_model = lambda name, pretrained, num_classes: Tiny(num_classes)
    library.data = types.SimpleNamespace(
        resolve_model_data_config=lambda model: {"input_size": (3, 8, 8)},
        create_transform=lambda input_size: lambda image: torch.full(input_size, float(np.asarray(image).mean())),
    )
    monkeypatch.setitem(sys.modules, "timm", library)
    subject = load(timm_folder(tmp_path), device="cpu")
    assert subject.model(torch.ones(2, 3, 8, 8)).logits.tolist() == [[12.0, 12.0]] * 2  # 4 channels of 3 ones each
    Tiny.__init__ = lambda self, classes: nn.Module.__init__(self)  # type: ignore[method-assign, assignment]
    with pytest.raises(SubjectError, match="are not those of a tiny"):
        load(SubjectSpec("again", "original", subject.spec.path, subject.spec.settings), device="cpu")
