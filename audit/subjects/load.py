"""The one door to a model: spec → Subject, and back to free memory."""

from __future__ import annotations

import gc
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from audit.activations.encode import Reads
from audit.errors import CaseError, MissingDependency, SubjectError
from audit.subjects.adapted import load_adapted
from audit.subjects.checkpoint import load_checkpoint
from audit.subjects.encoder import Encoding, dense_folders, encoding_of
from audit.subjects.files import folder_of, is_adapter
from audit.subjects.fingerprint import Fingerprint, fingerprint, tokenizer_folder
from audit.subjects.modality import classes_of, modality_of
from audit.subjects.settings import loader_settings
from audit.subjects.systems.kinds import system_of
from audit.subjects.systems.system import EVERYTHING, System
from audit.subjects.tokens import load_tokenizer
from audit.types import Access, Modality, SubjectSpec

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from audit.subjects.systems.inside import Inside

Quantize = Literal["int8", "nf4"]
UNREAD = ("pooler.", "cls.", "lm_head.", "vocab_", "generator_", "discriminator_", "mask_predictions.", "head.")
"""Weights above or beside the blocks of a text encoder that no pooled state goes through."""


@dataclass
class Subject:
    """A loaded model in evaluation mode, whose weights ask for no gradient until someone turns that on."""

    spec: SubjectSpec
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    device: torch.device
    dtype: str
    fingerprint: Fingerprint
    access: frozenset[Access] = EVERYTHING
    system: System | None = None
    """What stands around or inside the model; None where it is a plain one."""
    inside: Inside | None = None
    """The hooks of a system that works inside the model."""
    classes: tuple[str, ...] = ()
    """Names of an image classifier's classes in the order of its outputs; empty for a language model.

    Of an encoder the gallery, the texts that are found again by nearness; the bench that lends it knows them."""
    processor: Any = None
    """What prepares images for a classifier, which has no tokenizer, and for a two-tower encoder, which has both."""
    encoding: Encoding | None = None
    """How an encoder makes vectors; None for what is no encoder."""
    scorer: Subject | None = None
    """The classifier that says what a generator draws; its classes are the generator's."""
    judge: Subject | None = None
    """A second classifier that must agree, where the case names one."""


def resolve_device(device: str) -> str:
    """ "auto", "cpu", "cuda" or "cuda:N" → "cpu", "cuda" or "cuda:N"; CaseError for a device that is not there."""
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return "cuda" if gpus else "cpu"
    if device == "cpu":
        return "cpu"
    match = re.fullmatch(r"cuda(?::(\d{1,4}))?", device)
    if match is None:
        raise CaseError(f'Unknown device "{device}"; expected auto, cpu, cuda or cuda:N.')
    if not gpus:
        raise CaseError(f'There is no GPU for device "{device}" that PyTorch can use here; choose cpu or auto.')
    if match[1] and int(match[1]) >= gpus:
        raise CaseError(f'There is no device "{device}"; the GPUs here are cuda:0 to cuda:{gpus - 1}.')
    return device


def number_format(spec: SubjectSpec, device: str) -> str:
    """The number format that a subject is loaded in on a resolved device.

    An adapter is float32 everywhere unless its settings say otherwise: added to 16-bit weights, a small change would be
    rounded away.
    """
    default = "float32" if device == "cpu" or is_adapter(folder_of(spec)) else "bfloat16"
    return loader_settings(spec).dtype or default


def load(spec: SubjectSpec, *, device: str = "auto", quantize: Quantize | None = None) -> Subject:
    """Check and load a subject; several GPUs share one model when the device is "auto" or "cuda".

    Raises SubjectError for anything wrong with it, CaseError for an unknown device, MissingDependency when
    quantisation is asked for and bitsandbytes is not installed.
    """
    import torch

    from audit.subjects.checks import check_subject

    device = resolve_device(device)
    check_subject(spec)
    dtype, modality = number_format(spec, device), modality_of(spec)
    if modality is Modality.IMAGES:
        return _classifier(spec, dtype, device, quantize)
    if modality is Modality.LATENTS:
        return _generator(spec, dtype, device, quantize)
    if modality is Modality.VECTORS and encoding_of(spec).kind != "prompted":
        return _encoder(spec, dtype, device, quantize)
    sees = modality is Modality.IMAGE_TEXT
    with quiet():
        model = _opened(spec, dtype, _device_map(device), _quantization(quantize, dtype), _auto(spec))
        tokenizer = load_tokenizer(tokenizer_folder(spec), spec.name)
    if quantize == "nf4":
        _plain_kernels(model)
    model.eval()
    model.requires_grad_(False)
    if sees:
        from audit.subjects.sighted import sighted

        tokenizer = sighted(spec, tokenizer_folder(spec), model)  # type: ignore[assignment]
    where = torch.device(model.get_input_embeddings().weight.device)
    encoding = encoding_of(spec) if modality is Modality.VECTORS else None
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if encoding is None:  # encoders have a rule of their own
        tokenizer.reads = Reads(int(limit), spec.name) if limit else None  # type: ignore[attr-defined]
    subject = Subject(spec, model, tokenizer, where, quantize or dtype, fingerprint(spec), encoding=encoding)
    system = system_of(spec)
    if system is None:
        return subject
    parts = {name: load(part, device=device) for name, part in system.parts(spec).items()}
    return replace(system.put_on(subject, parts), access=system.access, system=system)


