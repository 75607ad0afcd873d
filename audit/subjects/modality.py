"""What a subject is shown, read from its config: text, images that it sorts, both in one prompt, latents to draw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from audit.errors import NotApplicable, SubjectError
from audit.subjects.encoder import kind_of, model_folder
from audit.subjects.files import folder_of, is_adapter, read_object
from audit.subjects.settings import loader_settings
from audit.subjects.withimages import carries_images
from audit.types import Evidence, Modality, SubjectSpec, digest_of

PROCESSOR = "preprocessor_config.json"
PROCESSORS = "processor_config.json"
"""Where newer versions of the library put it, beside the tokenizer's settings."""
CLASSIFIERS = "ForImageClassification"
"""How the architectures of transformers that sort images into classes end."""
ANSWERERS = ("ForConditionalGeneration", "ForVision2Seq", "ForImageTextToText")
"""How those end that answer in words, of images too where their config has a part for these."""
GENERATOR, PIPELINE = "palimpsest-generator", "model_index.json"
"""The model_type of a generator that is described in its config, and the file that a pipeline of diffusers has."""
TEXT_ONLY = frozenset({Modality.TEXT})
DO: dict[Modality, str] = {
    Modality.TEXT: "are language models",
    Modality.IMAGES: "sort images into classes: they read no prompt and write no text",
    Modality.VECTORS: "turn texts or images into vectors: they write no text",
    Modality.IMAGE_TEXT: "are vision-language models",
    Modality.LATENTS: "draw images from latents: they read no prompt and write no text",
}
"""What the subjects of a kind do, as the end of a sentence."""


def modality_of(spec: SubjectSpec) -> Modality:
    """What a subject is shown; a folder that says nothing of it is a language model's."""
    folder = folder_of(spec)
    if is_adapter(folder):
        from audit.subjects.adapter import base_of

        try:
            folder = folder_of(base_of(spec, folder))
        except SubjectError:
            return Modality.TEXT  # whoever loads it says what is wrong with it
    if is_generator(folder):
        return Modality.LATENTS
    if loader_settings(spec).timm or is_classifier(folder):
        return Modality.IMAGES
    if answers_images(folder):
        return Modality.IMAGE_TEXT
    return Modality.TEXT if kind_of(spec) is None else Modality.VECTORS


def answers_images(folder: Path) -> bool:
    """Whether a folder's config names a vision-language model of transformers."""
    config = _config(folder)
    names = config.get("architectures") or ()
    return isinstance(config.get("vision_config"), dict) and any(str(name).endswith(ANSWERERS) for name in names)


def is_classifier(folder: Path) -> bool:
    """Whether a folder's config names an image classifier of transformers, or one of timm."""
    config = _config(folder)
    names = config.get("architectures") or ()
    return _timm_in(config) is not None or any(CLASSIFIERS in str(name) for name in names)


def is_generator(folder: Path) -> bool:
    """Whether a folder holds a generator: described in its config, or a pipeline of diffusers."""
    return _config(folder).get("model_type") == GENERATOR or is_pipeline(folder)


def is_pipeline(folder: Path) -> bool:
    """Whether a folder holds a pipeline of the diffusers library."""
    return (folder / PIPELINE).is_file()


def timm_of(spec: SubjectSpec) -> str | None:
    """The timm architecture that a subject is, as the case file or timm's own config.json names it."""
    return loader_settings(spec).timm or _timm_in(_config(folder_of(spec)))


def _config(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # whoever needs the config says what is wrong with it
    return found if isinstance(found, dict) else {}


def _timm_in(config: dict[str, Any]) -> str | None:
    name = config.get("architecture")
    return name if isinstance(name, str) and "model_type" not in config else None


def classes_of(spec: SubjectSpec) -> tuple[str, ...]:
    """Names of a classifier's classes in the order of its outputs; raises SubjectError where they are not known."""
    if given := loader_settings(spec).classes:
        return given
    config = _config(model_folder(spec))
    names = config.get("label_names") or config.get("id2label")
    if isinstance(names, dict) and all(str(key).isdecimal() for key in names):
        names = [names[key] for key in sorted(names, key=int)]
    if not names and timm_of(spec):
        names = [str(k) for k in range(int(config.get("num_classes") or 0))]
    if not isinstance(names, list) or len(names) < 2:
        raise SubjectError(
            f"{spec.name}: its classes have no names; save the model with id2label in its config, or give them in the "
            'order of its outputs as classes = ["cat", "dog"] in the case file.'
        )
    return tuple(str(name) for name in names)


def processor_folder(spec: SubjectSpec) -> Path:
    """The folder that says how images are prepared: a subject's own, or the base's for an adapter that brings none."""
    folder = folder_of(spec)
    return folder if any((folder / file).is_file() for file in (PROCESSOR, PROCESSORS)) else model_folder(spec)


def processor_digest(spec: SubjectSpec) -> str:
    """Hash of how images are prepared for a classifier; raises SubjectError where the folder does not say."""
    folder = processor_folder(spec)
    for file in (PROCESSOR, PROCESSORS):
        if (folder / file).is_file():
            return digest_of(read_object(folder / file, spec.name))
    if (name := timm_of(spec)) is not None:
        return digest_of(["timm", name, _config(folder).get("pretrained_cfg")])
    raise SubjectError(
        f"{spec.name}: {folder} holds no {PROCESSOR}, so how images are scaled for it is not known; save it beside the "
        "model with image_processor.save_pretrained."
    )


def readable(evidence: Evidence | type[Evidence], modality: Modality) -> bool:
    """Whether an evidence can be put to such subjects; without `reads` it is for language models."""
    reads = getattr(evidence, "reads", TEXT_ONLY)
    if modality is Modality.IMAGE_TEXT and Modality.TEXT in reads:
        cls = evidence if isinstance(evidence, type) else type(evidence)
        return carries_images(cls.__module__.removeprefix("audit.evidence."))
    return modality in reads


def check_readable(evidence: Evidence, modality: Modality) -> None:
    """Raise NotApplicable, in words, for evidence that needs another kind of subject."""
    if readable(evidence, modality):
        return
    asked = getattr(evidence, "reads", TEXT_ONLY)
    if modality is Modality.IMAGE_TEXT and Modality.TEXT in asked:
        raise NotApplicable(
            "This question comes with prompts of its own, without the image that belongs to each item: of the "
            "vision-language models of this case it would measure something else."
        )
    about = "put in words" if Modality.TEXT in asked else "about " + " or ".join(sorted(str(kind) for kind in asked))
    raise NotApplicable(f"This question is {about}, and the subjects of this case {DO[modality]}.")
