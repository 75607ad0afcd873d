"""A generator: a declarative list of layers in config.json and its weights in safetensors, built and run by us alone.

    {"model_type": "palimpsest-generator", "latent_size": 8,
     "classes": ["0", "1"], "condition_size": 4,
     "image": {"channels": 1, "height": 8, "width": 8, "low": -1, "high": 1},
     "blocks": [[{"layer": "linear", "out": 64}, {"layer": "relu"}], …]}

`classes` and `condition_size` are there where the generator takes a condition: its embedding is joined to the latent.
What the last block gives must have the shape of the image; `low` and `high` are what black and white are there. Weights
are called `condition.weight` and `blocks.<block>.<layer>.<weight>`. A block is where hidden states are read.

| layer | settings (default) | takes |
|---|---|---|
| linear | out | vector |
| reshape | channels, height, width | vector |
| flatten | | image |
| conv | out, kernel (3; odd, size kept) | image |
| conv_transpose | out, kernel (4), stride (2), padding (1) | image |
| upsample | factor (2; nearest) | image |
| batch_norm | | either |
| group_norm | groups | image |
| relu, leaky_relu (0.2), gelu, silu, tanh, sigmoid | | either |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.errors import SubjectError, suggest
from audit.subjects.files import folder_of, read_object, tensors, weight_files
from audit.subjects.weights import header
from audit.types import SubjectSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

MOST = 2**24
"""The largest size that a description may name: beyond it, a number is a slip of the pen."""
Shape = tuple[int, ...]


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
    sizes = {key: _size(image, key, where) for key in ("channels", "height", "width")}
    if sizes["channels"] not in (1, 3):
        raise SubjectError(f"{where}: an image of {sizes['channels']} channels; 1 (grey) and 3 (RGB) can be shown.")
    found = Description(
        _size(config, "latent_size", where), tuple(classes), _size(config, "condition_size", where) if classes else 0,
        **sizes, low=float(low), high=float(high), blocks=tuple(tuple(block) for block in blocks or ()),
    )  # fmt: skip
    return found


def check_generator(spec: SubjectSpec) -> None:
    """Raise SubjectError unless the description can be built and the stored weights are its weights."""
    import torch

    folder = folder_of(spec)
    with torch.device("meta"):
        wanted = {name: tuple(t.shape) for name, t in build(describe(folder, spec.name), spec.name).state_dict().items()}
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
            made, shape = _layer(dict(layer), shape, f"{name}: layer {place} of block {number}")
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


def _layer(values: dict[str, Any], shape: Shape, where: str) -> tuple[nn.Module, Shape]:
    """One layer and the shape that it gives."""
    kind = values.pop("layer", None)
    if not isinstance(kind, str) or kind not in LAYERS:
        raise SubjectError(f'{where} is an unknown layer "{kind!s:.40}".{suggest(str(kind), LAYERS)}')
    known, ranks, make = LAYERS[kind]
    for key in values:
        if key not in known:
            raise SubjectError(f'{where}, {kind}, has no setting "{key}"; it has {", ".join(known) or "none"}.')
    if len(shape) not in ranks:
        takes, found = ("an image", "a vector") if len(shape) == 1 else ("a vector", "an image")
        raise SubjectError(f"{where}, {kind}, takes {takes} and is given {found} of shape {list(shape)}.")
    settings = {key: _size({key: default} | values, key, f"{where}, {kind}", 0) for key, default in known.items()}
    return make(shape, settings, where)


def _size(values: Mapping[str, Any], key: str, where: str, least: int = 1) -> int:
    value = values.get(key)
    if type(value) is not int or not (least if key == "padding" else 1) <= value <= MOST:
        raise SubjectError(f'{where}: "{key}" is {value!r:.40}; expected a whole number from 1 up.')
    return value



def _linear(shape: Shape, s: dict[str, int], where: str) -> Any:
    from torch import nn

    return nn.Linear(shape[0], s["out"]), (s["out"],)


def _reshape(shape: Shape, s: dict[str, int], where: str) -> Any:
    from torch import nn

    new = s["channels"], s["height"], s["width"]
    if new[0] * new[1] * new[2] != shape[0]:
        raise SubjectError(f"{where}, reshape, makes {list(new)} of {shape[0]} numbers, which it cannot.")
    return nn.Unflatten(1, new), new


def _flatten(shape: Shape, s: dict[str, int], where: str) -> Any:
    from torch import nn

    return nn.Flatten(), (shape[0] * shape[1] * shape[2],)


def _conv(shape: Shape, s: dict[str, int], where: str) -> Any:
    from torch import nn

    if s["kernel"] % 2 == 0:
        raise SubjectError(f"{where}, conv, has a kernel of {s['kernel']}; an odd one keeps the size.")
    return nn.Conv2d(shape[0], s["out"], s["kernel"], padding=s["kernel"] // 2), (s["out"], *shape[1:])


def _conv_transpose(shape: Shape, s: dict[str, int], where: str) -> Any:
    from torch import nn

    sides = [(side - 1) * s["stride"] - 2 * s["padding"] + s["kernel"] for side in shape[1:]]
    if min(sides) < 1:
        raise SubjectError(f"{where}, conv_transpose, leaves nothing of {list(shape)}; its padding is too large.")
    return nn.ConvTranspose2d(shape[0], s["out"], s["kernel"], s["stride"], s["padding"]), (s["out"], *sides)


def _upsample(shape: Shape, s: dict[str, int], where: str) -> Any:
    from torch import nn

    return nn.Upsample(scale_factor=s["factor"]), (shape[0], shape[1] * s["factor"], shape[2] * s["factor"])


def _batch_norm(shape: Shape, s: dict[str, int], where: str) -> Any:
    from torch import nn

    return (nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d)(shape[0]), shape


def _group_norm(shape: Shape, s: dict[str, int], where: str) -> Any:
    from torch import nn

    if shape[0] % s["groups"]:
        raise SubjectError(f"{where}, group_norm, cannot put {shape[0]} channels into {s['groups']} groups.")
    return nn.GroupNorm(s["groups"], shape[0]), shape


def _activation(name: str, *arguments: float) -> Any:
    def make(shape: Shape, s: dict[str, int], where: str) -> Any:
        from torch import nn

        return getattr(nn, name)(*arguments), shape

    return {}, (1, 3), make


Layer = tuple[dict[str, int | None], tuple[int, ...], Callable[[Shape, dict[str, int], str], Any]]
LAYERS: dict[str, Layer] = {
    "linear": ({"out": None}, (1,), _linear),
    "reshape": ({"channels": None, "height": None, "width": None}, (1,), _reshape),
    "flatten": ({}, (3,), _flatten),
    "conv": ({"out": None, "kernel": 3}, (3,), _conv),
    "conv_transpose": ({"out": None, "kernel": 4, "stride": 2, "padding": 1}, (3,), _conv_transpose),
    "upsample": ({"factor": 2}, (3,), _upsample),
    "batch_norm": ({}, (1, 3), _batch_norm),
    "group_norm": ({"groups": None}, (3,), _group_norm),
    "relu": _activation("ReLU"),
    "leaky_relu": _activation("LeakyReLU", 0.2),
    "gelu": _activation("GELU"),
    "silu": _activation("SiLU"),
    "tanh": _activation("Tanh"),
    "sigmoid": _activation("Sigmoid"),
}
"""Kind → its settings with their defaults, how many axes it takes, and what makes it."""
