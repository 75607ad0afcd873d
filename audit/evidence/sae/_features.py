"""What the evidence on features shares: its dictionaries, the activations at the last prompt token, and a selection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from audit.dictionaries.source import Dictionary, dictionaries
from audit.stats import halves

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from audit.bench import Bench
    from audit.types import Role, Split


@dataclass(frozen=True)
class Trained:
    """Settings of the dictionaries that are trained where a case names none."""

    features: int = 0
    """Number of features; 0 for eight per dimension of the state."""
    k: int = 8
    """Features that fire at a token, on average."""
    steps: int = 1500
    """Steps of training, 1,024 tokens each."""

    def dictionaries(self, bench: Bench) -> list[Dictionary]:
        """The dictionaries of the case, one per block."""
        return dictionaries(bench, self.features, self.k, self.steps)


def activations(
    bench: Bench,
    dictionary: Dictionary,
    role: Role,
    split: Split,
    variant: str = "answer",
    position: str = "prompt_last",
) -> NDArray[np.float32]:
    """Feature activations at one position of every item [items, features]."""
    states = bench.states(role, split, variant)  # type: ignore[arg-type]
    return dictionary.encode(states.at(dictionary.layer, position))


def both_ways(entities: Sequence[str], seed: int) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Items to choose on and items to score, twice, so that each half of the entities is scored once."""
    first = halves(entities, seed)
    return [(~first, first), (first, ~first)]


def label_ratio(features: NDArray[np.float32], labels: NDArray[np.intp]) -> NDArray[np.float64]:
    """Between-class over within-class variance of every feature [features]; 0 where a feature never varies.

    The F statistic of one-way analysis of variance up to a factor that all features share.
    """
    x = features.astype(np.float64)
    counts = np.bincount(labels)
    sums = np.zeros((len(counts), x.shape[1]))
    np.add.at(sums, labels, x)
    means = sums / np.maximum(counts, 1)[:, None]
    between = (counts[:, None] * np.square(means - x.mean(0))).sum(0)
    within = np.square(x - means[labels]).sum(0)
    varies = between + within > 1e-12
    return np.where(varies, between / np.maximum(within, 1e-9 * np.maximum(between, 1e-12)), 0.0)
