"""Vision-language models: a language model whose prompt may hold an image, with the processor that puts it there."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.errors import CaptureError, MissingDependency, SubjectError
from audit.subjects.files import folder_of, read_object
from audit.subjects.modality import PROCESSOR
from audit.types import SubjectSpec, digest_of

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from audit.activations.eyes import SightedTokenizer

AUTO = "AutoModelForImageTextToText"
PROCESSORS = ("processor_config.json", PROCESSOR)
"""What says how images are prepared and how many tokens one becomes; older models have the second alone."""
TEMPLATES = ("chat_template.jinja", "chat_template.json")
COSMETIC = frozenset({"processor_class", "image_processor_type", "_processor_class"})


def sight_digest(folder: Path, name: str) -> str:
    """Hash of how a folder's model is shown images; raises SubjectError where the folder does not say."""
    there = [file for file in PROCESSORS if (folder / file).is_file()]
    if not there:
        raise SubjectError(
            f"{name}: {folder} holds no {PROCESSORS[0]}, so how images are shown to it is not known; save it beside "
            "the model with processor.save_pretrained."
        )
    parts: dict[str, Any] = {
        file: {key: value for key, value in read_object(folder / file, name).items() if key not in COSMETIC}
        for file in there
    }
    for file in TEMPLATES:
        if (folder / file).is_file():
            parts[file] = (folder / file).read_text(encoding="utf-8", errors="replace")
    return digest_of(parts)


def sight_folder(spec: SubjectSpec, tokens: Path) -> Path:
    """The folder of a subject's processor: that of its tokenizer, or the base's for an adapter that brings none."""
    from audit.subjects.adapter import base_of
    from audit.subjects.files import is_adapter

    folder = folder_of(spec)
    if any((tokens / file).is_file() for file in PROCESSORS) or not is_adapter(folder):
        return tokens
    return folder_of(base_of(spec, folder))


def sighted(spec: SubjectSpec, tokens: Path, model: PreTrainedModel) -> SightedTokenizer:
    """The tokenizer of a vision-language model, which also knows how images are shown to it.

    Raises SubjectError for a processor that cannot be used, or that counts otherwise than the model how many tokens an
    image becomes; MissingDependency for one that needs a library that is not installed.
    """
    from audit.activations.eyes import Eyes, SightedTokenizer

    processor = load_processor(sight_folder(spec, tokens), spec.name)
    if getattr(processor, "image_token", None) is None:
        raise SubjectError(
            f"{spec.name}: its processor, a {type(processor).__name__}, marks no place for an image in a text; such "
            "models are not supported yet."
        )
    accepted = list(inspect.signature(model.forward).parameters)
    eyes = Eyes(processor, accepted, next(model.parameters()).dtype, spec.name)
    found = SightedTokenizer(processor.tokenizer, eyes)
    _never_blind(model, [i for i in processor.image_token_ids if i is not None], spec.name)
    _check_counts(found, model, spec.name)
    return found


def _never_blind(model: PreTrainedModel, image_tokens: list[int], name: str) -> None:
    """A hook that stays: tokens that stand for an image are refused where the image itself does not come with them.

    The model library would take them for words and go on.
    """
    import torch

    def check(module: Any, args: tuple[Any, ...], given: dict[str, Any]) -> None:
        ids, past = given.get("input_ids", args[0] if args else None), given.get("past_key_values")
        if ids is None or (past is not None and past.get_seq_length() > 0):
            return
        # While it generates, the library hands on what the vision encoder made of the pixels.
        seen = given.get("pixel_values") is not None or (given.get("mm_encoder_outputs") or {}).get("image") is not None
        if not seen and bool(torch.isin(ids, ids.new_tensor(image_tokens)).any()):
            raise CaptureError(
                f"{name} is asked about an image that was left out on the way: the prompt holds its tokens, and "
                "nothing brings its pixels."
            )

    model.base_model.register_forward_pre_hook(check, with_kwargs=True)


def load_processor(folder: Path, name: str) -> Any:
    """The processor of a folder, from this disk and without code of its own."""
    from transformers import AutoProcessor

    try:
        processor = AutoProcessor.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except ImportError as error:
        processor = _without_videos(folder)
        if processor is None:
            line = " ".join(str(error).split())[:200].rstrip(".")
            raise MissingDependency(
                f"The processor of {name} needs a library that is not installed ({line})."
            ) from error
    except Exception as error:  # the library raises its own and the file system's errors
        line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise SubjectError(f"{name}: the processor in {folder} cannot be loaded ({line[:200]}).") from error
    if not hasattr(processor, "image_processor") or not hasattr(processor, "tokenizer"):
        raise SubjectError(
            f"{name}: {folder} holds a {type(processor).__name__} where a processor of images and texts is expected; "
            "save the processor beside the model with processor.save_pretrained."
        )
    return processor


def _without_videos(folder: Path) -> Any:
    """A processor as those of Qwen's models without its part for videos, which alone needs torchvision; None of others.

    Nobody is shown a video here.
    """
    import transformers
    from transformers import AutoImageProcessor, AutoTokenizer

    known = (read_object(folder / file, "") for file in PROCESSORS if (folder / file).is_file())
    made = getattr(transformers, next((str(n) for one in known if (n := one.get("processor_class"))), ""), None)
    if made is None or "video_processor" not in inspect.signature(made.__init__).parameters:
        return None

    class WithoutVideos(made):  # type: ignore[misc, valid-type]
        """The library's own, which does not insist on what reads videos."""

        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> type:
            return type(argument)

    try:
        how: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        images, words = (one.from_pretrained(str(folder), **how) for one in (AutoImageProcessor, AutoTokenizer))
        return WithoutVideos(images, words, None, chat_template=words.chat_template)
    except Exception:  # the library raises what it likes; whoever asked says what was missing at first
        return None


def _check_counts(tokenizer: SightedTokenizer, model: PreTrainedModel, name: str) -> None:
    """Raise SubjectError unless the model takes a grey image with the tokens that its processor makes of it."""
    import torch
    from PIL import Image

    side = getattr(model.config.vision_config, "image_size", None)
    size = (side, side) if isinstance(side, int) else (64, 64)
    prepared, text = tokenizer.eyes.prepare(Image.new("RGB", size, (128, 128, 128)))
    ids = torch.tensor([tokenizer(text)["input_ids"]], device=_device(model))
    given = {key: value.to(ids.device) for key, value in prepared.items()}
    try:
        with torch.inference_mode():
            model(input_ids=ids, **given, **tokenizer.eyes.types(ids), use_cache=False)
    except Exception as error:  # the library raises what it likes where the counts differ
        line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise SubjectError(
            f"{name}: its processor and its model do not belong together: {text.count(tokenizer.eyes.placeholder)} "
            f"tokens stand for an image, and the model refuses them ({line[:200]}). Save the processor that the model "
            "was trained with beside it."
        ) from error


def _device(model: PreTrainedModel) -> torch.device:
    return model.get_input_embeddings().weight.device  # type: ignore[no-any-return, union-attr]
