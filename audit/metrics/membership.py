"""How surprising an answer is to a model, by the attacks that infer membership from it.

Every score is loss-like, as OpenUnlearning and MUSE publish it: the lower, the rather was the answer trained on.
Attacks: Yeom et al. 2018 (loss), Carlini et al. 2021 (zlib), Shi et al. 2024 (Min-K), Zhang et al. 2025 (Min-K++).
Log-probabilities are in nats, of the tokens that the caller hands over. OpenUnlearning hands over the end-of-text token
after the answer to loss and zlib (and to its reference attack), and leaves it out of Min-K, Min-K++ and gradient norms.
The headlines of this project leave it out everywhere; a column of its own holds the number that counts it.
"""

from __future__ import annotations

import zlib as codec
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

NARROWEST = 1e-3
"""Smallest standard deviation that Min-K++ divides by: OpenUnlearning holds the variance at 1e-6."""


def loss(logprob: ArrayLike) -> float:
    """Minus the mean log-probability of the answer's tokens [tokens], in nats per token."""
    return -float(_tokens(logprob).mean())


def zlib(logprob: ArrayLike, answer: str) -> float:
    """`loss` over the bytes that zlib makes of the answer: a dull text is likely without having been trained on."""
    return loss(logprob) / len(codec.compress(answer.encode("utf-8")))


def min_k(logprob: ArrayLike, k: float = 0.4) -> float:
    """Minus the mean log-probability of the least likely share `k` of the tokens [tokens], at least one, in nats."""
    return _lowest(_tokens(logprob), k)


def min_k_plus_plus(logprob: ArrayLike, mean: ArrayLike, deviation: ArrayLike, k: float = 0.4) -> float:
    """`min_k` of (logprob - mean) / deviation, both under the model's own distribution at each token [tokens].

    Without unit: how far a token lies below what the model itself would have drawn there.
    """
    spread = np.maximum(np.asarray(deviation, np.float64), NARROWEST)
    return _lowest((_tokens(logprob) - np.asarray(mean, np.float64)) / spread, k)


def check_share(k: float) -> None:
    """Raises ValueError unless `k` is a share above 0 and up to 1."""
    if not 0 < k <= 1:
        raise ValueError(f"k = {k}: expected a share of the tokens above 0 and up to 1, such as 0.4.")


def _lowest(values: NDArray[np.float64], k: float) -> float:
    check_share(k)
    number = max(1, int(len(values) * k))
    return -float(np.sort(values)[:number].mean())


def _tokens(logprob: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(logprob, np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"expected the log-probabilities of at least one token, found shape {values.shape}")
    return values
