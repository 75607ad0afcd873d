"""The table of candidates as somebody typed it: cells as texts, and which rows are checkpoints of a series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from audit._caseseries import Checkpoint


def row_of(typed: Mapping[Any, Any]) -> dict[str, str]:
    """A row of the table of candidates as texts; empty where nothing was typed."""
    return {str(key): "" if _missing(value) else str(value).strip() for key, value in typed.items()}


def checkpoints_of(table: Sequence[Mapping[str, str]]) -> tuple[Checkpoint, ...]:
    """The rows that have a series or a step."""
    return tuple(
        Checkpoint(row["name"], row["series"] or None, int(float(row["step"])) if row["step"] else None)
        for row in table
        if row["series"] or row["step"]
    )


def _missing(value: Any) -> bool:
    """Whether a cell of a table is empty: None, NaN or NA (neither equals itself, and NA is no truth value)."""
    return value is None or (value != value) is not False
