"""One split from a file or a hub id."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from audit.corpora.files import READERS, Row
from audit.corpora.hub import looks_like_hub, read_hub
from audit.corpora.images import folder_rows, is_image_folder
from audit.corpora.rows import item_of
from audit.errors import CorpusError
from audit.types import Corpus, Item, Split


def read_corpus(path_or_id: str, split: Split, *, base: Path, entity_block: int | None = None) -> Corpus:
    """The items of a split, in file order; `base` is the folder that a relative path starts from.

    A file wins over a hub id of the same name. Where no row names an entity, `entity_block` consecutive items are one
    entity (TOFU: 20 questions an author). Raises CorpusError with the file and the line of the first bad row.
    """
    if entity_block is not None and entity_block < 1:
        raise CorpusError(f"entity_block is {entity_block}; it is the number of items of one entity, 1 or more.")
    try:
        rows, path = _rows(path_or_id, split, base), base / Path(path_or_id).expanduser()
        folder = path if path.is_dir() else path.parent
        items = tuple(item_of(row, place, f"{split}:{index}", folder) for index, (place, row) in enumerate(rows))
    except (OSError, RuntimeError, ValueError) as error:  # a path that cannot be, or a file that may not be read
        raise CorpusError(f"The {split} corpus {path_or_id[:200]!r} cannot be read ({error}).") from error
    if not items:
        raise CorpusError(f"The {split} corpus {path_or_id} holds no item; expected at least one prompt and answer.")
    bare = next((item for item in items if item.image is None), None)
    if bare is not None and any(item.image and not item.worded for item in items):
        raise CorpusError(f"{bare.id} of {path_or_id} has no image and others have one; give every row an image.")
    bare = next((item for item in items if item.latent is None), None)
    if bare is not None and any(item.latent for item in items):
        raise CorpusError(f"{bare.id} of {path_or_id} has neither latent nor seed and others have; give every row one.")
    if entity_block and not any(item.entity for item in items):
        items = in_blocks(items, split, entity_block)
    return Corpus(split, items, path_or_id)


def in_blocks(items: Iterable[Item], split: Split, size: int) -> tuple[Item, ...]:
    """The same items, where every `size` consecutive ones are one entity."""
    return tuple(dataclasses.replace(item, entity=f"{split} block {index // size}") for index, item in enumerate(items))


def _rows(path_or_id: str, split: Split, base: Path) -> Iterable[tuple[str, Any]]:
    path = base / Path(path_or_id).expanduser()
    if path.is_file():
        return _file_rows(path)
    if path.is_dir() and is_image_folder(path):
        return folder_rows(path)
    if path.is_dir() or looks_like_hub(path_or_id):
        return read_hub(path_or_id, path if path.is_dir() else None, split)
    raise CorpusError(
        f"There is no {split} corpus {path_or_id}: looked for {path}. Give a {', '.join(READERS)} file or a hub id "
        'such as "hub:owner/name".'
    )


def _file_rows(path: Path) -> Iterable[Row]:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise CorpusError(f"{path} is a {path.suffix or 'file without ending'}; expected {', '.join(READERS)}.")
    return reader(path)
