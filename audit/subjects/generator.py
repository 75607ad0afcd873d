"""A generator: a declarative list of layers in config.json and its weights in safetensors, built and run by us alone.

    {"model_type": "palimpsest-generator", "latent_size": 8,
     "classes": ["0", "1"], "condition_size": 4,
     "image": {"channels": 1, "height": 8, "width": 8, "low": -1, "high": 1},
     "blocks": [[{"layer": "linear", "out": 64}, {"layer": "relu"}], …]}

`classes` and `condition_size` are there where the generator takes a condition: its embedding is joined to the latent.
What the last block gives must have the shape of the image; `low` and `high` are what black and white are there. Weights
are called `condition.weight` and `blocks.<block>.<layer>.<weight>`. A block is where hidden states are read.
The layers are those of `subjects.layers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.errors import SubjectError
from audit.subjects.files import folder_of, read_object, tensors, weight_files
from audit.subjects.layers import Shape, layer_of, size_of
from audit.subjects.weights import header
from audit.types import SubjectSpec

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Description:
    """What a config.json says of a generator."""

    latent_size: int
    classes: tuple[str, ...]
    condition_size: int
    channels: int
    height: int
    width: int
    low: float
    high: float
    blocks: tuple[tuple[Mapping[str, Any], ...], ...]

    @property
    def image(self) -> Shape:
        """Shape of what is drawn."""
        return self.channels, self.height, self.width


def describe(folder: Path, name: str) -> Description:
    """The description in a folder; raises SubjectError with one sentence for whatever is missing or unknown."""
    config = read_object(folder / "config.json", name)
    where = f"{name}: {folder / 'config.json'}"
    image = config.get("image")
    if not isinstance(image, Mapping):
        raise SubjectError(f"{where} describes no image; expected channels, height, width, low and high.")
    classes = config.get("classes") or ()
    if not isinstance(classes, (list, tuple)) or not all(isinstance(c, str) and c for c in classes):
        raise SubjectError(f'{where}: "classes" is {classes!r:.60}; expected a list of names, or nothing.')
    low, high = image.get("low", 0.0), image.get("high", 1.0)
    if not all(type(v) in (int, float) for v in (low, high)) or not low < high:
        raise SubjectError(f"{where}: an image runs from {low!r:.20} to {high!r:.20}; expected two numbers, low first.")
    blocks = config.get("blocks")
    listed = isinstance(blocks, list) and len(blocks) > 1 and all(isinstance(b, list) and b for b in blocks)
    if not listed or not all(isinstance(layer, Mapping) for block in blocks or () for layer in block):
        raise SubjectError(f'{where}: "blocks" is no list of at least two lists of layers.')
    sizes = {key: size_of(image, key, where) for key in ("channels", "height", "width")}
    if sizes["channels"] not in (1, 3):
        raise SubjectError(f"{where}: an image of {sizes['channels']} channels; 1 (grey) and 3 (RGB) can be shown.")
    return Description(
        size_of(config, "latent_size", where),
        tuple(classes), size_of(config, "condition_size", where) if classes else 0,
        **sizes, low=float(low), high=float(high), blocks=tuple(tuple(block) for block in blocks or ()),
    )  # fmt: skip


def check_generator(spec: SubjectSpec) -> None:
    """Raise SubjectError unless the description can be built and the stored weights are its weights."""
    import torch

    folder = folder_of(spec)
    with torch.device("meta"):
        wanted = {
            name: tuple(t.shape) for name, t in build(describe(folder, spec.name), spec.name).state_dict().items()
        }
    held = {t.name: tuple(t.shape) for path in weight_files(folder, spec) for t in header(path)}
    _fits(spec, folder, wanted, held)


def _fits(spec: SubjectSpec, folder: Path, wanted: Mapping[str, Shape], held: Mapping[str, Shape]) -> None:
    for name, shape in wanted.items():
        if name.endswith("num_batches_tracked"):
            continue  # a counter that nothing is computed from
        if name not in held:
            raise SubjectError(f"{spec.name}: {folder} lacks the weight {name}, which its config.json describes.")
        if held[name] != shape:
            raise SubjectError(
                f"{spec.name}: the weight {name} in {folder} is of shape {list(held[name])}, and config.json "
                f"describes {list(shape)}; they do not belong together."
            )
    if strange := sorted(set(held) - set(wanted)):
        raise SubjectError(f"{spec.name}: {folder} holds the weight {strange[0]}, which config.json does not describe.")


def load_generator(spec: SubjectSpec, dtype: str, where: Any) -> Any:
    """The model of a generator in evaluation mode; raises SubjectError as `check_generator` does."""
    import torch

    folder = folder_of(spec)
    model = build(describe(folder, spec.name), spec.name)
    model.load_state_dict(dict(tensors(folder, spec)), strict=False)  # the check has compared names and shapes
    return model.to(where, getattr(torch, dtype))


def build(description: Description, name: str = "generator") -> Any:
    """The model that a description describes, with fresh weights; raises SubjectError for what cannot be built."""
    from torch import nn

    shape: Shape = (description.latent_size + description.condition_size,)
    blocks: list[nn.Module] = []
    for number, block in enumerate(description.blocks):
        layers = []
        for place, layer in enumerate(block):
            made, shape = layer_of(dict(layer), shape, f"{name}: layer {place} of block {number}")
            layers.append(made)
        blocks.append(nn.Sequential(*layers))
    if shape != description.image:
        raise SubjectError(
            f"{name}: its last block gives {list(shape)}, and config.json describes images of "
            f"{list(description.image)}; they must be the same."
        )
    return _model(description, blocks)


def _model(description: Description, blocks: list[nn.Module]) -> Any:
    import torch
    from torch import nn

    class Generator(nn.Module):
        """Latents [rows, latent_size] and conditions [rows, condition_size] → images [rows, channels, height, width].

        Images are 0 (black) to 1 (white), and beyond where the last block gives more.
        """

        def __init__(self) -> None:
            super().__init__()
            self.config = description
            classes = len(description.classes)
            self.condition = nn.Embedding(classes, description.condition_size) if classes else None
            self.blocks = nn.ModuleList(blocks)

        def forward(self, latents: Tensor, conditions: Tensor | None = None) -> Tensor:
            state = latents if conditions is None else torch.cat([latents, conditions], 1)
            for block in self.blocks:
                state = block(state)
            return (state - description.low) / (description.high - description.low)

    return Generator()
