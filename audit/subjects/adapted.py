"""Loading a base with the adapter on it, whatever kind of model the base is."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.subjects.adapter import base_of, merge_adapter
from audit.subjects.checkpoint import load_checkpoint
from audit.subjects.encoder import dense_folders
from audit.subjects.files import folder_of
from audit.subjects.fingerprint import scan_folder
from audit.types import SubjectSpec

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def load_adapted(
    spec: SubjectSpec,
    *,
    dtype: str,
    device_map: Any,
    quantization: Any = None,
    auto: str,
    unread: tuple[str, ...] = (),
) -> PreTrainedModel:
    """Base and adapter merged in float32; to be quantised, the merged model takes the way over a temporary folder.

    Raises SubjectError when there is no base or the adapter does not fit it.
    """
    import torch

    folder = folder_of(spec)
    base = base_of(spec, folder)
    where = device_map if quantization is None else {"": "cpu"}
    plain = load_checkpoint(base, folder_of(base), dtype="float32", device_map=where, auto=auto, unread=unread)
    beside = tuple(f"{place.name}." for place in dense_folders(spec))
    own = {name for name in scan_folder(spec) if not name.startswith(beside)}
    merged = merge_adapter(plain, folder, own, spec.name, unread)
    if quantization is None:
        return merged.to(getattr(torch, dtype))  # type: ignore[arg-type]
    how: dict[str, Any] = {"device_map": device_map, "quantization": quantization, "unread": unread}
    with tempfile.TemporaryDirectory(prefix="palimpsest-") as place:
        merged.save_pretrained(place)
        del plain, merged
        return load_checkpoint(spec, Path(place), dtype=dtype, auto=auto, **how)
