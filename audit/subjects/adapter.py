"""A PEFT adapter and the base that it was made on."""

from __future__ import annotations

import warnings
from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.errors import SubjectError
from audit.subjects.files import cached, folder_of, hub_id, is_adapter, is_hub_id, read_object
from audit.subjects.settings import loader_settings
from audit.types import SubjectSpec

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CONFIG = "adapter_config.json"
RECORD = "palimpsest_base.json"
"""Optional file in an adapter's folder: {"tensors": hash of the base's tensors}."""
ROOT, UNDER = "base_model.model.", "palimpsest_encoder"
DEPTH = 4
"""How many folders above the adapter a recorded relative path may start from."""


def adapter_config(folder: Path, name: str) -> dict[str, Any]:
    """The adapter's config; raises SubjectError when it is not JSON."""
    return read_object(folder / CONFIG, name)


def base_of(spec: SubjectSpec, folder: Path) -> SubjectSpec:
    """The base that an adapter is put on: the one the case file names, else the one that the adapter records.

    Raises SubjectError when there is neither.
    """
    settings = loader_settings(spec)
    given: Any = settings.base
    if given is None:
        recorded = recorded_base(folder, spec.name)
        place = _recorded_folder(folder, spec.name)
        given = str(place) if place else recorded
        if not given or not (place or is_hub_id(given)):
            raise SubjectError(
                f'{spec.name}: {folder} is an adapter on "{recorded}", which is not on this disk; name its base in the '
                'case file: base = "path or hub id".'
            )
    passed = {key: value for key, value in spec.settings.items() if key in ("allow_pickle", "dtype")}
    base = SubjectSpec(f"{spec.name} (base)", spec.role, given, passed)
    if is_adapter(folder_of(base)):
        raise SubjectError(
            f"{spec.name}: its base {given} is an adapter itself; give the full model that it is put on."
        )
    return base


def recorded_base(folder: Path, name: str) -> str:
    """What the adapter's config says that it was made on; empty when it says nothing."""
    recorded = adapter_config(folder, name).get("base_model_name_or_path")
    return recorded if isinstance(recorded, str) else ""


def recorded_path(folder: Path, name: str = "adapter") -> Path | None:
    """The folder that the recorded base is a path of; a relative path may start some folders higher up."""
    recorded = recorded_base(folder, name)
    for start in [folder, *folder.parents][: DEPTH + 1] if recorded else []:
        try:
            place = start / Path(recorded).expanduser()
            if place != folder and (place / "config.json").is_file():
                return place.resolve()
        except (OSError, RuntimeError, ValueError):  # what is recorded is not a path of this machine
            return None
    return None


def _recorded_folder(folder: Path, name: str) -> Path | None:
    """The folder of the recorded base, when it is on this disk: at its path, or in the cache of the model hub."""
    recorded = recorded_base(folder, name)
    return recorded_path(folder, name) or (cached(recorded) if is_hub_id(recorded) else None)


def check_base(spec: SubjectSpec) -> None:
    """Raise SubjectError unless the base used is the one the adapter was made on.

    An adapter on another base loads without an error and is another model: LoKU (FILA) moves weights from the base into
    the adapter, so that it belongs to a base that differs from the original. Hashes of the weights are compared where
    both bases are on this disk, or where the adapter's folder records the hash; else the names must be equal.
    """
    folder = folder_of(spec)
    base = base_of(spec, folder)
    used = folder_of(base)
    recorded = recorded_base(folder, spec.name)
    record = folder / RECORD
    if record.is_file():
        if read_object(record, spec.name).get("tensors") != tensors_digest(base):
            raise _wrong_base(spec, str(used), f"the base whose weights {RECORD} records")
        return
    made_on = _recorded_folder(folder, spec.name)
    if made_on is not None and made_on != used:
        if tensors_digest(SubjectSpec(base.name, base.role, str(made_on), base.settings)) != tensors_digest(base):
            raise _wrong_base(spec, str(used), str(made_on))
        return
    if made_on is None and not _same_name(base.path, recorded):
        raise SubjectError(
            f'{spec.name}: its adapter was made on "{recorded}", which is not on this disk, so it cannot be told '
            f"whether {base.path} is the same model. Put that model on this disk or name it as base; or, if you are "
            f'sure, write {{"tensors": "{tensors_digest(base)}"}} to {record}.'
        )


def _same_name(given: str, recorded: str) -> bool:
    """Whether a base has the recorded name: the same id, or a folder of the same name."""
    recorded = hub_id(recorded).rstrip("/")
    return bool(recorded) and (hub_id(given) == recorded or Path(given).name == recorded.rsplit("/", 1)[-1])


def _wrong_base(spec: SubjectSpec, used: str, made_on: str) -> SubjectError:
    return SubjectError(
        f"{spec.name}: its adapter was made on {made_on}, but the base given is {used}, whose weights differ. On "
        "another base it is another model; give the base that it was made on."
    )


def tensors_digest(base: SubjectSpec) -> str:
    """One hash over all tensors of a base."""
    from audit.subjects.fingerprint import fingerprint
    from audit.types import digest_of

    return digest_of(dict(fingerprint(base).tensors))


def merge_adapter(
    model: PreTrainedModel, folder: Path, stored: Set[str], name: str, unread: tuple[str, ...] = ()
) -> PreTrainedModel:
    """The base with the adapter's change added to its weights; `stored` are the names of the adapter's tensors.

    Changes of weights whose names begin with one of `unread` may be missing or left over, because nothing reads them.
    Raises SubjectError when the adapter does not fit, or fits in part only.
    """
    from peft import PeftModel, get_peft_model_state_dict

    model = _under(model, stored)
    plain = {ROOT + key for key in model.state_dict()}  # an adapter may bring whole embeddings
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it warns of is an error below
            wrapped = PeftModel.from_pretrained(model, str(folder), local_files_only=True, torch_device="cpu")
        wanted = set(get_peft_model_state_dict(wrapped, save_embedding_layers=False))
        merged = wrapped.merge_and_unload(safe_merge=True)
    except Exception as error:  # peft raises torch's, its own and the file system's errors
        line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise SubjectError(
            f"{name}: the adapter in {folder} cannot be put on its base ({line[:300]}). Expected a LoRA-like adapter "
            "that was made on this base."
        ) from error
    inner = f"{model.base_model_prefix}." if hasattr(model, "base_model_prefix") else ""
    stray = [
        key for key in [*sorted(wanted - stored), *sorted(stored - wanted - plain)]
        if not key.removeprefix(ROOT).removeprefix(inner).startswith(unread)
    ]  # fmt: skip
    if stray:
        raise SubjectError(
            f"{name}: the adapter in {folder} does not fit its base: {stray[0]} is in one of them only, so a part of "
            "it would be left out. Give the base that it was made on."
        )
    return getattr(merged, UNDER, merged)


def _under(model: PreTrainedModel, stored: Set[str]) -> Any:
    """A bare encoder as a part of the model with a head that the adapter was trained on, where its names say so."""
    from torch import nn

    prefix = model.base_model_prefix
    if not prefix or hasattr(model, prefix) or not any(n.startswith(f"{ROOT}{prefix}.") for n in stored):
        return model
    whole: Any = nn.Module()
    whole.config, whole.base_model_prefix = model.config, prefix
    setattr(whole, prefix, model)
    object.__setattr__(whole, UNDER, model)  # beside the modules, or it would be there twice
    return whole
