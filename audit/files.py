"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from audit.errors import StoreError


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in place with one rename.

    Raises StoreError, in words, when the disk is full or the folder cannot be written.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise storage_error(error, path) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_atomically(path, lambda temporary: _write(temporary, text))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically; a NaN or an infinity is a ValueError, because no reader agrees on what it means."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))


def storage_error(error: OSError, path: Path) -> StoreError:
    """The sentence for an error of the file system."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            f"The disk is full: {path} could not be written. Free some space and run again; "
            "everything that was finished is kept."
        )
    return StoreError(f"{path} could not be written or read: {error.strerror or error}.")


def digest_of_file(path: str) -> str:
    """Hash of what is in a file; raises StoreError when it cannot be read."""
    try:
        return hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise storage_error(error, Path(path)) from error


def digest_of_folder(path: str) -> str:
    """Hash of the files of a folder, by name and content; empty for an empty path."""
    if not path:
        return ""
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(Path(path).iterdir()):
        if file.is_file():
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
