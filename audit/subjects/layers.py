"""The layers that a generator may be described with; each is checked against the shape that it is given.

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
from typing import TYPE_CHECKING, Any

from audit.errors import SubjectError, suggest

if TYPE_CHECKING:
    from torch import nn

MOST = 2**24
"""The largest size that a description may name: beyond it, a number is a slip of the pen."""
Shape = tuple[int, ...]


def layer_of(values: dict[str, Any], shape: Shape, where: str) -> tuple[nn.Module, Shape]:
    """One layer, by its description, and the shape that it gives; raises SubjectError that begins with `where`."""
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
    settings = {key: size_of({key: default} | values, key, f"{where}, {kind}", 0) for key, default in known.items()}
    return make(shape, settings, where)


def size_of(values: Mapping[str, Any], key: str, where: str, least: int = 1) -> int:
    """A whole number from 1 up (padding: from 0); raises SubjectError that begins with `where` for anything else."""
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
