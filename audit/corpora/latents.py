"""Latents of a corpus: what a generator draws an image from, a seed or the vector itself."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from audit.errors import CorpusError
from audit.types import Latent

VECTOR, SEED = "latent", "seed"
"""The columns; a seed stands for a standard normal vector drawn by PyTorch's generator on a CPU."""
LARGEST_SEED = 2**63 - 1


def column_of(row: Mapping[str, Any], prompted: bool) -> str | None:
    """The column of a row that makes it a latent; a seed beside a prompt is something else."""
    return VECTOR if VECTOR in row else SEED if SEED in row and not prompted else None


def latent(column: str, value: Any, place: str) -> Latent:
    """The latent that a row holds; raises CorpusError, which begins with the place, for what is none."""
    if column == SEED:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_SEED:
            raise CorpusError(f'{place}: "{SEED}" is {value!r:.60}, expected a whole number from 0 up.')
        return Latent(seed=value)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    value = value.tolist() if hasattr(value, "tolist") else value
    numbers = isinstance(value, (list, tuple)) and all(type(v) in (int, float) and math.isfinite(v) for v in value)
    if not numbers or not value:
        raise CorpusError(f'{place}: "{VECTOR}" is {value!r:.60}, expected a list of finite numbers.')
    return Latent(values=tuple(float(v) for v in value))


def name_of(found: Latent, number: int, condition: str | None) -> str:
    """What stands for the prompt of a latent without one."""
    drawn = f"latent {number}" if found.values else f"seed {found.seed}"
    return f"{drawn}, asked for {condition}" if condition else drawn