def _classifier(spec: SubjectSpec, dtype: str, device: str, quantize: Quantize | None) -> Subject:
    """An image classifier, which has classes and a processor where a language model has a tokenizer."""
    from audit.subjects.classifier import load_classifier, load_processor

    classes, where = classes_of(spec), {"": "cuda:0" if device == "cuda" else device}
    with quiet():
        model = load_classifier(spec, classes, dtype, where, _quantization(quantize, dtype))
        processor = load_processor(spec, model)
    if quantize == "nf4":
        _plain_kernels(model)
    model.eval()
    model.requires_grad_(False)
    at = next(model.parameters()).device
    none: Any = None
    return Subject(spec, model, none, at, quantize or dtype, fingerprint(spec), classes=classes, processor=processor)


def _encoder(spec: SubjectSpec, dtype: str, device: str, quantize: Quantize | None) -> Subject:
    """A text encoder, or two towers with the processor of their images."""
    from audit.subjects.classifier import load_processor

    encoding, where = encoding_of(spec), {"": "cuda:0" if device == "cuda" else device}
    with quiet():
        model = _opened(spec, dtype, where, _quantization(quantize, dtype), "AutoModel", UNREAD)
        tokenizer = load_tokenizer(tokenizer_folder(spec), spec.name)
        processor = load_processor(spec, model) if encoding.kind == "two towers" else None
    if quantize == "nf4":
        _plain_kernels(model)
    if folders := dense_folders(spec):
        from audit.subjects.dense import AFTER_POOLING, load_dense

        setattr(model, AFTER_POOLING, load_dense(spec, folders).to(next(model.parameters()).device))
    model.eval()
    model.requires_grad_(False)
    at, mark = next(model.parameters()).device, fingerprint(spec)
    return Subject(spec, model, tokenizer, at, quantize or dtype, mark, processor=processor, encoding=encoding)


def _generator(spec: SubjectSpec, dtype: str, device: str, quantize: Quantize | None) -> Subject:
    """A generator with its scorer beside it, whose classes are what can be seen in what it draws."""
    from audit.subjects.generator import load_generator
    from audit.subjects.modality import is_pipeline
    from audit.subjects.pipeline import load_pipeline
    from audit.subjects.scorer import judge_of, scorer_of

    if quantize is not None:
        raise SubjectError(f"{spec.name}: generators cannot be quantised here.")
    where = torch_device(device)
    with quiet():
        model = (load_pipeline if is_pipeline(folder_of(spec)) else load_generator)(spec, dtype, where)
    model.eval()
    model.requires_grad_(False)
    scorer, second = load(scorer_of(spec), device=device), judge_of(spec)
    found = fingerprint(spec)
    none: Any = None
    return Subject(
        spec, model, none, where, dtype, found, classes=scorer.classes, scorer=scorer,
        judge=load(second, device=device) if second else None,
    )  # fmt: skip


def torch_device(device: str) -> torch.device:
    """The one device that small models are put on."""
    import torch

    return torch.device("cuda:0" if device == "cuda" else device)


def _opened(
    spec: SubjectSpec, dtype: str, where: Any, quantization: Any, auto: str, unread: tuple[str, ...] = ()
) -> PreTrainedModel:
    """A checkpoint, or a base with the adapter on it."""
    how = {"device_map": where, "quantization": quantization, "auto": auto, "unread": unread}
    if is_adapter(folder_of(spec)):
        return load_adapted(spec, dtype=dtype, **how)
    return load_checkpoint(spec, folder_of(spec), dtype=dtype, **how)


def _auto(spec: SubjectSpec) -> str:
    """The class of the model library that opens a language model, one that reads images too or not."""
    from audit.subjects.sighted import AUTO

    return AUTO if modality_of(spec) is Modality.IMAGE_TEXT else "AutoModelForCausalLM"


def _device_map(device: str) -> Any:
    import torch

    if device == "cuda":
        return "auto" if torch.cuda.device_count() > 1 else {"": "cuda:0"}
    return {"": device}


def _quantization(quantize: Quantize | None, dtype: str) -> Any:
    if quantize is None:
        return None
    import torch
    from transformers import BitsAndBytesConfig

    # It says at every product that int8 works on 16-bit activations, which is how the method is defined, and on being
    # imported that a kernel is missing which is not used here.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        import bitsandbytes  # noqa: F401

    except ImportError as error:
        raise MissingDependency("Quantisation needs bitsandbytes: pip install bitsandbytes.") from error
    if quantize == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=getattr(torch, dtype)
    )


def _plain_kernels(model: PreTrainedModel) -> None:
    """Leave bitsandbytes' packed CPU kernel aside.

    It computes in bfloat16 whatever was asked for, exists on some processors only, so that two machines would measure
    different numbers, and refuses widths that 32 does not divide.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars of the model library while a model is loaded: a job has its own."""
    from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

    shown = is_progress_bar_enabled()
    disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            enable_progress_bar()


def release(subject: Subject) -> None:
    """Give a subject's memory back; it cannot be used afterwards."""
    import torch

    subject.scorer = subject.judge = None
    subject.model = subject.tokenizer = None  # type: ignore[assignment]
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
