"""One direction per label: the difference of means, plain or whitened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from audit.evidence.probes._labelled import Fit, Reader, right
from audit.probing import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

PLAIN, WHITENED = KINDS = ("difference of means", "whitened difference")


def reading(kind: str) -> Fit:
    """A reader that calls the label along whose direction a row lies furthest; a row that lies nowhere is not read."""

    def fit(train: Sequence[NDArray[np.float32]], task: Task, attribute: str) -> Reader:
        classes = len(task.classes)
        centre, w = train[0].mean(0, dtype=np.float64), axes(train[0], task.labels, classes, kind)
        seen = np.stack([np.bincount(line, minlength=classes) > 0 for line in task.labels])[:, None]

        def reader(features: NDArray[np.float32], truth: NDArray[np.intp]) -> NDArray[np.float64]:
            along = (features - centre) @ np.swapaxes(w, 1, 2)
            best = np.where(seen, along, -np.inf)
            still = best.max(-1) <= np.where(seen, along, np.inf).min(-1)
            return np.where(still, 0.0, right(best.argmax(-1), truth))

        return reader

    return fit


def axes(x: NDArray[np.float32], labels: NDArray[np.intp], classes: int, kind: str) -> NDArray[np.float64]:
    """The direction of each label in units in which rows are compared along it [runs, classes, width].

    Plain: d / |d|. Whitened: S^-1 d / sqrt(d . S^-1 d), so that (x - mean) . w is the length of the whitened x along
    the whitened d; S is the covariance of the rows, shrunk towards a multiple of the identity. Zero where d is zero.
    """
    d = differences(x, labels, classes)
    if kind == PLAIN:
        return _divide(d, np.linalg.norm(d, axis=-1, keepdims=True))
    solved = _solve(x, d)
    return _divide(solved, np.sqrt(np.clip((d * solved).sum(-1, keepdims=True), 0.0, None)))


def differences(x: NDArray[np.float32], labels: NDArray[np.intp], classes: int) -> NDArray[np.float64]:
    """Mean of each label's rows minus mean of all others [runs, classes, width]; zero where either has no rows.

    `x` is [rows, width], `labels` [runs, rows] counts from 0. Rows that hardly vary count as not varying.
    """
    values = x.astype(np.float64)
    centred = values - values.mean(0)
    centred[:, np.ptp(x, axis=0) <= 1e-6 * np.abs(x).max(axis=0)] = 0.0
    own = labels[:, None, :] == np.arange(classes)[:, None]
    count = own.sum(-1, keepdims=True)
    sums = own.astype(np.float64) @ centred
    # The centred rows sum to zero, so the others' sum is minus the own sum.
    with np.errstate(divide="ignore", invalid="ignore"):
        found = sums / count + sums / (x.shape[0] - count)
    return np.where((count > 0) & (count < x.shape[0]), found, 0.0)


def _solve(x: NDArray[np.float32], d: NDArray[np.float64]) -> NDArray[np.float64]:
    """S^-1 d for d in the span of the centred rows, S = (1 - a) X'X / n + a tr(X'X / n) / width I, a by Ledoit-Wolf."""
    from sklearn.covariance import ledoit_wolf_shrinkage

    centred = x.astype(np.float64) - x.mean(0, dtype=np.float64)
    shrinkage = float(ledoit_wolf_shrinkage(centred, assume_centered=True))
    _, singular, basis = np.linalg.svd(centred, full_matrices=False)
    variances = singular**2 / len(x)
    keep = variances > 1e-12 * max(variances.max(), 1e-300)
    ridge = shrinkage * variances.sum() / x.shape[1]
    basis, variances = basis[keep], (1 - shrinkage) * variances[keep] + ridge
    return np.asarray((d @ basis.T / variances) @ basis)


def _divide(values: NDArray[np.float64], by: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(values, by, out=np.zeros_like(values), where=by > 0)


def alike(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosine of each line of two arrays [lines, width] -> [lines]; exactly 1 for equal lines, NaN for a zero line."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = np.divide((a * b).sum(1), lengths, out=np.full(len(a), np.nan), where=lengths > 0)
    return np.where((a == b).all(1) & (lengths > 0), 1.0, np.clip(cosines, -1.0, 1.0))
