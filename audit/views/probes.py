"""What the probes page offers to choose from."""

from __future__ import annotations

from collections.abc import Sequence

NULLS = {"chance": "guessing", "shuffled": "shuffled labels"}
ALL = "all"


def first_attribute(attributes: Sequence[str]) -> str:
    """All attributes together where there is such a row, else the first."""
    return ALL if ALL in attributes else attributes[0]
