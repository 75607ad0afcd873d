"""What is wrong with a vision-language model is one sentence, said before or while it is loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.activations.encode import encode_item
from audit.activations.towers import vision_states
from audit.catalogue import CATALOGUE, evidence_class
from audit.corpora.read import read_corpus
from audit.errors import SubjectError
from audit.subjects.checks import check_pair, check_subject
from audit.subjects.fingerprint import fingerprint
from audit.subjects.load import load
from audit.subjects.modality import modality_of, readable
from audit.types import Modality, SubjectSpec
from tests.sighted.conftest import llava, save

Models = dict[str, SubjectSpec]


@pytest.fixture
def copy(models: Models, tmp_path: Path) -> SubjectSpec:
    """A LLaVA that a test may break."""
    shutil.copytree(models["llava"].path, tmp_path / "mine")
    return SubjectSpec("mine", "original", str(tmp_path / "mine"))


def change(spec: SubjectSpec, file: str, **values: object) -> None:
    path = Path(spec.path) / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_no_processor(copy: SubjectSpec) -> None:
    (Path(copy.path) / "processor_config.json").unlink()
    with pytest.raises(SubjectError, match=r"mine: .* holds no processor_config\.json, so how images are shown"):
        check_subject(copy)


def test_a_processor_that_counts_otherwise_than_the_model(copy: SubjectSpec) -> None:
    change(copy, "processor_config.json", num_additional_image_tokens=3)
    check_subject(copy)
    with pytest.raises(SubjectError, match="do not belong together: 6 tokens stand for an image, and the model"):
        load(copy, device="cpu")


def test_a_processor_that_is_none(copy: SubjectSpec) -> None:
    (Path(copy.path) / "processor_config.json").write_text('{"processor_class": "NoSuchProcessor"}')
    with pytest.raises(SubjectError, match="mine: .*processor"):
        load(copy, device="cpu")


def test_a_system_on_such_a_model_is_refused_in_words(copy: SubjectSpec) -> None:
    guarded = SubjectSpec("guarded", "candidate", copy.path, {"kind": "prompt_guard", "prefix": "No."})
    with pytest.raises(
        SubjectError, match=r"guarded is .* on a vision-language model, and such systems here read texts"
    ):
        check_subject(guarded)


def test_pairs_that_cannot_be_compared_are_refused(models: Models, copy: SubjectSpec, tmp_path: Path) -> None:
    original = models["llava"]
    check_pair(copy, original)
    assert fingerprint(copy).id == fingerprint(original).id
    other = save(llava(1), tmp_path / "other")
    assert fingerprint(other).id != fingerprint(original).id
    check_pair(other, original)
    wide = save(llava(0, hidden_size=24), tmp_path / "wide")
    with pytest.raises(SubjectError, match="The vision encoder of wide is another .* hidden_size is 24 instead of 16"):
        check_pair(wide, original)
    settings = json.loads((Path(copy.path) / "processor_config.json").read_text())
    change(copy, "processor_config.json", image_processor={**settings["image_processor"], "image_mean": [0, 0, 0]})
    with pytest.raises(SubjectError, match=r"mine is shown images otherwise than llava"):
        check_pair(copy, original)
    assert fingerprint(copy).id != fingerprint(original).id


def test_an_adapter_on_such_a_model_is_one_too(models: Models, tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText

    base = models["llava"]
    model = get_peft_model(
        AutoModelForImageTextToText.from_pretrained(base.path),
        LoraConfig(r=2, target_modules=["linear_2"], init_lora_weights=False),
    )
    model.save_pretrained(tmp_path / "adapter")
    spec = SubjectSpec("adapted", "candidate", str(tmp_path / "adapter"), {"base": base.path})
    assert modality_of(spec) is Modality.IMAGE_TEXT
    check_pair(spec, base)
    plain, adapted = load(base, device="cpu"), load(spec, device="cpu")
    assert adapted.tokenizer.eyes.placeholder == "<image>"  # type: ignore[attr-defined]
    changed = {
        name.split(".")[1]
        for (name, one), other in zip(
            plain.model.named_parameters(), dict(adapted.model.named_parameters()).values(), strict=True
        )
        if not torch.equal(one, other)
    }
    assert changed == {"multi_modal_projector"}


def test_what_a_model_sees_is_the_mean_over_its_own_vision_states(
    kind: str, models: Models, questions: Callable[..., Path]
) -> None:
    import torch

    subject = load(models[kind], device="cpu")
    corpus = read_corpus(str(questions()), "forget", base=Path())
    pictures = [item.image for item in corpus.items if item.image]
    found = vision_states(subject, pictures)
    assert [part.shape for part in found] == [(3, 16), (3, 16), (3, 32)]
    for k, item in enumerate(corpus.items[:3]):
        row = encode_item(subject.tokenizer, item, "plain")
        assert row.shown
        given = dict(row.shown.inputs())
        with torch.inference_mode():
            if kind == "llava":
                own = subject.model.model.vision_tower(**given, output_hidden_states=True).hidden_states
                assert found[1][k] == pytest.approx(own[2].mean((0, 1)).numpy(), abs=1e-5)
            out = subject.model(input_ids=torch.tensor([row.ids]), **given)
        seen = out.image_hidden_states
        assert found[2][k] == pytest.approx(seen.reshape(-1, 32).mean(0).numpy(), abs=1e-5)


def test_what_carries_no_image_is_not_asked_of_such_models() -> None:
    asked = {id for id in CATALOGUE if readable(evidence_class(id), Modality.IMAGE_TEXT)}
    assert {"behaviour.recall", "behaviour.recognition", "attacks.image_rephrase", "drift.towers", "drift.cka"} <= asked
    assert not asked & {"attacks.gcg", "attacks.soft_prompt", "attacks.prompts", "attacks.in_context", "privacy.svc"}
    for id in ("behaviour.recognition", "attacks.image_rephrase", "drift.towers"):
        assert not readable(evidence_class(id), Modality.TEXT)
        assert not readable(evidence_class(id), Modality.IMAGES)


def test_weights_are_told_apart_by_tower() -> None:
    from audit.evidence.concepts._reading import in_order, place_of

    names = {
        "model.language_model.layers.1.mlp.up_proj.weight": "block 1",
        "model.vision_tower.encoder.layers.1.mlp.fc1.weight": "vision block 1",
        "model.visual.blocks.3.attn.qkv.weight": "vision block 3",
        "model.vision_model.embeddings.patch_embedding.weight": "vision encoder",
        "model.multi_modal_projector.linear_1.weight": "projector",
        "model.connector.modality_projection.proj.weight": "projector",
        "model.visual.merger.mlp.0.weight": "projector",
        "model.layers.2.mlp.up_proj.weight": "block 2",
        "model.language_model.embed_tokens.weight": "embedding",
    }
    assert {name: place_of(name)[0] for name in names} == names
    ordered = ["vision encoder", "vision block 1", "vision block 3", "projector", "embedding", "block 1", "block 2"]
    assert in_order(set(names.values())) == ordered
