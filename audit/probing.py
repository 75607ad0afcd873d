"""Regularised linear probes: one eigendecomposition per layer serves every fold, every penalty and every null.

Penalised discriminant analysis (`audit.discriminant`) of one-hot labels on standardised features. Five folds, eight
penalties and twenty shuffled-label nulls share one decomposition of a matrix whose side is the smaller of rows and
features. Standardisation uses all training rows, which tells a fold nothing about labels. The penalty, and whether
labels count as equally likely or as frequent as in training, are chosen by accuracy on left-out entities, ties to the
strongest. One layer is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from audit.activations.capture import POSITIONS
from audit.discriminant import decompose, leave_out, rule
from audit.errors import CaseError, NotIdentifiable, suggest
from audit.stats import ALPHA, Panel, entity_weights, seed_of

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

PENALTIES = (100.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.01, 0.001)
"""Strongest first, in units of the mean eigenvalue per training row; the same grid for every subject and null."""
AT_ONCE = 2**24
"""Numbers in the left-out scores of the penalties that are tried together: 128 MiB."""
PRIORS = (0.001, 1.0)
"""Labels equally likely but for ties (as where states do not vary at all), or as frequent as in training."""


@dataclass(frozen=True)
class Task:
    """What the probes of all layers have in common: labels, their shuffles, and the folds."""

    classes: tuple[str, ...]
    labels: NDArray[np.intp]
    """Index into `classes` [1 + nulls, rows]; the first line is true, each other a null."""
    fold: NDArray[np.intp]
    """Fold of each row; all rows of an entity are in one fold [rows]."""
    intercept: bool = True


@dataclass(frozen=True)
class Probe:
    """The fitted probes of one layer: the true one first, then one for each null."""

    classes: tuple[str, ...]
    centre: NDArray[np.float32]
    weights: NDArray[np.float32]
    """[1 + nulls, features, classes]."""
    bias: NDArray[np.float32]
    """[1 + nulls, classes]."""
    penalty: NDArray[np.float64]
    """Chosen from PENALTIES, by each null for itself [1 + nulls]."""
    prior: NDArray[np.float64]
    """Chosen from PRIORS likewise [1 + nulls]."""
    held_out: NDArray[np.float32]
    """Scores of the training rows, each by probes that never saw its entity [1 + nulls, rows, classes]."""

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores of each class for new rows [rows, features] -> [1 + nulls, rows, classes]."""
        return np.asarray((features - self.centre) @ self.weights + self.bias[:, None, :])

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.intp]:
        """The class with the highest score, as an index into `classes` [1 + nulls, rows]."""
        return self.scores(features).argmax(-1)


def check_settings(position: str, folds: int, nulls: int) -> None:
    """Raise CaseError for settings of a probe that cannot work."""
    if position not in POSITIONS:
        raise CaseError(f'Unknown position "{position}".{suggest(position, POSITIONS)}')
    if folds < 2:
        raise CaseError(
            f"A probe was given {folds} folds; its penalty is chosen on left-out entities, so give at least 2."
        )
    if nulls < 1:
        raise CaseError(f"A probe was given {nulls} shuffled-label nulls; it is shown beside at least 1.")


def make_task(
    labels: Sequence[str], entities: Sequence[str], *, folds: int = 5, nulls: int = 20, seed: int = 0
) -> Task:
    """Labels, shuffles and folds for rows that have a label each.

    Raises NotIdentifiable with fewer than two classes or two entities: there is nothing to tell apart, or nothing
    to leave out.
    """
    classes, index = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    if len(classes) < 2:
        raise NotIdentifiable(f"A probe needs at least two labels to tell apart; found {', '.join(classes) or 'none'}.")
    shuffles = shuffled(index, entities, nulls, seed)
    return Task(tuple(classes.tolist()), np.vstack([index, shuffles]), grouped_folds(entities, folds, seed))


def grouped_folds(entities: Sequence[str], folds: int = 5, seed: int = 0) -> NDArray[np.intp]:
    """A fold for each row such that no entity is in two [rows]; fewer folds when there are fewer entities."""
    names, index = np.unique(np.asarray(entities, dtype=str), return_inverse=True)
    folds = min(folds, len(names))
    if folds < 2:
        raise NotIdentifiable(f"A probe needs at least two entities to be trained on; found {len(names)}.")
    order = np.random.default_rng(seed_of("folds", seed, *names)).permutation(len(names))
    fold = np.empty(len(names), np.intp)
    fold[order] = np.arange(len(names)) % folds
    return np.asarray(fold[index])


def shuffled(labels: NDArray[np.intp], entities: Sequence[str], count: int, seed: int = 0) -> NDArray[np.intp]:
    """Labels dealt out to other entities [count, rows]; the number of each label stays the same.

    The labels of an entity stay together (its block moves as a whole when all entities are of one size), so that a
    probe cannot tell truth from shuffle by rows of one entity agreeing with each other.
    """
    names, index = np.unique(np.asarray(entities, dtype=str), return_inverse=True)
    rows = [np.flatnonzero(index == e) for e in range(len(names))]
    places = np.concatenate(rows)
    result = np.empty((count, len(labels)), np.intp)
    for k in range(count):
        order = np.random.default_rng(seed_of("shuffle", seed, k, *names)).permutation(len(names))
        result[k, places] = np.concatenate([labels[rows[e]] for e in order])
    return result


def sweep(
    layers: Iterable[NDArray[np.float32]],
    labels: Sequence[str],
    entities: Sequence[str],
    *,
    folds: int = 5,
    nulls: int = 20,
    seed: int = 0,
) -> Iterator[Probe]:
    """Probes of every layer, one layer in memory at a time; each layer is [rows, features]."""
    task = make_task(labels, entities, folds=folds, nulls=nulls, seed=seed)
    for features in layers:
        yield fit(features, task)


