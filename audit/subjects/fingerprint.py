"""The hashes that name a subject, from the files alone: no model is built, and memory stays at a few MiB."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.subjects.adapter import adapter_config, base_of
from audit.subjects.encoder import dense_folders, encoding_of
from audit.subjects.files import folder_of, inside, is_adapter, read_object, weight_files
from audit.subjects.modality import PIPELINE, classes_of, is_pipeline, modality_of, processor_digest, timm_of
from audit.subjects.scorer import judge_of, labelled, scorer_of
from audit.subjects.settings import loader_settings
from audit.subjects.sighted import sight_digest, sight_folder
from audit.subjects.systems.kinds import system_of
from audit.subjects.tokens import has_tokenizer, tokenizer_digest
from audit.subjects.weights import Scanned, scan
from audit.types import Modality, SubjectSpec, digest_of

COSMETIC = frozenset(
    {
        "_name_or_path", "name_or_path", "_commit_hash", "transformers_version", "torch_dtype", "dtype",
        "_from_model_config", "use_cache", "output_attentions", "output_hidden_states", "return_dict",
        "base_model_name_or_path", "inference_mode", "task_type", "auto_mapping", "peft_version",
    }
)  # fmt: skip
"""Keys of a model's or an adapter's config that do not change what it computes."""
ADAPTER_PREFIX = "adapter: "
"""In front of the names of an adapter's own tensors."""


@dataclass(frozen=True)
class Fingerprint:
    """What names a subject: one hash over everything, and its parts."""

    id: str
    """Hex; the same for the same weights, config, tokenizer and number format, wherever the folder is."""
    tensors: Mapping[str, str]
    """Tensor name → hash of format, shape and bytes; an adapter's own tensors begin with `ADAPTER_PREFIX`."""
    config: Mapping[str, Any]
    """What the config says that changes what the model computes."""
    tokenizer: str
    """Hash of the tokenizer's files, or of how images are prepared; of a generator, of who looks at what it draws."""


def fingerprint(spec: SubjectSpec) -> Fingerprint:
    """The fingerprint of a checkpoint, or of an adapter with its base; SubjectError when a file is missing or broken.

    A system's id covers all its parts and settings; its tensors, config and tokenizer are those of its base.

    Files that did not change since they were last read in this process are not read again.
    """
    folder = folder_of(spec)
    tensors = {name: found.digest for name, found in scan_folder(spec).items()}
    config = _own_config(spec, folder) if not is_adapter(folder) else {}
    modality = modality_of(spec)
    tokens = tokenizer_folder(spec)
    if is_adapter(folder):
        base = fingerprint(base_of(spec, folder))
        tensors = {**base.tensors, **{ADAPTER_PREFIX + name: digest for name, digest in tensors.items()}}
        config = {**base.config, "adapter": _essential(adapter_config(folder, spec.name))}
    if modality is Modality.LATENTS:
        tokenizer = _lookers(spec)
    elif modality is Modality.IMAGES:
        tokenizer = processor_digest(spec)
    else:
        tokenizer = tokenizer_digest(tokens, spec.name)
    if modality is Modality.IMAGE_TEXT:
        tokenizer = digest_of([tokenizer, sight_digest(sight_folder(spec, tokens), spec.name)])
    if modality is Modality.VECTORS:  # a prompt or a pooling changes every vector, and so the subject
        encoding = encoding_of(spec)
        config = {**config, "encoding": dataclasses.asdict(encoding)}
        tokenizer = digest_of([tokenizer, processor_digest(spec)]) if encoding.kind == "two towers" else tokenizer
    id = digest_of([tensors, config, tokenizer, loader_settings(spec).dtype])
    system = system_of(spec)
    if system is not None:
        id = digest_of(["system", id, system.identity(spec)])
    return Fingerprint(id, tensors, config, tokenizer)


def _lookers(spec: SubjectSpec) -> str:
    """Hash of who looks at what a generator draws, and of the images that they are tested on."""
    judge, images = judge_of(spec), loader_settings(spec).scorer_images
    parts = [fingerprint(one).id for one in (scorer_of(spec), judge) if one is not None]
    return digest_of([*parts, labelled(images).digest if images else ""])


def scan_folder(spec: SubjectSpec) -> dict[str, Scanned]:
    """Hash and fault of every tensor in a subject's own folder (of an adapter: its own tensors, not its base's)."""
    folder = folder_of(spec)
    found: dict[str, Scanned] = {}
    for path in weight_files(folder, spec):
        found.update({inside(folder, path) + name: tensor for name, tensor in scan(path).items()})
    for place in dense_folders(spec):
        for path in weight_files(place, spec):
            found.update({f"{place.name}.{name}": tensor for name, tensor in scan(path).items()})
    return found


def _own_config(spec: SubjectSpec, folder: Path) -> dict[str, Any]:
    """As `config_of`; of a timm model that brings no config, its architecture and its classes."""
    if is_pipeline(folder):
        parts = [folder / PIPELINE, *sorted(folder.glob("*/*config.json"))]
        return {str(path.relative_to(folder)): _essential(read_object(path, spec.name)) for path in parts}
    name = timm_of(spec)
    own = config_of(folder, spec.name) if name is None or (folder / "config.json").is_file() else {}
    return own if name is None else {**own, "timm": name, "classes": list(classes_of(spec))}


def config_of(folder: Path, name: str) -> dict[str, Any]:
    """What changes the computation: the model's config without its cosmetic keys, and how it generates."""
    config = _essential(read_object(folder / "config.json", name))
    generation = folder / "generation_config.json"
    if generation.is_file():
        config["generation"] = _essential(read_object(generation, name))
    return config


def tokenizer_folder(spec: SubjectSpec) -> Path:
    """The folder of a subject's tokenizer: its own, or the base's for an adapter that brings none."""
    folder = folder_of(spec)
    if is_adapter(folder) and not has_tokenizer(folder):
        return folder_of(base_of(spec, folder))
    return folder


def _essential(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: config[key] for key in sorted(config) if key not in COSMETIC}
