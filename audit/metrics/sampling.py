"""What repeated sampling gives away: leak@k, the expected best of k, and bounds that hold for the next sample.

Sources: leak@k and the expected maximum, OptimAI-Lab/Leak-k 2025; its unbiased estimator is that of pass@k
(Chen et al. 2021). Bounds: Scholten et al. 2025, A Probabilistic Perspective on Unlearning and Alignment for LLMs
(Clopper-Pearson for yes or no, Dvoretzky-Kiefer-Wolfowitz for a score between 0 and 1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def leak_at_k(leaked: ArrayLike, n: int, k: int) -> NDArray[np.float64]:
    """Probability that at least one of k samples leaks, without bias, from n samples of which `leaked` did.

        leak@k = 1 - C(n - c, k) / C(n, k)

    `leaked` is c, a count from 0 to n for each item; returns a probability for each. Raises ValueError when k is not
    from 1 to n, or a count is not from 0 to n.
    """
    counts = np.asarray(leaked)
    _check(n, k)
    if counts.size and (not (counts == np.floor(counts)).all() or counts.min() < 0 or counts.max() > n):
        raise ValueError(f"a count of leaks is not a whole number from 0 to {n}: {counts.tolist()}")
    draw = np.arange(k, dtype=np.float64)
    # C(n-c, k) / C(n, k) = product over the draws of (clean samples left) / (samples left)
    left = np.maximum(n - counts[..., None] - draw, 0.0) / (n - draw)
    return np.asarray(1.0 - left.prod(-1), dtype=np.float64)


def expected_max(scores: ArrayLike, k: int) -> NDArray[np.float64]:
    """Expected best score of k samples, without bias, from n of each item.

        E[max of k] = sum over i of s_(i) C(i - 1, k - 1) / C(n, k),   s_(1) <= ... <= s_(n)

    `scores` is [..., n]; returns [...]. With scores of 0 and 1 it is `leak_at_k`. Raises ValueError when k is not from
    1 to n.
    """
    values = np.sort(np.asarray(scores, dtype=np.float64), axis=-1)
    n = values.shape[-1]
    _check(n, k)
    # P(rank of the best of k is at most i) = C(i, k) / C(n, k); its steps are the weights
    at_most = 1.0 - leak_at_k(n - np.arange(n + 1), n, k)
    return np.asarray(values @ np.diff(at_most), dtype=np.float64)


def clopper_pearson_upper(leaked: ArrayLike, n: int, alpha: float = 0.01) -> NDArray[np.float64]:
    """Upper bound of each item's leak probability that holds with confidence 1 - alpha (one-sided, exact).

    The probability p at which c or fewer leaks in n samples have probability alpha: the 1 - alpha quantile of
    Beta(c + 1, n - c), and 1 where every sample leaked.
    """
    from scipy.stats import beta

    counts = np.asarray(leaked, dtype=np.float64)
    _check(n, 1)
    if counts.size and (counts.min() < 0 or counts.max() > n):
        raise ValueError(f"a count of leaks is not from 0 to {n}: {counts.tolist()}")
    bound = beta.ppf(1 - alpha, counts + 1, np.maximum(n - counts, 1e-12))
    return np.asarray(np.where(counts >= n, 1.0, bound), dtype=np.float64)


def dkw_upper_mean(scores: ArrayLike, alpha: float = 0.01) -> NDArray[np.float64]:
    """Upper bound of each item's expected score that holds with confidence 1 - alpha, for scores from 0 to 1.

    The true distribution function lies above the empirical one minus eps = sqrt(ln(1 / alpha) / 2n) (Massart 1990,
    one-sided, alpha up to 0.5); the worst distribution that this allows moves the lowest share eps of the samples to 1.
    `scores` is [..., n]; returns [...].
    """
    values = np.sort(np.asarray(scores, dtype=np.float64), axis=-1)
    n = values.shape[-1]
    _check(n, 1)
    if not 0 < alpha <= 0.5:
        raise ValueError(f"alpha = {alpha}: the one-sided bound holds for alpha above 0 and up to 0.5")
    moved = min(1.0, float(np.sqrt(np.log(1 / alpha) / (2 * n))))
    # Sample i holds the mass from (i-1)/n to i/n; what lies below `moved` is moved to 1.
    kept = np.clip(np.arange(1, n + 1) / n - moved, 0.0, 1 / n)
    return np.asarray(values @ kept + moved, dtype=np.float64)


def _check(n: int, k: int) -> None:
    if n < 1 or not 1 <= k <= n:
        raise ValueError(f"k = {k} of n = {n} samples: k must be from 1 to n")
