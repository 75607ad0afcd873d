"""Everything that is wrong with a subject, or between two, found before a model is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audit.errors import SubjectError
from audit.subjects.adapter import base_of, check_base
from audit.subjects.files import folder_of, is_adapter, read_object
from audit.subjects.fingerprint import fingerprint, scan_folder, tokenizer_folder
from audit.subjects.generator import check_generator
from audit.subjects.modality import classes_of, is_pipeline, modality_of, processor_digest, timm_of
from audit.subjects.pipeline import check_pipeline
from audit.subjects.scorer import check_scorers, scorer_of
from audit.subjects.settings import loader_settings
from audit.subjects.systems.kinds import system_of
from audit.subjects.tokens import difference, load_tokenizer, tokenizer_digest
from audit.types import Modality, SubjectSpec

ARCHITECTURE = (
    "model_type", "architectures", "hidden_size", "n_embd", "d_model", "num_hidden_layers", "n_layer",
    "num_attention_heads", "n_head", "num_key_value_heads", "head_dim", "intermediate_size", "ffn_dim",
    "num_experts", "num_local_experts",
)  # fmt: skip
"""Keys of a config that two subjects must share for their layers to be compared."""
IMAGE_ARCHITECTURE = ("timm", "depths", "hidden_sizes", "embedding_size", "patch_size", "image_size", "num_channels")
"""The same, of image classifiers."""


def check_pair(candidate: SubjectSpec, original: SubjectSpec) -> None:
    """Raise SubjectError unless both are sound and have the same architecture, vocabulary and tokenizer."""
    check_subject(original)
    check_subject(candidate)
    kind = modality_of(original)
    if modality_of(candidate) is not kind:
        raise SubjectError(
            f"{candidate.name} and {original.name} are models of different kinds; each is shown something else."
        )
    if kind is Modality.IMAGES:
        _same_classifier(candidate, original)
        return
    if kind is Modality.LATENTS:
        _same_generator(candidate, original)
        return
    mine, other = model_folder(candidate), model_folder(original)
    if mine == other and tokenizer_folder(candidate) == tokenizer_folder(original):
        return
    _same_architecture(candidate.name, _config(mine, candidate.name), original.name, _config(other, original.name))
    _same_tokenizer(candidate, original)


def check_subject(spec: SubjectSpec) -> None:
    """Raise SubjectError when a subject's files are missing, broken, unsafe or not finite.

    Checked: settings, config, own code, safetensors, NaN and infinity in every tensor, tokenizer, an adapter's base.
    """
    loader_settings(spec)
    folder = folder_of(spec)
    kind = modality_of(spec)
    if kind is Modality.LATENTS:
        scorer_of(spec)  # first of all, for nothing is known of a generator without one
    if is_pipeline(folder):
        check_pipeline(spec)
    elif is_adapter(folder):
        if any(folder.glob("model*.safetensors")):
            raise SubjectError(
                f"{spec.name}: {folder} holds a model and an adapter at once; put them into folders of their own."
            )
        check_base(spec)
        check_subject(base_of(spec, folder))
    elif timm_of(spec) is None:
        _check_config(folder, spec.name)
    for name, found in scan_folder(spec).items():
        if found.fault:
            raise SubjectError(
                f"{spec.name}: the tensor {name} holds {found.fault}, so the model computes nothing that can be "
                "audited; training most likely diverged. Use an earlier checkpoint."
            )
    if kind is Modality.IMAGES:
        processor_digest(spec)
        classes_of(spec)
        return
    if kind is Modality.LATENTS:
        if not is_pipeline(folder):
            check_generator(spec)
        check_scorers(spec)
        return
    tokens = tokenizer_folder(spec)
    tokenizer_digest(tokens, spec.name)
    _no_own_code(tokens / "tokenizer_config.json", spec.name)
    system = system_of(spec)
    if system is not None:
        system.check(spec)


def check_part(part: SubjectSpec, base: SubjectSpec) -> None:
    """Raise SubjectError unless a further model of a system is sound and writes the same tokens as its base."""
    check_subject(part)
    mine, other = _config(model_folder(part), part.name), _config(model_folder(base), base.name)
    _same_vocabulary(part.name, mine, base.name, other)
    _same_tokenizer(part, base)


def model_folder(spec: SubjectSpec) -> Path:
    """The folder with the config of the whole model: a checkpoint's own, an adapter's base's."""
    folder = folder_of(spec)
    return folder_of(base_of(spec, folder)) if is_adapter(folder) else folder


def config_of_model(spec: SubjectSpec) -> dict[str, Any]:
    """The config of a subject's whole model, that of its text part on top."""
    return _config(model_folder(spec), spec.name)


