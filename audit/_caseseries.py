"""Candidates that are checkpoints of one run, or of a sequence of requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from audit.errors import CaseError


class Place(Protocol):
    """A candidate's name and its place in a series, as a case file or a form has them."""

    @property
    def name(self) -> str: ...
    @property
    def series(self) -> str | None: ...
    @property
    def step(self) -> int | None: ...


class Checkpoint(NamedTuple):
    """A candidate's place as somebody typed it; either may be missing."""

    name: str
    series: str | None
    step: int | None


def check_series(entries: Sequence[Place]) -> None:
    """Raise CaseError for a checkpoint without its step, a step without a series, or two at the same step."""
    seen: dict[tuple[str, int], str] = {}
    for entry in entries:
        if (entry.series is None) != (entry.step is None):
            raise CaseError(
                f'The candidate "{entry.name}" has only one of series and step: a checkpoint of a series has both, '
                'for example series = "npo" and step = 20.'
            )
        if entry.series is None or entry.step is None:
            continue
        other = seen.setdefault((entry.series, entry.step), entry.name)
        if other != entry.name:
            raise CaseError(
                f'The candidates "{other}" and "{entry.name}" are both step {entry.step} of the series '
                f'"{entry.series}"; give each its own step.'
            )
