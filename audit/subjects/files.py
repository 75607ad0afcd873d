"""Which files a subject consists of: a path or a hub id → a folder, and the files in it that count."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.errors import SubjectError
from audit.subjects.settings import loader_settings
from audit.subjects.weights import header
from audit.types import SubjectSpec

if TYPE_CHECKING:
    from torch import Tensor

WANTED = ("*.json", "*.jinja", "*.model", "*.txt", "*.safetensors")
HUB = "hub:"
"""In front of an id of the model hub, where it could be taken for a path."""
HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+")
PICKLED = ("*.bin", "*.pt", "*.pth")


def folder_of(spec: SubjectSpec) -> Path:
    """The folder of a subject's files; a hub id is fetched, or taken from the local hub cache.

    Raises SubjectError when there is no such folder, or the hub does not give it.
    """
    if not spec.path.startswith(HUB):
        try:
            path = Path(spec.path).expanduser()
            if path.is_dir():
                return path.resolve()
            is_file = path.exists()
        except (OSError, RuntimeError, ValueError) as error:
            raise SubjectError(f"{spec.name}: {spec.path[:200]!r} is not a usable path ({error}).") from error
        if is_file:
            raise SubjectError(
                f"{spec.name}: {path} is a file; expected a folder with config.json and safetensors files."
            )
    if not is_hub_id(spec.path):
        raise SubjectError(f"{spec.name}: there is no folder {spec.path}. Check the path, or give hub:owner/name.")
    settings = loader_settings(spec)
    patterns = WANTED + (PICKLED if settings.allow_pickle else ())
    return _snapshot(spec.name, hub_id(spec.path), settings.revision, patterns)


def is_hub_id(text: str) -> bool:
    """Whether a text is "owner/name", with or without "hub:" before it."""
    return HUB_ID.fullmatch(hub_id(text)) is not None


def hub_id(text: str) -> str:
    """The id without the "hub:" that a case file may put before it."""
    return text.removeprefix(HUB)


@lru_cache(maxsize=64)
def _snapshot(name: str, id: str, revision: str | None, patterns: tuple[str, ...]) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(id, revision=revision, allow_patterns=list(patterns)))
    except Exception as error:  # the library raises its own, the network's and the file system's errors
        line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise SubjectError(
            f"{name}: the hub does not give {id}{f' at {revision}' if revision else ''} ({line[:300]}). Check the id "
            "and the network, sign in for a gated model, or give a local folder."
        ) from error


def cached(id: str) -> Path | None:
    """The folder of a hub id in the local hub cache, without asking the hub."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub_id(id), local_files_only=True, allow_patterns=list(WANTED)))
    except Exception:  # not cached, or not an id at all: both mean that it is not on this disk
        return None


def read_object(path: Path, name: str) -> dict[str, Any]:
    """A JSON file that holds an object; raises SubjectError that names the subject and the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SubjectError(f"{name}: {path} is missing; save the whole model with save_pretrained.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise SubjectError(f"{name}: {path} cannot be read as JSON ({error}); save the model again.") from error
    if not isinstance(value, dict):
        raise SubjectError(f"{name}: {path} holds no JSON object; save the model again.")
    return value


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds a PEFT adapter rather than a whole model."""
    return (folder / "adapter_config.json").is_file()


def weight_files(folder: Path, spec: SubjectSpec) -> list[Path]:
    """The files that hold a checkpoint's or an adapter's own weights, as the loader will choose them.

    Raises SubjectError when there are none, a shard is missing, or only pickled files are there and were not allowed.
    """
    name, stem = spec.name, "adapter_model" if is_adapter(folder) else "model"
    if (folder / "model_index.json").is_file():
        return _parts(folder, name)
    parallel = next(folder.glob("shard-*-model-*-of-*.safetensors"), None)
    if parallel is not None:
        raise SubjectError(f"{name}: {parallel} is a piece of a training state; save the model with save_pretrained.")
    single, index = folder / f"{stem}.safetensors", folder / f"{stem}.safetensors.index.json"
    if single.is_file():
        return [single]
    if index.is_file():
        return _shards(index, name)
    pickled = sorted(path for pattern in PICKLED for path in folder.glob(pattern) if path.name != "training_args.bin")
    if pickled and loader_settings(spec).allow_pickle:
        return pickled
    if pickled:
        raise SubjectError(
            f"{name}: {folder} holds {pickled[0].name} and no safetensors file. A pickled file can run code when it is "
            "read: save the model with save_pretrained, or set allow_pickle = true for this subject in the case file."
        )
    raise SubjectError(f"{name}: {folder} holds no {single.name}; save the model with save_pretrained.")


def _parts(folder: Path, name: str) -> list[Path]:
    """The safetensors files of a pipeline's parts, each in a folder of its own; of several formats the plain one."""
    every = sorted(folder.glob("*/*.safetensors"))
    found = [path for path in every if path.name.count(".") == 1]
    if not found:
        raise SubjectError(f"{name}: no part of the pipeline in {folder} has a safetensors file; save it with "
                           "save_pretrained.")  # fmt: skip
    return found


def inside(folder: Path, path: Path) -> str:
    """What the names of a file's tensors begin with: the part of a pipeline that it belongs to, else nothing."""
    return "" if path.parent == folder else f"{path.parent.name}."


def _shards(index: Path, name: str) -> list[Path]:
    table = read_object(index, name).get("weight_map")
    if not isinstance(table, dict) or not table or not all(isinstance(part, str) for part in table.values()):
        raise SubjectError(f"{name}: {index} has no weight_map; save the model again.")
    files = []
    for part in sorted(set(table.values())):
        path = index.parent / part
        if Path(part).name != part or not part.endswith(".safetensors"):
            raise SubjectError(f'{name}: {index} points to "{part}"; expected a safetensors file in the same folder.')
        if not path.is_file():
            raise SubjectError(f"{name}: the shard {path} is missing; copy the whole folder again.")
        files.append(path)
    held = {tensor.name for path in files for tensor in header(path)}
    lost = sorted(set(table) - held)
    if lost:
        raise SubjectError(f"{name}: {index} lists {lost[0]}, which is in no shard; copy the whole folder again.")
    return files


def tensors(folder: Path, spec: SubjectSpec) -> Iterator[tuple[str, Tensor]]:
    """Name and value of every tensor in a subject's own weight files, one in memory at a time."""
    from safetensors import safe_open

    from audit.subjects.pickled import read_pickled

    for path in weight_files(folder, spec):
        if path.suffix != ".safetensors":
            yield from read_pickled(path).items()
            continue
        names = [tensor.name for tensor in header(path)]
        with safe_open(path, framework="pt") as file:
            for name in names:
                yield inside(folder, path) + name, file.get_tensor(name)
