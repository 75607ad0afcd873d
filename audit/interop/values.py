"""Per-item values of another tool's file, by index: what holds no number is a gap that is counted and named."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from audit.errors import ResultsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAMED = 5
"""How many gaps a sentence names."""


def number(value: Any) -> float | None:
    """A finite number, or None: null, NaN, Infinity, text and truth values are not numbers."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        value = float(value)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def whole(value: Any) -> int | None:
    """A count or a step, or None: what is larger than a table can hold is neither."""
    found = number(value)
    return int(found) if found is not None and abs(found) < 2**53 else None


def text(value: Any) -> str | None:
    """A text as a file stores it; None where it stores none: null, NaN, a list or an object was not said by anyone."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or number(value) is not None:
        return str(value)
    return None


def what_is(value: Any) -> str:
    """What stands where a number was expected, in a word or two."""
    if value is None:
        return "null"
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else "Infinity"
    return f"{str(value)[:30]!r}"


@dataclass(frozen=True)
class Values:
    """The items that hold numbers, sorted by index; an item may hold several (one for each wrong answer)."""

    keys: tuple[str, ...]
    lists: tuple[tuple[float, ...], ...]
    gaps: str = ""
    """What is missing, in one sentence; empty when nothing is."""

    @property
    def means(self) -> NDArray[np.float64]:
        """Mean of each item's numbers [items]."""
        return np.array([sum(values) / len(values) for values in self.lists], dtype=np.float64)

    @property
    def sums(self) -> NDArray[np.float64]:
        """Sum of each item's numbers [items]."""
        return np.array([sum(values) for values in self.lists], dtype=np.float64)

    def at(self, keys: Sequence[str]) -> Values:
        """The items with these keys, in this order."""
        by_key = dict(zip(self.keys, self.lists, strict=True))
        return Values(tuple(keys), tuple(by_key[key] for key in keys), self.gaps)


def by_index(block: Any, field: str | None, where: str) -> Values:
    """The numbers of a block `{index: {field: number or list}}`, or `{index: number or list}` without a field.

    Indices are sorted as numbers. Raises ResultsError when the block is no such thing at all.
    """
    if isinstance(block, list):
        block = {str(index): entry for index, entry in enumerate(block)}
    if not isinstance(block, Mapping) or not block:
        raise ResultsError(f"{where} holds no items; expected values by index.")
    keys = sorted(block, key=lambda key: (not key.isdigit(), int(key) if key.isdigit() else 0, key))
    kept: list[tuple[str, tuple[float, ...]]] = []
    gaps: list[str] = []
    for key in keys:
        entry = block[key]
        if field is not None:
            if not isinstance(entry, Mapping) or field not in entry:
                gaps.append(f'{key}: no "{field}"')
                continue
            entry = entry[field]
        numbers = [number(part) for part in (entry if isinstance(entry, list) else [entry])]
        if numbers and None not in numbers:
            kept.append((key, tuple(part for part in numbers if part is not None)))
        else:
            parts: list[Any] = entry if isinstance(entry, list) else [entry]
            bad: Any = next((part for part, value in zip(parts, numbers, strict=True) if value is None), [])
            gaps.append(f"{key}: {what_is(bad)}")
    found = tuple(key for key, _ in kept), tuple(numbers for _, numbers in kept)
    return Values(*found, _sentence(gaps, keys))


def together(*parts: Values) -> tuple[tuple[Values, ...], str]:
    """The items that all parts hold, in one order, and one sentence on what is missing in any of them."""
    shared = [key for key in parts[0].keys if all(key in set(part.keys) for part in parts[1:])]
    alone = sorted({key for part in parts for key in part.keys} - set(shared), key=lambda key: (len(key), key))
    gaps = list(dict.fromkeys(part.gaps for part in parts if part.gaps))
    if alone:
        gaps.append(f"{len(alone)} items are not in every part ({_few(alone)}).")
    return tuple(part.at(shared) for part in parts), " ".join(gaps)


def _sentence(gaps: Sequence[str], keys: Sequence[str]) -> str:
    parts = []
    if gaps:
        parts.append(f"{len(gaps)} of {len(keys)} items hold no number ({_few(gaps)}).")
    digits = {int(key) for key in keys if key.isdigit()}
    if digits and len(digits) == len(keys):
        missing = max(digits) + 1 - len(digits)  # counted, not listed: an index may be as large as it likes
        if missing:
            first = list(islice((str(index) for index in count() if index not in digits), min(missing, NAMED)))
            more = f" and {missing - NAMED} more" if missing > NAMED else ""
            parts.append(f"{missing} of {max(digits) + 1} indices are missing ({', '.join(first)}{more}).")
    return " ".join(parts)


def _few(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
