"""Loading an image classifier: of transformers from its folder, of timm from a state dict and a name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.errors import MissingDependency, SubjectError
from audit.subjects.adapted import load_adapted
from audit.subjects.checkpoint import load_checkpoint
from audit.subjects.files import folder_of, is_adapter, tensors
from audit.subjects.modality import PROCESSOR, processor_folder, timm_of
from audit.types import SubjectSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

AUTO = "AutoModelForImageClassification"


def load_classifier(spec: SubjectSpec, classes: tuple[str, ...], dtype: str, where: Any, quantization: Any) -> Any:
    """The model of a classifier; raises SubjectError for weights that do not fit, MissingDependency without timm."""
    folder = folder_of(spec)
    name = timm_of(spec)
    if name is None and is_adapter(folder):
        return load_adapted(spec, dtype=dtype, device_map=where, quantization=quantization, auto=AUTO)
    if name is None:
        return load_checkpoint(spec, folder, dtype=dtype, device_map=where, quantization=quantization, auto=AUTO)
    if quantization is not None:
        raise SubjectError(f"{spec.name}: models of timm cannot be quantised here.")
    return _timm_model(spec, folder, name, classes, dtype, where)


def load_processor(spec: SubjectSpec, model: Any) -> Any:
    """What turns images into the numbers that a classifier reads: `processor(images=…)["pixel_values"]`."""
    folder = processor_folder(spec)
    if not (folder / PROCESSOR).is_file() and timm_of(spec):
        return model.prepare
    from transformers import AutoImageProcessor

    try:
        return AutoImageProcessor.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the library raises its own and the file system's errors
        line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise SubjectError(f"{spec.name}: {folder / PROCESSOR} cannot be used ({line[:200]}).") from error


def _timm_model(spec: SubjectSpec, folder: Path, name: str, classes: tuple[str, ...], dtype: str, where: Any) -> Any:
    import torch

    try:
        import timm
    except ImportError as error:
        raise MissingDependency(
            f"{spec.name} is a {name} of the timm library, which is not installed: pip install timm."
        ) from error
    except Exception as error:  # torchvision, which it needs, raises torch's errors where it was built for another one
        line = " ".join(str(error).split())[:200].rstrip(".")
        raise MissingDependency(
            f"{spec.name} is a {name} of the timm library, which is installed and cannot be used here ({line}): "
            "install the torchvision that was built for this torch."
        ) from error
    try:
        model = timm.create_model(name, pretrained=False, num_classes=len(classes))
        model.load_state_dict(dict(tensors(folder, spec)), strict=True)
    except SubjectError:
        raise
    except Exception as error:  # timm raises for an unknown name, torch for weights that do not fit
        line = " ".join(str(error).split())[:300].rstrip(".")
        raise SubjectError(f"{spec.name}: the weights in {folder} are not those of a {name} ({line}).") from error
    return _as_ours(model, timm, classes).to(next(iter(where.values())), getattr(torch, dtype))


def _as_ours(model: nn.Module, timm: Any, classes: tuple[str, ...]) -> nn.Module:
    """A model of timm that is called as one of transformers is: `model(pixel_values=…, labels=…).logits`."""
    import torch
    from torch import nn

    class Classifier(nn.Module):
        """Passes everything on; `config` says what the model library would say."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = model
            channels = int(timm.data.resolve_model_data_config(model)["input_size"][0])
            self.config = _Config(num_labels=len(classes), num_channels=channels)

        def forward(self, pixel_values: Tensor, labels: Tensor | None = None, **_: Any) -> _Output:
            logits = self.inner(pixel_values)
            loss = None if labels is None else torch.nn.functional.cross_entropy(logits.float(), labels)
            return _Output(logits, loss)

        def prepare(self, images: Any, return_tensors: str = "pt") -> dict[str, Tensor]:
            transform = timm.data.create_transform(**timm.data.resolve_model_data_config(self.inner))
            return {"pixel_values": torch.stack([transform(image) for image in images])}

    return Classifier()


class _Config:
    """What the rest of the program asks a config for."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def get_text_config(self) -> _Config:
        return self


class _Output:
    """Logits [rows, classes], and the mean cross entropy where there are labels."""

    def __init__(self, logits: torch.Tensor, loss: torch.Tensor | None) -> None:
        self.logits, self.loss = logits, loss
