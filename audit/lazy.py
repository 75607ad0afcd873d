"""Findings whose tables are read when they are first asked for: a verdict needs none, a page only those it draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pandas as pd

from audit.types import Finding

TABLES = {"table": ".parquet", "items": ".items.parquet"}
NOTHING = pd.DataFrame()
"""One for all: making two for each of a thousand findings takes longer than reading them."""


class LazyFinding(Finding):
    """A finding that reads `table` and `items` on first use and keeps them; StoreError then, when one is damaged."""

    def __getattr__(self, name: str) -> Any:
        """Called only for what is not there yet."""
        if name not in TABLES:
            raise AttributeError(name)
        table = self._read(TABLES[name])
        object.__setattr__(self, name, table)
        return table


def lazily(build: Callable[[pd.DataFrame, pd.DataFrame], Finding], read: Callable[[str], pd.DataFrame]) -> Finding:
    """The finding that `build` makes of two tables, which `read` reads by the end of their file's name when needed."""
    whole = build(NOTHING, NOTHING)
    found = object.__new__(LazyFinding)
    for field in fields(Finding):
        if field.name not in TABLES:
            object.__setattr__(found, field.name, getattr(whole, field.name))
    object.__setattr__(found, "_read", read)
    return found
