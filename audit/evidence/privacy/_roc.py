"""Area under the ROC curve and the curve itself, with entities of members and of non-members resampled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from audit.metrics.auc import auc, auc_draws, tpr_at_fpr
from audit.stats import ALPHA, DRAWS, Sample, Scores, entity_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 2**21
"""Numbers in one block of resampled items (16 MiB)."""
ROUNDING = 1e-9


def area(members: Scores, others: Scores, seed: int, draws: int = DRAWS) -> Sample:
    """AUC: how often a member scores above a non-member, ties half; n is the smaller number of entities."""
    high, low = members.values[0], others.values[0]
    drawn = [auc_draws(high, low, *weights) for weights in _resampled(members, others, seed, draws)]
    n = min(len(set(members.entities)), len(set(others.entities)))
    return Sample(auc(high, low), np.concatenate(drawn), n, members)


def curve(
    members: Scores, others: Scores, rates: NDArray[np.float64], seed: int, draws: int = DRAWS
) -> NDArray[np.float64]:
    """Share of members found at most at each false positive rate, with its 95 % interval [3: value, low, high; rates].

    A threshold lies between different scores: items of equal score are called members together or not at all.
    """
    high, low = members.values[0], others.values[0]
    value = np.array([tpr_at_fpr(-high, -low, rate) for rate in rates.tolist()])
    scores = np.concatenate([high, low])
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    found = [_found(*weights, order, last, rates) for weights in _resampled(members, others, seed, draws)]
    ends = np.quantile(np.concatenate(found), [ALPHA / 2, 1 - ALPHA / 2], axis=0)
    return np.stack([value, np.minimum(ends[0], value), np.maximum(ends[1], value)])


def _resampled(
    members: Scores, others: Scores, seed: int, draws: int
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Weights of members and of non-members [draws, items] each, in blocks; the same for every subject."""
    drawn, of_member = entity_weights(members.entities, draws, seed)
    drawn_others, of_other = entity_weights(others.entities, draws, seed)
    step = max(1, BLOCK // (len(of_member) + len(of_other)))
    for i in range(0, draws, step):
        yield drawn[i : i + step, of_member], drawn_others[i : i + step, of_other]


def _found(
    members: NDArray[np.float64],
    others: NDArray[np.float64],
    order: NDArray[np.intp],
    last: NDArray[np.intp],
    rates: NDArray[np.float64],
) -> NDArray[np.float64]:
    """True positive rates of each draw [draws, rates]; `order` sorts from the highest score, `last` ends its ties."""
    hits = np.concatenate([members, np.zeros(others.shape)], axis=1)[:, order].cumsum(1)[:, last]
    alarms = np.concatenate([np.zeros(members.shape), others], axis=1)[:, order].cumsum(1)[:, last]
    result = np.empty((len(members), len(rates)))
    for i, (hit, alarm) in enumerate(zip(hits, alarms, strict=True)):
        best = np.searchsorted(alarm, rates * alarm[-1] + ROUNDING, "right")
        result[i] = np.append(0.0, hit)[best] / hit[-1]
    return result
