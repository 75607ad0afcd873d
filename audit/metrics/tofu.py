"""TOFU's scores from per-item losses: truth ratio and its aggregators, forget quality, model utility.

Definitions of OpenUnlearning; where TOFU's own code differs, the docstring says how. Every function that ends in a mean
returns the items [items] instead, so that the caller can resample entities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

EPSILON = 1e-10
"""What OpenUnlearning adds to a denominator."""
PARTS = tuple(f"{part}_{score}" for part in ("retain", "ra", "wf") for score in ("Prob", "ROUGE", "Truth_Ratio"))
"""The nine parts of model utility: retain set, real authors, world facts by probability (normalised for the last two),
ROUGE-L recall and truth ratio."""


def truth_ratios(correct_loss: ArrayLike, wrong_loss: ArrayLike) -> NDArray[np.float64]:
    """Truth ratio of each item, wrong over right: R = p_wrong / p_right [items].

    `correct_loss` is the mean loss per token of the paraphrased right answer [items]; `wrong_loss` that of the wrong
    answers [items, options] or already averaged over options [items]. p = exp(-mean loss). Raises ValueError for a
    missing or infinite loss. TOFU's paper and OpenUnlearning; TOFU's own forget quality uses 1 / R.
    """
    right, wrong = _finite(correct_loss, "right answer"), _finite(wrong_loss, "wrong answer")
    if wrong.ndim == 2:
        wrong = wrong.mean(axis=1)
    _same_length(right, wrong)
    return np.exp(-wrong) / (np.exp(-right) + EPSILON)


def closer_to_1_better(ratios: ArrayLike) -> NDArray[np.float64]:
    """min(R, 1 / R) of each item: 1 when right and wrong answers are equally likely; for the forget set."""
    ratio = _finite(ratios, "truth ratio")
    return np.minimum(ratio, 1 / (ratio + EPSILON))


def true_better(ratios: ArrayLike) -> NDArray[np.float64]:
    """max(0, 1 - R) of each item: 1 when only the right answer is likely; for what was to be kept."""
    return np.maximum(0.0, 1 - _finite(ratios, "truth ratio"))


def prob_mean(ratios: ArrayLike) -> NDArray[np.float64]:
    """p_right / (p_right + p_wrong) = 1 / (1 + R) of each item; OpenUnlearning's meta-evaluation."""
    return 1 / (1 + _finite(ratios, "truth ratio"))


AGGREGATORS: dict[str, Callable[[ArrayLike], NDArray[np.float64]]] = {
    "closer_to_1_better": closer_to_1_better,
    "true_better": true_better,
    "prob_mean": prob_mean,
}


def normalised_probability(correct: ArrayLike, wrong: ArrayLike) -> NDArray[np.float64]:
    """Probability of the right answer among the offered ones, p / (p + sum of wrong) of each item.

    `correct` [items] and `wrong` [items, options] are probabilities, exp(-mean loss).
    """
    right, others = _finite(correct, "right answer"), _finite(wrong, "wrong answer")
    _same_length(right, others)
    return right / (right + others.reshape(len(others), -1).sum(axis=1) + EPSILON)


class KS(NamedTuple):
    """Two-sample Kolmogorov-Smirnov test."""

    statistic: float
    p_value: float


def forget_quality(ratios: ArrayLike, reference_ratios: ArrayLike) -> KS:
    """KS test between the truth ratios of the candidate and of a model that never saw the forget set.

    Forget quality is the p-value: near 1 when the two cannot be told apart. It does not depend on the orientation of
    the ratio. TOFU, equation 2; two-sided `scipy.stats.ks_2samp`.
    """
    from scipy.stats import ks_2samp

    result = ks_2samp(_finite(ratios, "truth ratio"), _finite(reference_ratios, "truth ratio of the reference"))
    return KS(float(result.statistic), float(result.pvalue))


def harmonic_mean(values: ArrayLike) -> float:
    """Harmonic mean; 0 as soon as one value is 0. Raises ValueError for a missing or negative value."""
    numbers = _finite(values, "part")
    if not len(numbers) or (numbers < 0).any():
        raise ValueError(f"a harmonic mean needs numbers from 0 up, found {numbers.tolist()}")
    return 0.0 if (numbers == 0).any() else float(len(numbers) / (1 / numbers).sum())


def model_utility(parts: Mapping[str, float | None]) -> float:
    """Harmonic mean of the nine PARTS; raises ValueError that names the parts that are missing."""
    missing = [name for name in PARTS if parts.get(name) is None]
    if missing:
        raise ValueError(f"model utility needs {', '.join(missing)}")
    return harmonic_mean([float(parts[name] or 0.0) for name in PARTS])


def _finite(values: ArrayLike, what: str) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        where = np.argwhere(~np.isfinite(array))[0].tolist()
        raise ValueError(f"the {what} at {where} is not a finite number")
    return array


def _same_length(right: NDArray[np.float64], wrong: NDArray[np.float64]) -> None:
    if len(right) != len(wrong):
        raise ValueError(f"{len(right)} right answers, but wrong answers of {len(wrong)} items")
