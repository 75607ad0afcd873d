"""Small pictures of the items of an audit, kept in its run, so that pages show them wherever the corpora have gone."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from audit.corpora.images import open_image
from audit.errors import CorpusError
from audit.files import write_atomically
from audit.types import SPLITS, Corpus, Picture, Split

FILE = "thumbnails.parquet"
SIDE = 96
"""Pixels of the longer side; smaller images are enlarged by whole numbers, so that their pixels stay square."""
MOST = 4000
"""Items of a corpus that have one; the first of them."""


def write_thumbnails(run: Path, corpora: Mapping[Split, Corpus]) -> None:
    """Write the pictures of all items that have an image; nothing where none has, or where they are there already.

    An image that cannot be decoded has none: the evidence that reads it says what is wrong.
    """
    items = [item for split in SPLITS if split in corpora for item in corpora[split].items[:MOST] if item.image]
    if not items:
        return
    wanted = [(item.id, item.image.digest) for item in items if item.image]
    path = run / FILE
    if path.is_file() and _kept(path) == wanted:
        return
    rows = []
    for item in items:
        assert item.image is not None
        try:
            rows.append((item.id, item.image.digest, _small(item.image)))
        except CorpusError:
            rows.append((item.id, item.image.digest, b""))
    frame = pd.DataFrame(rows, columns=["item", "digest", "png"])
    write_atomically(path, lambda temporary: frame.to_parquet(temporary, index=False))


def read_thumbnails(run: Path) -> dict[str, bytes]:
    """PNG of every item that has one, by id; empty for a run without images."""
    path = run / FILE
    if not path.is_file():
        return {}
    frame = pd.read_parquet(path, columns=["item", "png"])
    return {item: png for item, png in zip(frame["item"], frame["png"], strict=True) if png}


def data_uri(png: bytes) -> str:
    """A picture as an address that holds it; base64 alone, so nothing in it can be taken for markup."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def _kept(path: Path) -> list[tuple[str, str]]:
    try:
        frame = pd.read_parquet(path, columns=["item", "digest"])
    except (OSError, ValueError, KeyError):
        return []
    return list(zip(frame["item"], frame["digest"], strict=True))


def _small(picture: Picture) -> bytes:
    return _shrunk(open_image(picture))


def png_of(image: np.ndarray) -> bytes:
    """The small picture of an image in bytes [height, width, channels], grey or RGB."""
    from PIL import Image

    return _shrunk(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image))


def _shrunk(image: Any) -> bytes:
    from PIL import Image

    image = image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGB")
    longer = max(image.size)
    if longer > SIDE:
        image.thumbnail((SIDE, SIDE))
    elif longer * 2 <= SIDE:
        times = SIDE // longer
        image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
