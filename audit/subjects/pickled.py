"""Pickled weights (`.bin`, `.pt`), read only where the owner of a case file asked for it, and as plain tensors only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.errors import SubjectError
from audit.subjects.weights import Scanned, fault_in, hasher_of

if TYPE_CHECKING:
    from torch import Tensor

FORMATS = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}
WRAPPERS = ("state_dict", "model")
"""Keys under which training scripts put the weights."""


def read_pickled(path: Path) -> dict[str, Tensor]:
    """Named tensors of a pickled file; raises SubjectError for anything else in it, which is never executed."""
    import torch

    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle's, zip's and its own errors
        line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise SubjectError(
            f"{path} cannot be read as plain tensors ({line[:200]}); save the model with save_pretrained, which writes "
            "safetensors."
        ) from error
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise SubjectError(f"{path} holds something other than named tensors; save the model with save_pretrained.")
    return {str(name): tensor for name, tensor in content.items()}


def scan_pickled(path: Path) -> dict[str, Scanned]:
    """The hash and the fault of every tensor of a pickled file, as for a safetensors file of the same content."""
    try:
        return {name: _scan(tensor) for name, tensor in read_pickled(path).items()}
    except RuntimeError as error:
        raise SubjectError(
            f"{path} holds a tensor that is not stored plainly; save it with save_pretrained."
        ) from error


def _scan(tensor: Tensor) -> Scanned:
    import torch

    dtype = FORMATS.get(str(tensor.dtype).removeprefix("torch."), str(tensor.dtype))
    content = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    hasher = hasher_of(dtype, tuple(tensor.shape))
    hasher.update(content)
    return Scanned(hasher.hexdigest(), fault_in(content, dtype))
