"""How much of an answer a model completes by itself, from one flag per token: was the likeliest token the right one?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def exact_memorization(hits: ArrayLike) -> float:
    """Share of the answer's tokens that are the likeliest one under teacher forcing; NaN for an empty answer.

    `hits` [tokens] is true where the likeliest token is the right one.
    """
    flags = np.asarray(hits, dtype=bool)
    return float(flags.mean()) if len(flags) else float("nan")


def extraction_strength(hits: ArrayLike, as_open_unlearning: bool = False) -> float:
    """1 - k / T, k the length of the shortest prefix after which every token follows; NaN for an empty answer.

    0 when even the last token is wrong. OpenUnlearning's loop ends at k = T - 1 in that case and reports 1 / T, so
    that its score never is 0: `as_open_unlearning` reproduces this. Carlini et al. 2021 as in OpenUnlearning.
    """
    flags = np.asarray(hits, dtype=bool)
    if not len(flags):
        return float("nan")
    wrong = np.flatnonzero(~flags)
    prefix = int(wrong[-1]) + 1 if len(wrong) else 0
    if as_open_unlearning:
        prefix = min(prefix, len(flags) - 1)
    return 1 - prefix / len(flags)
