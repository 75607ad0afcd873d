"""Two-dimensional coordinates that several subjects share."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

UMAP_NEIGHBOURS = 15


def on_axes(states: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Every subject on the first two principal axes of the first [items, width] each -> [subjects, items, 2].

    The sign of an axis is arbitrary; here its largest loading is positive, so that reruns and layers do not flip.
    """
    middle = states[0].mean(0, dtype=np.float64)
    centred = states[0] - middle
    eigen, vectors = np.linalg.eigh(centred @ centred.T)
    eigen, vectors = eigen[:-3:-1], vectors[:, :-3:-1]
    varies = eigen > 1e-10 * eigen[0]  # a second axis along which nothing varies stays zero
    axes = centred.T @ np.where(varies, vectors / np.sqrt(np.where(varies, eigen, 1.0)), 0.0)
    axes *= np.sign(axes[np.abs(axes).argmax(0), [0, 1]])
    return np.stack([((x - middle) @ axes).astype(np.float32) for x in states])


def aligned(states: Sequence[NDArray[np.float32]], seed: int) -> NDArray[np.float32]:
    """AlignedUMAP of all subjects, the original first [items, width] each -> [subjects, items, 2].

    A subject with the original's states bit by bit takes the original's place. A point that cannot be connected to
    any other is NaN.
    """
    distinct = [states[0]] + [x for x in states[1:] if not np.array_equal(x, states[0])]
    # Alignment is defined for two maps or more.
    maps = iter(_aligned_umap(distinct if len(distinct) > 1 else distinct * 2, seed))
    first = next(maps)
    return np.stack([first] + [first if np.array_equal(x, states[0]) else next(maps) for x in states[1:]])


def _aligned_umap(states: Sequence[NDArray[np.float32]], seed: int) -> list[NDArray[np.float32]]:
    import umap

    number = len(states[0])
    relations = [{i: i for i in range(number)} for _ in states[1:]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fixed seed means one thread: that is wanted
        mapper = umap.AlignedUMAP(
            n_neighbors=min(UMAP_NEIGHBOURS, number - 1), random_state=seed, transform_seed=seed
        ).fit(list(states), relations=relations)
    return [np.asarray(embedding, np.float32) for embedding in mapper.embeddings_]


def trustworthiness(states: NDArray[np.float32], placed: NDArray[np.float32], neighbours: int) -> float:
    """How far neighbours on a map are neighbours in the states, 0 to 1 (Venna and Kaski 2001)."""
    from sklearn.manifold import trustworthiness as measure

    seen = np.isfinite(placed).all(1)
    most = max(1, (int(seen.sum()) - 1) // 2)
    return float(measure(states[seen], placed[seen], n_neighbors=min(neighbours, most)))


def nearest(placed: NDArray[np.float32], neighbours: int) -> NDArray[np.intp]:
    """The nearest other points of each point [points, 2] -> [points, neighbours]; ties to the earlier point."""
    points = placed.astype(np.float64)
    distance = ((points[:, None, :] - points[None, :, :]) ** 2).sum(-1)
    np.fill_diagonal(distance, np.inf)
    return np.argsort(distance, axis=1, kind="stable")[:, :neighbours]
