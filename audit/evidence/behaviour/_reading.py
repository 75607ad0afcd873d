"""What the evidence of this family shares: which corpora are read, one score an item, and the control in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from audit import stats
from audit.stats import Panel, Scores
from audit.types import Role, Split

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from audit.bench import Bench


def read_splits(bench: Bench) -> tuple[Split, ...]:
    """The facts to forget, and facts that no model saw where the case has some.

    What costs a generation of its own reads `bench.splits` instead.
    """
    return ("forget", "holdout") if bench.has("holdout") else ("forget",)


def panel_of_items(bench: Bench, values: Callable[[Role, Split], ArrayLike]) -> Panel:
    """A panel of one score for every item of a corpus, in corpus order; NaN where an item has none."""

    def score(role: Role, split: Split) -> Scores:
        corpus = bench.corpus(split)
        found = np.asarray(values(role, split), np.float64)
        return Scores([item.id for item in corpus.items], corpus.entities, found, np.isfinite(found))

    return stats.panel(bench, score)


def panel_of_rows(bench: Bench, rows: Mapping[tuple[Role, Split], Sequence[Any]], column: str = "score") -> Panel:
    """A panel of one column of rows that name their items; items without a row are left out."""

    def values(role: Role, split: Split) -> ArrayLike:
        found = {row.item: getattr(row, column) for row in rows[role, split]}
        return [found.get(item.id, np.nan) for item in bench.corpus(split).items]

    return panel_of_items(bench, values)


def control_words(panel: Panel, form: str = ".0%") -> str:
    """The null's number in words, to end a sentence about the candidate and the original."""
    null = f"{panel.null_candidate.value:{form}}"
    return f"the reference {null}" if panel.null == "reference" else f"and on facts that it never saw {null}"
