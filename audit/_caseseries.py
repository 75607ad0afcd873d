"""Candidates that are checkpoints of one run, or of a sequence of requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from audit.errors import CaseError

if TYPE_CHECKING:
    from audit._caseschema import CandidateEntry


def check_series(entries: Sequence[CandidateEntry]) -> None:
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
