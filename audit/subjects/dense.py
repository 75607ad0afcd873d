"""Linear layers that a sentence-transformers folder puts behind the pooling: its Dense modules."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.errors import SubjectError
from audit.subjects.files import read_object, weight_files
from audit.types import SubjectSpec

if TYPE_CHECKING:
    from torch import nn

ACTIVATIONS = ("Tanh", "Identity", "ReLU", "GELU", "Sigmoid")
"""Classes of torch.nn that may follow the linear layer."""
AFTER_POOLING = "after_pooling"
"""The attribute of a loaded text encoder that holds these layers."""
VECTOR = "sentence_embedding"
"""What a Dense reads and writes: the pooled vector, not the states of single tokens."""


def activation_of(folder: Path, name: str) -> str:
    """The activation behind a Dense module's linear layer; raises SubjectError for one that is not known here."""
    config = _config(folder, name)
    found = str(config.get("activation_function") or "torch.nn.modules.activation.Tanh").rpartition(".")[2]
    if found not in ACTIVATIONS:
        raise SubjectError(
            f"{name}: {folder} has the activation {found}, which is not known here; known are {', '.join(ACTIVATIONS)}."
        )
    for key in ("module_input_name", "module_output_name"):
        if config.get(key) not in (None, VECTOR):
            raise SubjectError(
                f"{name}: {folder} works on {config[key]} and not on the pooled vector; such encoders, which keep a "
                "vector for every token, cannot be read here."
            )
    return found


def load_dense(spec: SubjectSpec, folders: tuple[Path, ...]) -> nn.Sequential:
    """The layers of some Dense modules, in float32; raises SubjectError for weights that do not fit their config."""
    from torch import nn

    layers: list[nn.Module] = []
    for folder in folders:
        tensors, config = _tensors(folder, spec), _config(folder, spec.name)
        try:
            linear = nn.Linear(int(config["in_features"]), int(config["out_features"]), bool(config.get("bias", True)))
            linear.load_state_dict({key.removeprefix("linear."): value.float() for key, value in tensors.items()})
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            line = " ".join(str(error).split())[:200].rstrip(".")
            raise SubjectError(
                f"{spec.name}: the weights in {folder} are not those of the linear layer in its config.json ({line})."
            ) from error
        layers += [linear, getattr(nn, activation_of(folder, spec.name))()]
    return nn.Sequential(*layers)


def _config(folder: Path, name: str) -> dict[str, Any]:
    return read_object(folder / "config.json", name)


def _tensors(folder: Path, spec: SubjectSpec) -> dict[str, Any]:
    from safetensors.torch import load_file

    from audit.subjects.pickled import read_pickled

    found: dict[str, Any] = {}
    for path in weight_files(folder, spec):
        found.update(load_file(path) if path.suffix == ".safetensors" else read_pickled(path))
    return found
