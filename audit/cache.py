"""Expensive views on disk, found by what they were computed from.

Each entry is a folder whose name is the hash of everything that its content depends on. It is filled under a lock in a
`.partial` folder and renamed when it is complete, so that two runs never write the same entry and a killed one leaves
nothing that looks finished.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from audit.errors import StoreError
from audit.files import storage_error


def default_root() -> Path:
    """Where views are kept: $PALIMPSEST_CACHE, else the user's cache folder."""
    given = os.environ.get("PALIMPSEST_CACHE")
    if given:
        return Path(given)
    from platformdirs import user_cache_path

    return user_cache_path("palimpsest")


class Cache:
    """A folder of finished views."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default_root()

    def folder(self, key: str, fill: Callable[[Path], None]) -> Path:
        """The finished folder of a key; `fill` is called on a partial one when there is none yet.

        A partial folder of a killed run is handed to `fill` as it was left. Another process that fills the same key
        is waited for. Raises StoreError when the disk is full.
        """
        path = self.root / key[:2] / key
        if path.is_dir():
            return path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with locked(path.with_suffix(".lock")):
                if not path.is_dir():
                    partial = path.with_suffix(".partial")
                    partial.mkdir(exist_ok=True)
                    fill(partial)
                    os.replace(partial, path)
        except OSError as error:
            raise storage_error(error, path) from error
        path.with_suffix(".lock").unlink(missing_ok=True)
        return path

    def arrays(self, key: str, compute: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """The arrays of a key, computed once; never pickled, so an object array is refused."""

        def fill(partial: Path) -> None:
            values = compute()
            for name, value in values.items():
                if np.asarray(value).dtype.hasobject:
                    raise TypeError(f"{name} holds Python objects; a cached array must hold numbers or text")
            np.savez(partial / "arrays.npz", **{name: np.asarray(value) for name, value in values.items()})  # type: ignore[arg-type]

        path = self.folder(key, fill)
        try:
            with np.load(path / "arrays.npz", allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except (OSError, ValueError) as error:
            raise StoreError(f"The cached view {path} cannot be read ({error}); delete it and run again.") from error


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold an exclusive lock on a file; the system frees it when the process ends, however it ends.

    Raises BlockingIOError when `wait` is False and another process holds it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)
