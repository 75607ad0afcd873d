"""Which results are about one model: those of one name whose folders contain one another, and no others."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from audit.interop.names import home, short
from audit.interop.result import Result


def named(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Results by the name of their candidate.

    The same model of two tools is one candidate where one folder contains the other and no id is twice; two folders
    beside each other that hold a model of the same name are two candidates, told apart by the folders' names.
    """
    places = _places(results)
    found: dict[str, list[Result]] = {}
    taken: dict[str, str] = {}
    names: dict[tuple[str, Path], str] = {}
    same: dict[str, set[Path]] = {}
    for result, place in zip(results, places, strict=True):
        same.setdefault(result.model, set()).add(place)
    for result, place in zip(results, places, strict=True):
        name = names.get((result.model, place), "")
        ids = {metric.id for metric in result.metrics}
        if not name or ids & {metric.id for other in found[name] for metric in other.metrics}:
            name = short(result.model, taken, _within(place, same[result.model], result.model))
            taken[name.casefold()] = name
            names.setdefault((result.model, place), name)
        found.setdefault(name, []).append(result)
    return found


def _places(results: Sequence[Result]) -> list[Path]:
    """The folder that stands for each result's candidate.

    A folder that contains exactly one other with a model of that name belongs to that one; a table above two of them
    does not say which it is about, and stays by itself.
    """
    homes = [_home(result) for result in results]
    by_model: dict[str, set[Path]] = {}
    for result, place in zip(results, homes, strict=True):
        by_model.setdefault(result.model, set()).add(place)
    places = []
    for result, place in zip(results, homes, strict=True):
        inside = [leaf for leaf in _leaves(by_model[result.model]) if leaf.is_relative_to(place)]
        places.append(inside[0] if len(inside) == 1 else place)
    return places


def _home(result: Result) -> Path:
    """The model's folder: of a table above it and the logs below, that of the logs."""
    own = {home(path.absolute().parent) for path in result.files}
    return home(Path(os.path.commonpath(_leaves(own))))


def _leaves(paths: Iterable[Path]) -> list[Path]:
    """The folders that contain none of the others."""
    paths = set(paths)
    return sorted(path for path in paths if not any(other != path and other.is_relative_to(path) for other in paths))


def _within(place: Path, places: set[Path], model: str) -> str:
    """What tells a folder from the others with a model of the same name; empty where there are none."""
    if len(places) == 1:
        return ""
    common = Path(os.path.commonpath(places))
    parts = {path: path.relative_to(common).parts for path in places}
    last = model.split(" ")[0].rsplit("/", 1)[-1]
    parts = {path: found[:-1] if found and found[-1] == last else found for path, found in parts.items()}
    first = {path: found[:1] for path, found in parts.items()}
    return "-".join((first if len(set(first.values())) == len(first) else parts)[place])
