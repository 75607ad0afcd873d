"""Loading a checkpoint from its folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.errors import SubjectError
from audit.subjects.files import weight_files
from audit.types import SubjectSpec

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def load_checkpoint(
    spec: SubjectSpec,
    folder: Path,
    *,
    dtype: str,
    device_map: Any,
    quantization: Any = None,
    auto: str = "AutoModelForCausalLM",
    unread: tuple[str, ...] = (),
) -> PreTrainedModel:
    """The model in a folder, by default a causal language model; `auto` is the library's class that opens it.

    Weights whose names begin with one of `unread` may be missing or left over, because nothing reads them.
    Raises SubjectError unless every other weight is there and fits.
    """
    import torch
    import transformers
    from transformers import AutoConfig

    opened = getattr(transformers, auto)

    name = spec.name
    pickled = [path for path in weight_files(folder, spec) if path.suffix != ".safetensors"]
    options: dict[str, Any] = {
        "dtype": getattr(torch, dtype),
        "device_map": device_map,
        "output_loading_info": True,
        "trust_remote_code": False,
    }
    if quantization is not None:
        options["quantization_config"] = quantization
    try:
        config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        if pickled:
            model, report = _from_tensors(opened, config, pickled, options)
        else:
            model, report = opened.from_pretrained(
                str(folder), config=config, use_safetensors=True, local_files_only=True, **options
            )
    except SubjectError:
        raise
    except Exception as error:  # the library raises torch's, its own and the file system's errors
        raise SubjectError(f"{name}: {folder} cannot be loaded ({_short(error)}).") from error
    _check_report(report, folder, name, unread)
    return model


def _from_tensors(opened: Any, config: Any, files: list[Path], options: dict[str, Any]) -> Any:
    """Build the model around tensors that were read with `weights_only`."""
    from audit.subjects.pickled import read_pickled

    tensors = {key: tensor for path in files for key, tensor in read_pickled(path).items()}
    options = {key: value for key, value in options.items() if key != "trust_remote_code"}
    architecture = opened._model_mapping[type(config)]
    return architecture.from_pretrained(None, config=config, state_dict=tensors, **options)


def _check_report(report: dict[str, Any], folder: Path, name: str, unread: tuple[str, ...] = ()) -> None:
    """A weight that is not in the file would be random, and one that is not used would go unaudited."""
    for key, what in (
        ("missing_keys", "which the model of config.json needs, is not in the file and would be random"),
        ("mismatched_keys", "has another shape than the model of config.json"),
        ("unexpected_keys", "is in the file, but the model of config.json does not use it"),
    ):
        found = sorted(str(part[0] if isinstance(part, tuple) else part) for part in report.get(key) or ())
        found = [part for part in found if not part.startswith(unread)]
        if found:
            more = f" (and {len(found) - 1} more)" if found[1:] else ""
            raise SubjectError(
                f"{name}: {found[0]}{more} {what}. {folder / 'config.json'} and the weights do not belong together; "
                "save the model again with save_pretrained."
            )


def _short(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:300]
