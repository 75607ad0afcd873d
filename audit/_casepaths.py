"""Paths in a case file: relative to the file, and below a root where they come from a browser."""

from __future__ import annotations

from pathlib import Path

from audit.errors import CaseError
from audit.subjects.files import HUB, is_hub_id


def below(root: Path | None, base: Path, path: str, what: str) -> Path:
    """A path that starts from `base`, with symbolic links followed, and so all that a folder holds.

    Raises CaseError when something of it does not lie below `root`, or when no path can be like that.
    """
    try:
        resolved = (base / Path(path).expanduser()).resolve()
        held = [part.resolve() for part in resolved.rglob("*")] if root is not None and resolved.is_dir() else []
        resolved.exists()  # a name that is too long shows only when it is looked up
    except (OSError, RuntimeError, ValueError) as error:
        raise CaseError(f"{what} is {path[:200]!r}, which is not a usable path ({error}).") from error
    for part in [resolved, *held]:
        if root is not None and not part.is_relative_to(root.resolve()):
            leads = f", where {path} leads," if part != resolved else ""
            raise CaseError(
                f"{what} is {part}{leads} outside of {root}; only what lies below that folder may be opened."
            )
    return resolved


def place(path: str, what: str, base: Path, root: Path | None) -> str:
    """An absolute path of a folder that is there, or "hub:owner/name"; raises CaseError for anything else."""
    if path.startswith(HUB) and is_hub_id(path):
        return path
    folder = below(root, base, path, what)
    if folder.is_dir():
        return str(folder)
    if folder.exists():
        raise CaseError(f"{what} is {folder}, a file; expected a folder with config.json and safetensors files.")
    # "models/npo" could be a hub id too; where its first part is a folder here, it is a folder that was misspelt.
    if is_hub_id(path) and not folder.parent.is_dir():
        return HUB + path
    raise CaseError(f"{what} is not there: looked for {folder}. Give a folder, or a hub id as hub:owner/name.")


def place_part(path: str, what: str, base: Path, root: Path | None, of: str) -> str:
    """An absolute path of a model, a folder or a file that a system is made of; raises CaseError as `place` does."""
    if of == "model":
        return place(path, what, base, root)
    found = below(root, base, path, what)
    if not (found.is_dir() if of == "folder" else found.is_file()):
        raise CaseError(f"{what} is no {of} that is there: looked for {found}.")
    return str(found)
