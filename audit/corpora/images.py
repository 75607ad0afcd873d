"""Images of a corpus: a folder of classes, or a column of paths or bytes; hashed here, decoded when wanted."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.corpora.files import READERS, Row
from audit.errors import CorpusError
from audit.types import Picture

if TYPE_CHECKING:
    from PIL.Image import Image

COLUMNS = ("image", "img", "image_path", "file_name", "image_bytes")
"""What the column with the image is called."""
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
"""A table of file names and labels beside the images, as the `datasets` library reads it."""


def is_image_folder(folder: Path) -> bool:
    """Whether a folder holds class sub-folders with images, or images with a table of labels."""
    if any((folder / name).is_file() for name in METADATA):
        return next(_images(folder, deep=True), None) is not None
    return any(next(_images(part, deep=True), None) is not None for part in _classes(folder))


def folder_rows(folder: Path) -> Iterator[Row]:
    """One row an image, by class and name: the class is the sub-folder's name, or the table beside says."""
    table = next((folder / name for name in METADATA if (folder / name).is_file()), None)
    if table is not None:
        yield from READERS[table.suffix](table)
        return
    loose = next(_images(folder, deep=False), None)
    if loose is not None:
        raise CorpusError(
            f"{loose} lies beside the class folders; put each image into the folder of its class, or write a "
            f"{METADATA[0]} with file_name and label."
        )
    for part in _classes(folder):
        for path in _images(part, deep=True):
            name = path.relative_to(folder).as_posix()
            yield str(path), {"image": name, "label": part.name}


def picture(value: Any, place: str, folder: Path | None) -> Picture:
    """The image that a row holds: a path from `folder`, bytes, or both as the `datasets` library stores them.

    Raises CorpusError that begins with the place for an image that is missing, cut off or no image.
    """
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, (bytes, bytearray, memoryview)):
        found = Picture(_digest(bytes(value)), place, data=bytes(value))
        _checked(io.BytesIO(found.data), place)
        return found
    if hasattr(value, "save"):  # decoded already by the `datasets` library
        stream = io.BytesIO()
        value.save(stream, "PNG")
        return Picture(_digest(stream.getvalue()), place, data=stream.getvalue())
    if not isinstance(value, str) or not value.strip():
        raise CorpusError(f"{place}: the image is neither a path nor bytes; expected one of them.")
    return _from_file((folder or Path()) / Path(value).expanduser(), value, place)


def open_image(found: Picture) -> Image:
    """The decoded image; raises CorpusError that names its place when the bytes are gone, cut off or others."""
    from PIL import Image

    try:
        data = found.data or Path(found.path).read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            decoded = image.copy()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise CorpusError(_unreadable(found.place, error)) from error
    if not found.data and _digest(data) != found.digest:  # what is remembered is filed under the old image's hash
        raise CorpusError(f"{found.place}: the image has changed since the corpus was read; start again.")
    return decoded


def name_of(value: Any, number: int) -> str:
    """What stands for the prompt of an image without one: its file's name in the corpus, or its number."""
    if isinstance(value, Mapping):
        value = value.get("path")
    return value if isinstance(value, str) and value.strip() else f"image {number}"


def _from_file(path: Path, said: str, place: str) -> Picture:
    try:
        if not path.is_file():
            raise CorpusError(f"{place}: there is no image {said[:200]}; looked for {path}.")
        path = path.resolve()
        status = path.stat()
        return Picture(_file(str(path), status.st_size, status.st_mtime_ns, place), place, path=str(path))
    except OSError as error:
        raise CorpusError(f"{place}: the image {said[:200]} cannot be read ({error.strerror or error}).") from error


@lru_cache(maxsize=200_000)
def _file(path: str, _size: int, _changed: int, place: str) -> str:
    """Hash of an image file that was found whole; remembered in this process until the file changes."""
    data = Path(path).read_bytes()
    _checked(io.BytesIO(data), place)
    return _digest(data)


def _checked(stream: io.BytesIO, place: str) -> None:
    """Raise CorpusError for what is no image or is cut off, at the price of its header and checksums."""
    from PIL import Image

    try:
        with Image.open(stream) as image:
            kind = image.format
            image.verify()
        if kind == "JPEG" and b"\xff\xd9" not in stream.getvalue()[-64:]:
            raise OSError("its end is missing")
        if kind == "PNG" and b"IEND" not in stream.getvalue()[-64:]:
            raise OSError("its end is missing")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise CorpusError(_unreadable(place, error)) from error


def _unreadable(place: str, error: BaseException) -> str:
    said = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    if "cannot identify" in said:
        said = "no image format that is known here"
    return f"{place}: the image cannot be decoded ({said[:160]}); it is cut off or no image: copy it again."


def _classes(folder: Path) -> list[Path]:
    return sorted(part for part in folder.iterdir() if part.is_dir() and not part.name.startswith("."))


def _images(folder: Path, deep: bool) -> Iterator[Path]:
    found = folder.rglob("*") if deep else folder.iterdir()
    return iter(sorted(path for path in found if path.suffix.lower() in SUFFIXES and path.is_file()))


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
