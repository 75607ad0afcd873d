"""A pipeline of the diffusers library as a generator: seeds, and prompts or classes as conditions; else as saved."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from audit.errors import CorpusError, MissingDependency, SubjectError
from audit.subjects.files import folder_of, read_object
from audit.subjects.modality import PIPELINE
from audit.types import SubjectSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

LIBRARIES = frozenset({"diffusers", "transformers"})
"""Where the parts of a pipeline may come from; code that lies beside the weights is never run."""
DENOISERS = ("unet", "transformer")
LISTS = ("down_blocks", "mid_block", "up_blocks", "transformer_blocks", "blocks", "layers")
"""What a denoiser calls its blocks, in the order in which they run."""


def check_pipeline(spec: SubjectSpec) -> None:
    """Raise SubjectError for a pipeline with code of its own or weights that are no safetensors."""
    from audit.subjects.files import weight_files

    folder = folder_of(spec)
    for name, part in read_object(folder / PIPELINE, spec.name).items():
        if isinstance(part, list) and len(part) == 2 and part[0] is not None and part[0] not in LIBRARIES:
            raise SubjectError(
                f"{spec.name}: {name} of {folder / PIPELINE} is code of {part[0]!s:.60}, which is never run here; use "
                "a pipeline whose parts the diffusers and transformers libraries have themselves."
            )
    weight_files(folder, spec)


def load_pipeline(spec: SubjectSpec, dtype: str, where: Any) -> Any:
    """The pipeline as a model that draws; raises MissingDependency without diffusers, SubjectError as it refuses."""
    import torch

    folder = folder_of(spec)
    try:
        import diffusers
    except ImportError as error:
        raise MissingDependency(
            f"{spec.name} is a pipeline of the diffusers library, which is not installed: pip install diffusers."
        ) from error
    try:
        pipe = diffusers.DiffusionPipeline.from_pretrained(
            str(folder), torch_dtype=getattr(torch, dtype), use_safetensors=True, local_files_only=True,
            trust_remote_code=False,
        )  # fmt: skip
    except Exception as error:  # the library raises its own and the file system's errors
        line = " ".join(str(error).split())[:300].rstrip(".")
        raise SubjectError(f"{spec.name}: {folder} cannot be loaded as a pipeline ({line}).") from error
    pipe.set_progress_bar_config(disable=True)
    return _model(pipe.to(where), spec.name)


def _model(pipe: Any, name: str) -> Any:
    from torch import nn

    class Pipeline(nn.Module):
        """Draws from seeds; `blocks` are those of the denoiser, `doubled` says which half of a guided batch counts."""

        def __init__(self) -> None:
            super().__init__()
            for part, value in pipe.components.items():
                if isinstance(value, nn.Module):
                    self.add_module(part, value)
            self.blocks = _blocks(self, name)
            self.config = pipe.config
            self.asked = inspect.signature(type(pipe).__call__).parameters
            self.conditional = "prompt" in self.asked or "class_labels" in self.asked
            self.first_half = "class_labels" in self.asked

        def draw(self, seeds: Sequence[int], conditions: Sequence[str]) -> NDArray[np.uint8]:
            """Images [rows, height, width, channels] as the pipeline draws them by its own defaults, one by one.

            Many steps of denoising can blow up what rounding leaves between a batch of two and one of four, so that
            an image would depend on its company.
            """
            import numpy as np

            found = [self._one(seed, one) for seed, one in zip(seeds, conditions, strict=True)]
            return np.asarray(np.clip(np.concatenate(found) * 255, 0, 255).round(), np.uint8)

        def _one(self, seed: int, condition: str) -> NDArray[np.float32]:
            import numpy as np
            import torch

            asked: dict[str, Any] = {"generator": [torch.Generator("cpu").manual_seed(seed)]}
            if "prompt" in self.asked:
                asked["prompt"] = [condition]
            elif "class_labels" in self.asked:
                asked["class_labels"] = [_number(pipe, condition, name)]
            else:
                asked["batch_size"] = 1
            with torch.inference_mode():
                return np.asarray(pipe(**asked, output_type="np").images)

    return Pipeline()


def _blocks(model: nn.Module, name: str) -> list[Any]:
    from torch import nn

    denoiser = next((part for key in DENOISERS if (part := getattr(model, key, None)) is not None), None)
    found: list[Any] = []
    for key in LISTS:
        listed = getattr(denoiser, key, None)
        found += list(listed) if isinstance(listed, nn.ModuleList) else [] if listed is None else [listed]
    if not found:
        raise SubjectError(f"{name}: its pipeline has no denoiser with blocks; its hidden states cannot be read.")
    return found


def _number(pipe: Any, condition: str, name: str) -> int:
    """The class that a condition names, by its name or its number."""
    labels = getattr(pipe, "labels", None) or {}
    if condition in labels:
        return int(labels[condition])
    if condition.isascii() and condition.isdecimal():
        return int(condition[:9])
    raise CorpusError(f'The condition "{condition[:80]}" is no class of {name}.')
