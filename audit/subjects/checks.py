"""Everything that is wrong with a subject, or between two, found before a model is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audit.errors import SubjectError
from audit.subjects.adapter import base_of, check_base
from audit.subjects.encoder import encoding_of, model_folder
from audit.subjects.files import folder_of, is_adapter, read_object
from audit.subjects.fingerprint import COSMETIC, fingerprint, scan_folder, tokenizer_folder
from audit.subjects.generator import check_generator
from audit.subjects.modality import classes_of, is_pipeline, modality_of, processor_digest, timm_of
from audit.subjects.pipeline import check_pipeline
from audit.subjects.scorer import check_scorers, scorer_of
from audit.subjects.settings import loader_settings
from audit.subjects.sighted import sight_digest, sight_folder
from audit.subjects.systems.kinds import system_of
from audit.subjects.systems.system import System
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
SIGHT = ("depth", "embed_dim", "num_heads", "patch_size", "image_size", "num_channels")
"""The same, of the vision encoders of vision-language models."""


def check_pair(candidate: SubjectSpec, original: SubjectSpec) -> None:
    """Raise SubjectError unless both are sound and have the same architecture, vocabulary and tokenizer."""
    check_subject(original)
    check_subject(candidate)
    kind = modality_of(original)
    if modality_of(candidate) is not kind:
        raise SubjectError(_kinds_differ(candidate, original))
    if kind is Modality.IMAGES:
        _same_classifier(candidate, original)
        return
    if kind is Modality.LATENTS:
        _same_generator(candidate, original)
        return
    mine, other = model_folder(candidate), model_folder(original)
    if kind is not Modality.VECTORS and mine == other and tokenizer_folder(candidate) == tokenizer_folder(original):
        return
    _same_architecture(candidate.name, _config(mine, candidate.name), original.name, _config(other, original.name))
    _same_tokenizer(candidate, original)
    if kind is Modality.VECTORS:
        _same_encoding(candidate, original)
    if kind is Modality.IMAGE_TEXT:
        _same_sight(candidate, original)


def _kinds_differ(candidate: SubjectSpec, original: SubjectSpec) -> str:
    words = f"{candidate.name} and {original.name} are models of different kinds"
    kinds = {modality_of(spec) for spec in (candidate, original)}
    if kinds == {Modality.TEXT, Modality.VECTORS}:
        return f"{words}: one makes vectors of texts. Give both the same embedding_prompt, or neither."
    return f"{words}; one reads images."


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
        if kind is Modality.LATENTS or timm_of(spec) is not None:
            raise SubjectError(
                f"{spec.name}: an adapter is put on models of the transformers library alone; merge it into its base "
                "and give the whole model."
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
    _check_encoding(spec, system)
    if modality_of(spec) is Modality.IMAGE_TEXT:
        sight_digest(sight_folder(spec, tokens), spec.name)
        if system is not None:
            raise SubjectError(
                f"{spec.name} is {system.title} on a vision-language model, and such systems here read texts alone; "
                "audit the model under it as a candidate of its own."
            )
    if system is not None:
        system.check(spec)


def check_part(part: SubjectSpec, base: SubjectSpec) -> None:
    """Raise SubjectError unless a further model of a system is sound and writes the same tokens as its base."""
    check_subject(part)
    mine, other = _config(model_folder(part), part.name), _config(model_folder(base), base.name)
    _same_vocabulary(part.name, mine, base.name, other)
    _same_tokenizer(part, base)


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


def _check_encoding(spec: SubjectSpec, system: System | None) -> None:
    """Raise SubjectError for an encoder whose vectors are not known, and for settings of one on another model."""
    if modality_of(spec) is Modality.VECTORS:
        if system is not None:
            raise SubjectError(f"{spec.name} turns texts into vectors, and {system.title} stands around what is said.")
        if encoding_of(spec).kind == "two towers":
            processor_digest(spec)
        return
    settings = loader_settings(spec)
    given = [key for key in ("pooling", "temperature") if getattr(settings, key) is not None]
    if given:
        raise SubjectError(
            f'{spec.name} is no encoder, so it has no {given[0]}; give an embedding_prompt with "{{text}}" in it to '
            "use a language model as one."
        )


def _same_encoding(candidate: SubjectSpec, original: SubjectSpec) -> None:
    """Raise SubjectError unless two encoders make vectors in one way: a prompt alone moves every vector."""
    mine, other = encoding_of(candidate), encoding_of(original)
    if mine != other:
        raise SubjectError(
            f"{candidate.name} makes vectors in another way than {original.name} ({mine.words}; {other.words}), which "
            "alone moves every one of them. Give both the same pooling, prompts and temperature."
        )
    first, second = (read_object(model_folder(s) / "config.json", s.name) for s in (candidate, original))
    for part in ("vision_config", "projection_dim"):
        if _essential_of(first.get(part)) != _essential_of(second.get(part)):
            raise SubjectError(
                f"{candidate.name} is of another architecture than {original.name}: their {part} differ. A candidate "
                "must be an unlearned copy of the original."
            )
    if mine.kind == "two towers" and processor_digest(candidate) != processor_digest(original):
        raise SubjectError(
            f"{candidate.name} prepares images otherwise than {original.name}, so the two see different images. Save "
            "the original's image processor beside the candidate."
        )


def _essential_of(value: Any) -> Any:
    return {k: v for k, v in value.items() if k not in COSMETIC} if isinstance(value, dict) else value


def _same_sight(candidate: SubjectSpec, original: SubjectSpec) -> None:
    """Raise SubjectError unless two vision-language models look at the same image in the same way."""
    mine, other = (read_object(model_folder(s) / "config.json", s.name)["vision_config"] for s in (candidate, original))
    for key in (*ARCHITECTURE, *SIGHT):
        if mine.get(key) != other.get(key):
            raise SubjectError(
                f"The vision encoder of {candidate.name} is another than that of {original.name}: {key} is "
                f"{mine.get(key)} instead of {other.get(key)}. A candidate must be an unlearned copy of the original."
            )
    first, second = (sight_digest(sight_folder(s, tokenizer_folder(s)), s.name) for s in (candidate, original))
    if first != second:
        raise SubjectError(
            f"{candidate.name} is shown images otherwise than {original.name} (processor_config.json differs), so the "
            "two see different images. Save the original's processor beside the candidate."
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