def _check_config(folder: Path, name: str) -> None:
    config = read_object(folder / "config.json", name)
    _no_own_code(folder / "config.json", name)
    if "model_type" not in config:
        raise SubjectError(
            f"{name}: {folder / 'config.json'} names no model_type; save the model with save_pretrained."
        )
    if "transformers_weights" in config:
        raise SubjectError(
            f"{name}: {folder / 'config.json'} sends the loader to other weights (transformers_weights); save the "
            "model again with save_pretrained."
        )


def _no_own_code(path: Path, name: str) -> None:
    if path.is_file() and "auto_map" in read_object(path, name):
        raise SubjectError(
            f"{name}: {path} asks to run Python code that comes with the model (auto_map), which is never done here. "
            "Use a model whose architecture the transformers library has itself."
        )


def _config(folder: Path, name: str) -> dict[str, Any]:
    config = read_object(folder / "config.json", name)
    return {**config, **(config["text_config"] if isinstance(config.get("text_config"), dict) else {})}


def _same_classifier(candidate: SubjectSpec, original: SubjectSpec) -> None:
    """Raise SubjectError unless two image classifiers have one architecture, the same classes and the same input."""
    mine, other = fingerprint(candidate), fingerprint(original)
    for key in (*ARCHITECTURE, *IMAGE_ARCHITECTURE):
        if mine.config.get(key) != other.config.get(key):
            raise SubjectError(
                f"{candidate.name} is of another architecture than {original.name}: {key} is {mine.config.get(key)} "
                f"instead of {other.config.get(key)}. A candidate must be an unlearned copy of the original."
            )
    first, second = classes_of(candidate), classes_of(original)
    if first != second:
        wrong = next((k for k, pair in enumerate(zip(first, second, strict=False)) if pair[0] != pair[1]), -1)
        apart = f"class {wrong} is {first[wrong]!r} instead of {second[wrong]!r}" if wrong >= 0 else "their number"
        raise SubjectError(
            f"{candidate.name} has {len(first)} classes and {original.name} {len(second)}; they differ ({apart}), so "
            "their outputs cannot be compared. Keep an output for a class that was forgotten."
        )
    if mine.tokenizer != other.tokenizer:
        raise SubjectError(
            f"{candidate.name} prepares images otherwise than {original.name} (preprocessor_config.json differs), so "
            "the two see different images. Save the original's image processor beside the candidate."
        )


def _same_generator(candidate: SubjectSpec, original: SubjectSpec) -> None:
    """Raise SubjectError unless two generators have the same layers and the same look at what they draw."""
    mine, other = fingerprint(candidate), fingerprint(original)
    for key in sorted({*mine.config, *other.config}):
        if mine.config.get(key) != other.config.get(key):
            raise SubjectError(
                f"{candidate.name} is of another architecture than {original.name}: {key} of its config differs. A "
                "candidate must be an unlearned copy of the original; keep a condition that was forgotten."
            )
    if mine.tokenizer != other.tokenizer:
        raise SubjectError(
            f"{candidate.name} and {original.name} are looked at by different scorers; name one for all."
        )


def _same_vocabulary(name: str, mine: dict[str, Any], other_name: str, other: dict[str, Any]) -> None:
    if mine.get("vocab_size") != other.get("vocab_size"):
        raise SubjectError(
            f"{name} has a vocabulary of {mine.get('vocab_size')} tokens, {other_name} one of "
            f"{other.get('vocab_size')}; their outputs cannot be compared. Save the candidate without added tokens."
        )


def _same_architecture(name: str, mine: dict[str, Any], other_name: str, other: dict[str, Any]) -> None:
    _same_vocabulary(name, mine, other_name, other)
    for key in ARCHITECTURE:
        if mine.get(key) != other.get(key):
            raise SubjectError(
                f"{name} is of another architecture than {other_name}: {key} is {mine.get(key)} instead of "
                f"{other.get(key)}. A candidate must be an unlearned copy of the original."
            )


def _same_tokenizer(candidate: SubjectSpec, original: SubjectSpec) -> None:
    mine, other = tokenizer_folder(candidate), tokenizer_folder(original)
    if tokenizer_digest(mine, candidate.name) == tokenizer_digest(other, original.name):
        return
    found = difference(load_tokenizer(mine, candidate.name), load_tokenizer(other, original.name))
    if found:
        raise SubjectError(
            f"The tokenizer of {candidate.name} maps differently from that of {original.name}: {found}. Save the "
            "original's tokenizer beside the candidate."
        )