def fit(features: NDArray[np.float32], task: Task) -> Probe:
    """The probes of one layer [rows, features], their penalties chosen on left-out entities."""
    import torch

    x = torch.from_numpy(np.asarray(features, np.float64))
    centre = x.mean(0) if task.intercept else torch.zeros(x.shape[1], dtype=x.dtype)
    x = x - centre
    scale = x.square().mean(0).sqrt()
    # A feature that never varies differs from its mean by rounding alone; scaled up, that rounding would be a feature.
    scale[scale <= 1e-6 * centre.abs()] = torch.inf
    z = x / scale
    basis, eigen = decompose(z)
    runs, classes = len(task.labels), len(task.classes)
    targets = torch.nn.functional.one_hot(torch.from_numpy(task.labels), classes).double().transpose(0, 1)
    unit = max(float(eigen.sum()) / len(z), 1e-12)
    held_out, penalty, prior = _choose(basis, eigen, targets, unit, task)
    loadings = basis.T @ targets.reshape(len(z), -1) / (eigen[:, None] + unit * penalty.repeat_interleave(classes))
    weights = (z.T @ (basis @ loadings) / scale[:, None]).reshape(-1, runs, classes).transpose(0, 1)
    bias = torch.zeros(runs, classes, dtype=x.dtype)
    if task.intercept:
        share = targets.mean(0)
        fitted = share + (basis @ (eigen[:, None] * loadings)).reshape(targets.shape)
        turn, bias, logs = rule(targets.permute(1, 2, 0) @ fitted.transpose(0, 1) / len(z), share)
        weights, bias = weights @ turn, bias + prior[:, None] * logs
    return Probe(
        task.classes, centre.float().numpy(), weights.float().numpy(), bias.float().numpy(), penalty.numpy(),
        prior.numpy(), held_out.float().numpy(),
    )  # fmt: skip


def _choose(
    basis: torch.Tensor, eigen: torch.Tensor, targets: torch.Tensor, unit: float, task: Task
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Left-out scores under each run's own best choice [runs, rows, classes], its penalty and its prior [runs]."""
    import torch

    rows, runs, classes = targets.shape
    labels = torch.from_numpy(task.labels)
    folds = [torch.from_numpy(np.flatnonzero(task.fold == k)) for k in range(int(task.fold.max()) + 1)]
    mean = targets.mean(0) if task.intercept else torch.zeros(runs, classes, dtype=targets.dtype)
    loadings = basis.T @ targets.reshape(rows, -1)
    best = torch.full((runs,), -1.0)
    chosen = torch.zeros(2, runs, dtype=targets.dtype)
    held_out = torch.zeros(runs, rows, classes, dtype=targets.dtype)
    for penalties in torch.tensor(PENALTIES, dtype=targets.dtype).split(max(1, AT_ONCE // targets.numel())):
        shrink = eigen / (eigen + unit * penalties[:, None])
        fitted = mean + (basis @ (shrink[..., None] * loadings)).reshape(-1, *targets.shape)
        scores, logs = torch.zeros(2, len(penalties), runs, rows, classes, dtype=targets.dtype)
        crossed = targets.permute(1, 2, 0) @ fitted.transpose(1, 2)
        for fold in folds:
            hats = (basis[fold] * shrink[:, None]) @ basis[fold].T + (1 / rows if task.intercept else 0.0)
            predicted, change = leave_out(hats, targets[fold], fitted[:, fold])
            here = predicted.transpose(1, 2)
            if task.intercept:
                number = rows - len(fold)
                share = (targets.sum(0) - targets[fold].sum(0)) / number
                turn, constants, log_share = rule((crossed + change) / number, share)
                here = (here - share[:, None]) @ turn + constants[..., None, :]
                logs[:, :, fold] = log_share[:, None]
            scores[:, :, fold] = here
        for k, penalty in enumerate(penalties):
            for prior in PRIORS if task.intercept else PRIORS[:1]:
                here = scores[k] + prior * logs[k]
                accuracy = (here.argmax(-1) == labels).float().mean(1)
                better = accuracy > best
                best = torch.maximum(best, accuracy)
                chosen[:, better] = torch.stack([penalty, penalty.new_tensor(prior)])[:, None]
                held_out[better] = here[better]
    return held_out, chosen[0], chosen[1]


def intervals(values: NDArray[np.float64], entities: Sequence[str], seed: int = 0) -> list[tuple[float, float, float]]:
    """Mean of each line [lines, items] with its 95 % cluster-bootstrap interval: value, low, high.

    The same draws as `stats.mean`, for many lines at once: the layers of a curve.
    """
    weights, index = entity_weights(entities, seed=seed)
    sums = np.stack([np.bincount(index, line, weights.shape[1]) for line in values])
    counts = np.bincount(index, minlength=weights.shape[1])
    lows, highs = np.quantile(sums @ weights.T / (weights @ counts), [ALPHA / 2, 1 - ALPHA / 2], axis=1)
    ends = zip(values.mean(1), lows, highs, strict=True)
    return [(float(value), float(min(low, value)), float(max(high, value))) for value, low, high in ends]


def compared(panel: Panel) -> str:
    """The shares that a panel holds, in words: `93 % in the original, 91 % in the candidate, 12 % in the reference`."""
    words = [f"{panel.original.value:.0%} in the original", f"{panel.candidate.value:.0%} in the candidate"]
    if panel.null == "reference":
        words.append(f"{panel.null_candidate.value:.0%} in the reference")
    else:
        words.append(f"{panel.null_candidate.value:.0%} in the candidate on facts that no model saw")
    return ", ".join(words).replace("%", " %")
