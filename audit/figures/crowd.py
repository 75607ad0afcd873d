"""A crowd of points as one picture: a browser draws a hundred thousand as fast as ten.

Every point is in it, which no sample can say, and dense places are darker.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SIZE = (480, 440)
"""Pixels across and down: half more than a map has on the page, so that it is sharp on fine screens too."""
RADIUS = 2
"""Of a point, in pixels."""


@dataclass(frozen=True)
class Layer:
    """Points of one colour: places [n], the colour as #RRGGBB and how much of what lies behind one point hides."""

    x: np.ndarray
    y: np.ndarray
    colour: str
    opacity: float


@dataclass(frozen=True)
class Box:
    """What of the plane the picture shows."""

    left: float
    right: float
    low: float
    high: float

    @staticmethod
    def around(x: np.ndarray, y: np.ndarray, margin: float = 0.05) -> Box:
        """The smallest box around points, with a margin as a share of its sides."""
        sides = []
        for values in (x, y):
            low, high = float(np.min(values)), float(np.max(values))
            gap = margin * ((high - low) or 1.0)
            sides += [low - gap, high + gap]
        return Box(*sides)


def picture(layers: Sequence[Layer], box: Box, size: tuple[int, int] = SIZE) -> str:
    """A PNG as a data address; the first layer lies at the back, and nothing is drawn where no point is."""
    from PIL import Image

    wide, high = size
    hits = [_hits(layer, box, size).ravel() for layer in layers]
    places = np.flatnonzero(np.any(hits, axis=0))  # most of a map is empty
    colour: np.ndarray = np.zeros((len(places), 3), np.float32)
    cover: np.ndarray = np.zeros((len(places), 1), np.float32)
    for layer, count in zip(layers, hits, strict=True):
        own = (1 - np.float32(1 - layer.opacity) ** count[places])[:, None]
        ink = np.array([int(layer.colour[i : i + 2], 16) for i in (1, 3, 5)], np.float32)
        behind = cover * (1 - own)  # the usual "over" of pictures that let light through
        cover = own + behind
        colour = (ink * own + colour * behind) / np.maximum(cover, np.float32(1e-9))
    pixels = np.zeros((high * wide, 4), np.uint8)
    pixels[places] = np.concatenate([colour, 255 * cover], axis=1).round()
    file = io.BytesIO()
    Image.fromarray(pixels.reshape(high, wide, 4), "RGBA").save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _hits(layer: Layer, box: Box, size: tuple[int, int]) -> np.ndarray:
    """How many points cover each pixel, row 0 at the top [high, wide]."""
    wide, high = size
    column = np.floor((layer.x - box.left) / (box.right - box.left) * wide).astype(int)
    row = np.floor((box.high - layer.y) / (box.high - box.low) * high).astype(int)
    inside = (column >= 0) & (column < wide) & (row >= 0) & (row < high)
    spots = np.bincount(row[inside] * wide + column[inside], minlength=wide * high).astype(np.float32)
    padded = np.pad(spots.reshape(high, wide), RADIUS)
    hits = np.zeros((high, wide), np.float32)
    reach = range(-RADIUS, RADIUS + 1)
    for dy, dx in ((dy, dx) for dy in reach for dx in reach if dy * dy + dx * dx <= RADIUS * RADIUS):
        hits += padded[RADIUS + dy :, RADIUS + dx :][:high, :wide]
    return hits
