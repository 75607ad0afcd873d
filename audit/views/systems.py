"""Every kind of system described from its own class, and the entry of one as a form holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from audit._casepaths import place_part
from audit.errors import CaseError, SubjectError
from audit.figures.cards import Card
from audit.subjects.settings import settings_from
from audit.subjects.systems.kinds import KIND, SYSTEMS, system_class, system_of
from audit.types import Access, SubjectSpec
from audit.views.methods import Setting, settings_of_class

PLAIN = "a plain model"
SETTING = ["setting", "default", "meaning"]
EVERYTHING = "text, logits, hidden states, weights"
MODELS: dict[str, tuple[str, str, str, str]] = {
    "image classifier": (
        "an image classifier",
        "A model of transformers that sorts images into classes, or a state dict of timm.",
        EVERYTHING,
        "SalUn (Fan et al. 2024), label-agnostic forgetting (Shen et al. 2024), Are We Truly Forgetting? "
        "(arXiv:2503.06991)",
    ),
    "text encoder": (
        "a text encoder",
        "A model of BERT's kind or a sentence-transformers folder: an item's prompt is searched for among all answers "
        "by nearness of their vectors.",
        "what is found, similarities, hidden states, weights",
        "encoders trained as ESimCSE (arXiv:2109.04380), decoupled contrastive learning (arXiv:2110.06848) or DEXML "
        "(arXiv:2310.10636) train them; contrastive pre-training surveyed in arXiv:2102.12982",
    ),
    "two towers": (
        "a two-tower model of images and texts",
        "CLIP or SigLIP: an item's image is searched for among all captions, and captions among all images.",
        "what is found, similarities, hidden states of both towers, weights",
        "CLIP-like models, among them improved baselines (arXiv:2305.08675), CWCL (arXiv:2309.14580), DeGLA "
        "(arXiv:2504.16801), multimodal contrast (arXiv:2409.17777), contrastive gap (arXiv:2405.18570)",
    ),
    "embedding prompt": (
        "a language model after an embedding prompt",
        "The state of the last token after the setting embedding_prompt, which is part of what names the subject, is "
        "the vector of a text.",
        "what is found, similarities, hidden states, weights",
        "prompt-based embedding: UniME (arXiv:2504.17432), From Generator to Embedder (arXiv:2508.00955), of texts",
    ),
    "vision-language model": (
        "a vision-language model",
        "A model of transformers that answers in words (LLaVA, Idefics, SmolVLM, Qwen-VL and their like), with its "
        "processor: an item has an image and a question, and may have the same question in text alone.",
        f"{EVERYTHING} of vision encoder, projector and language model",
        "UnLOK-VQA (arXiv:2505.01456), SIU and MMUBench (arXiv:2405.12523), MLLMU-Bench (arXiv:2410.22108), and the "
        "models under SAUCE (arXiv:2503.14530)",
    ),
    "generator": (
        "a generator",
        "Layers described in its config that draw an image from a latent and a condition, or a pipeline of diffusers; "
        "a scorer and a judge say what is drawn.",
        "images, what is seen in them, hidden states, weights",
        "Text-to-Unlearn (arXiv:2504.01218), SalUn's diffusion models (Fan et al. 2024), concept erasure and its "
        "circumvention (Pham et al. 2024)",
    ),
}
"""Kinds of plain subjects besides language models, told by their files: what each is, how it works, seen, covers."""


@lru_cache(maxsize=32)
def settings(kind: str) -> tuple[Setting, ...]:
    """The settings of a kind with their defaults and meanings."""
    return settings_of_class(system_class(kind))


def options() -> dict[str, str]:
    """What a form offers: kind → what it is, a plain model first."""
    return {"": PLAIN, **{kind: system_class(kind).title for kind in SYSTEMS}}


def seen(kind: str) -> str:
    """How deep one sees into such a system."""
    access = system_class(kind).access
    return ", ".join(str(level) for level in Access if level in access)


def table() -> pd.DataFrame:
    """Every kind: its name in case files, what it is, how it works, what is seen of it, whose systems it covers."""
    rows = []
    for kind in SYSTEMS:
        cls = system_class(kind)
        rows.append((kind, cls.title, cls.does, seen(kind), cls.papers))
    return pd.DataFrame(rows, columns=["kind", "what it is", "how it works", "seen of it", "covers"])


def cards() -> list[Card]:
    """Every kind with its settings, a card each."""
    return [
        Card(
            f"{what[:1].upper()}{what[1:]}", covers,
            {"How it works": how, "Seen of it": seen, "Kind in case files": kind},
            {"Settings": pd.DataFrame([(s.name, str(s.default), s.meaning) for s in settings(kind)], columns=SETTING)},
        )
        for kind, what, how, seen, covers in table().itertuples(index=False)
    ]  # fmt: skip


def models() -> pd.DataFrame:
    """As `table`, of the kinds of plain subjects that need no kind in a case file."""
    rows = [(kind, *words) for kind, words in MODELS.items()]
    return pd.DataFrame(rows, columns=["kind", "what it is", "how it works", "seen of it", "covers"])


def entry(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """What a case file holds of a system: its kind, and what differs from the defaults; nothing for a plain model."""
    if not kind:
        return {}
    different = {s.name: values[s.name] for s in settings(kind) if s.name in values and values[s.name] != s.default}
    return {KIND: kind, **different}


def takes_texts(kind: str, setting: str) -> bool:
    """Whether a setting that is a list holds texts, so that "1984" in it is a name and no number."""
    return any(field.name == setting and "str" in str(field.type) for field in fields(system_class(kind)))


def placed(name: str, values: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """The entry of a system, checked, its models, folders and files as absolute paths below `root`.

    Raises CaseError with one sentence for whatever is wrong.
    """
    if not values:
        return {}
    try:
        settings_from(values, name)
    except SubjectError as error:
        raise CaseError(str(error)) from error
    cls, found = system_class(values[KIND]), dict(values)
    for key in (*cls.models, *cls.folders, *cls.files):
        if found.get(key):
            found[key] = place_part(str(found[key]).strip(), f"The {key} of {name}", root, root, of=cls.kind_of(key))
    return found


def parts_of(spec: SubjectSpec) -> list[SubjectSpec]:
    """The further models that a subject is made of."""
    system = system_of(spec)
    return list(system.parts(spec).values()) if system else []


def in_words(spec: SubjectSpec) -> str:
    """A candidate's name, and what it is where it is no plain model."""
    system = system_of(spec)
    return f"{spec.name} ({system.title} on {Path(spec.path).name})" if system else spec.name
