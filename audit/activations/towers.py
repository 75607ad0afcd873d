"""The parts of a vision-language model that come before its language model: vision encoder and projector."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from audit.activations.images import CONTAINERS
from audit.errors import CaptureError, SubjectError
from audit.types import Picture

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from audit.subjects.load import Subject

ENCODERS = ("vision_tower", "vision_model", "visual", "vision_encoder", "vision_embed_tokens", "vision")
"""What models call the part that reads pixels."""
PROJECTOR = "projector"


def vision_encoder(model: Any) -> nn.Module:
    """The part that reads pixels; raises SubjectError for a model where it cannot be told."""
    for name in ENCODERS:
        found = getattr(model.base_model, name, None)
        if found is not None:
            return found  # type: ignore[no-any-return]
    raise SubjectError(f"{type(model).__name__} has no vision encoder under any of the names {', '.join(ENCODERS)}.")


def vision_blocks(model: Any) -> list[nn.Module]:
    """The blocks of the vision encoder, in order; raises SubjectError where they cannot be told."""
    from torch import nn

    config = model.config.vision_config
    count = getattr(config, "num_hidden_layers", None) or getattr(config, "depth", None)
    for name, module in vision_encoder(model).named_modules():
        listed = isinstance(module, nn.ModuleList) and name.rpartition(".")[2] in CONTAINERS
        if listed and len(module) and count in (None, len(module)):
            return list(module)
    raise SubjectError(f"The vision encoder of {type(model).__name__} has no list of {count} blocks.")


def vision_states(
    subject: Subject, pictures: Sequence[Picture], progress: Callable[[float], None] = lambda share: None
) -> list[NDArray[np.float32]]:
    """What every vision block and the projector put out, the mean over an image's tokens [images, width] each.

    Images are looked at one by one, so that their sizes do not matter. Raises CaptureError when a hook did not fire.
    """
    import torch

    blocks = vision_blocks(subject.model)
    look = subject.model.get_image_features  # type: ignore[operator]
    wanted = inspect.signature(look).parameters
    open_to_all = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in wanted.values())
    lines: list[list[NDArray[np.float32]]] = [[] for _ in range(len(blocks) + 1)]
    seen: dict[int, Tensor] = {}

    def keep(number: int) -> Callable[..., None]:
        def hook(module: Any, args: Any, output: Any) -> None:
            seen[number] = output[0] if isinstance(output, tuple) else output

        return hook

    handles = [block.register_forward_hook(keep(k)) for k, block in enumerate(blocks)]
    try:
        with torch.inference_mode():
            for number, picture in enumerate(pictures):
                seen.clear()
                given = subject.tokenizer.eyes.prepared(picture)[0]  # type: ignore[attr-defined]
                passed = {n: v.to(subject.device) for n, v in given.items() if n in wanted or open_to_all}
                seen[len(blocks)] = _features(look(**passed))
                if len(seen) != len(lines):
                    raise CaptureError(f"{len(seen) - 1} of {len(blocks)} hooks in the vision encoder fired.")
                for k, line in enumerate(lines):
                    line.append(seen[k].float().reshape(-1, seen[k].shape[-1]).mean(0).cpu().numpy())
                progress((number + 1) / len(pictures))
    finally:
        for handle in handles:
            handle.remove()
    return [np.stack(line) for line in lines]


def _features(found: Any) -> Tensor:
    """What the projector hands to the language model, one row a token, whatever the library wraps it in."""
    import torch

    inner = getattr(found, "pooler_output", found)
    parts = inner if isinstance(inner, (list, tuple)) else [inner]
    return torch.cat([part.reshape(-1, part.shape[-1]) for part in parts])
