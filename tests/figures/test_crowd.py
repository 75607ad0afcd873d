"""A crowd as a picture: where its points lie, in which colour, and that dense places are darker."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest

from audit.figures.crowd import RADIUS, Box, Layer, picture

BOX = Box(0.0, 100.0, 0.0, 50.0)


def pixels(*layers: Layer) -> Any:
    from PIL import Image

    address = picture(layers, BOX, (100, 50))
    head, data = address.split(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).astype(int)


def at(x: list[float], y: list[float], colour: str = "#D55E00", opacity: float = 0.5) -> Layer:
    return Layer(np.array(x), np.array(y), colour, opacity)


def test_a_point_is_a_disc_where_it_lies_and_nothing_is_drawn_elsewhere() -> None:
    found = pixels(at([30.5], [10.5]))
    # y = 10.5 of 50 from below is row 39 from above; a disc of radius 2 on the grid has 13 pixels.
    assert found[39, 30].tolist() == [0xD5, 0x5E, 0x00, 128]
    assert (found[..., 3] > 0).sum() == 13 and found[39, 30 + RADIUS + 1].tolist() == [0, 0, 0, 0]


def test_two_points_on_one_place_hide_more_than_one() -> None:
    assert pixels(at([30.5, 30.5], [10.5, 10.5]))[39, 30, 3] == round(255 * (1 - 0.5**2))


def test_the_later_layer_lies_above() -> None:
    # Over: alpha 0.5 + 0.5 * 0.5 = 0.75, red channel (200 * 0.5 + 100 * 0.25) / 0.75 = 166.7.
    found = pixels(at([30.5], [10.5], "#646464"), at([30.5], [10.5], "#C80000"))
    assert found[39, 30].tolist() == [167, 33, 33, 191]


def test_no_points_are_an_empty_picture() -> None:
    assert pixels(at([], [])).max() == 0


@pytest.mark.parametrize("values", [np.array([3.0]), np.array([2.0, 4.0])])
def test_a_box_lies_around_its_points_with_a_margin(values: Any) -> None:
    box = Box.around(values, values)
    assert box.left < values.min() and box.right > values.max() and box.low < box.high
