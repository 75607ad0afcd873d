"""Ranking scores: area under the ROC curve in both published orientations, rates at low false alarms, PrivLeak.

Everywhere `forget` are the scores of texts that the original was trained on and `holdout` those of texts no model saw.
A score is a *loss-like* number, lower for a text that the model knows, as in OpenUnlearning and MUSE.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Orientation = Literal["open_unlearning", "muse"]
EPSILON = 1e-10
"""What OpenUnlearning adds to the denominator of PrivLeak."""


class MembershipAUC(NamedTuple):
    """The same area in both orientations; their sum is 1."""

    open_unlearning: float
    """Share of pairs in which the forget text has the lower score: 1 when forget is always the likelier one."""
    muse: float
    """Share of pairs in which the forget text has the higher score: 0 when forget is always the likelier one."""


def auc(higher: ArrayLike, lower: ArrayLike) -> float:
    """Probability that a draw from `higher` exceeds one from `lower`, ties counted half (Mann-Whitney)."""
    above, below = _scores(higher), _scores(lower)
    below = np.sort(below)
    wins = np.searchsorted(below, above, "left") + np.searchsorted(below, above, "right")
    return float(wins.mean() / (2 * len(below)))


def auc_draws(
    higher: ArrayLike, lower: ArrayLike, higher_weights: ArrayLike, lower_weights: ArrayLike
) -> NDArray[np.float64]:
    """`auc` with a weight for each score [draws, items]: the bootstrap distribution [draws].

    A draw in which one side weighs nothing gives NaN; it cannot happen when each side is resampled by itself.
    """
    above, below = _scores(higher), _scores(lower)
    above_weight, below_weight = np.atleast_2d(higher_weights), np.atleast_2d(lower_weights)
    order = np.argsort(below, kind="stable")
    total = np.concatenate([np.zeros((len(below_weight), 1)), np.cumsum(below_weight[:, order], axis=1)], axis=1)
    left, right = (np.searchsorted(below[order], above, side) for side in ("left", "right"))
    wins = ((total[:, left] + total[:, right]) * above_weight).sum(axis=1) / 2
    pairs = above_weight.sum(axis=1) * total[:, -1]
    return np.divide(wins, pairs, out=np.full(len(wins), np.nan), where=pairs > 0)


def membership_auc(forget: ArrayLike, holdout: ArrayLike) -> MembershipAUC:
    """Area for telling forget from holdout by a loss-like score, in both orientations.

    OpenUnlearning labels holdout 1 and ranks by the score; MUSE labels holdout 1 and ranks by minus the score.
    """
    value = auc(holdout, forget)
    return MembershipAUC(value, 1 - value)


def roc(forget: ArrayLike, holdout: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False and true positive rate of calling a text a member when its score is at or below a threshold.

    One point for each distinct score, from (0, 0) to (1, 1); equal scores make one slanted step.
    """
    members, others = _scores(forget), _scores(holdout)
    thresholds = np.unique(np.concatenate([members, others]))
    true, false = (np.searchsorted(np.sort(s), thresholds, "right") / len(s) for s in (members, others))
    return np.concatenate([[0.0], false]), np.concatenate([[0.0], true])


def tpr_at_fpr(forget: ArrayLike, holdout: ArrayLike, fpr: float) -> float:
    """Highest true positive rate among thresholds with a false positive rate of at most `fpr`.

    With fewer than 1 / fpr holdout texts this is the rate at no false alarm at all (Carlini et al. 2022).
    """
    false, true = roc(forget, holdout)
    return float(true[false <= fpr + 1e-12].max())


def privleak(area: float, reference_area: float = 0.5, orientation: Orientation = "open_unlearning") -> float:
    """PrivLeak in percent: how far the area is from that of a model that never saw the forget set; 0 is best.

    Both areas in the orientation that is named. Written with the MUSE area A, it is 100 (A - A_ref) / A_ref, and
    OpenUnlearning converts its own by A = 1 - area: the number is the same. Without a reference OpenUnlearning takes
    0.5. Negative: forget is still likelier than for the reference (under-unlearned); positive: over-unlearned. MUSE.
    """
    if orientation == "open_unlearning":
        area, reference_area = 1 - area, 1 - reference_area
    return 100 * (area - reference_area) / (reference_area + EPSILON)


def _scores(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64).ravel()
    if not len(array):
        raise ValueError("an area under the curve needs at least one score on each side")
    if not np.isfinite(array).all():
        raise ValueError(f"the score at {int(np.flatnonzero(~np.isfinite(array))[0])} is not a finite number")
    return array
