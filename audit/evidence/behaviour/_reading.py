"""What the evidence of this family shares: which corpora are read, one score an item, and the control in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from audit import stats
from audit.stats import Panel, Scores
from audit.types import Role, Split

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from audit.bench import Bench


def read_splits(bench: Bench) -> tuple[Split, ...]:
    """The facts to forget, and facts that no model saw where the case has some.

    What costs a generation of its own reads `bench.splits` instead.
    """
    return ("forget", "holdout") if bench.has("holdout") else ("forget",)


def panel_of_items(
    bench: Bench,
    values: Callable[[Role, Split], ArrayLike],
    used: Callable[[Role, Split], ArrayLike] | None = None,
) -> Panel:
    """A panel of one score for every item of a corpus, in corpus order.

    `used` marks the items that have what is scored (default: all): the corpus says which, never the score, so that a
    NaN is not taken for an item that was never asked. Raises ValueError on a score that counts and is not a number.
    """

    def score(role: Role, split: Split) -> Scores:
        corpus = bench.corpus(split)
        mask = None if used is None else np.asarray(used(role, split), bool)
        return Scores(
            [item.id for item in corpus.items], corpus.entities, np.asarray(values(role, split), np.float64), mask
        )

    return stats.panel(bench, score)


def panel_of_rows(bench: Bench, rows: Mapping[tuple[Role, Split], Sequence[Any]], column: str = "score") -> Panel:
    """A panel of one column of rows that name their items; items without a row are left out."""

    def values(role: Role, split: Split) -> ArrayLike:
        found = {row.item: getattr(row, column) for row in rows[role, split]}
        return [found.get(item.id, np.nan) for item in bench.corpus(split).items]

    def used(role: Role, split: Split) -> ArrayLike:
        found = {row.item for row in rows[role, split]}
        return [item.id in found for item in bench.corpus(split).items]

    return panel_of_items(bench, values, used)


def with_wrong_answers(bench: Bench, split: Split) -> NDArray[np.bool_]:
    """Which items of a corpus have wrong answers to weigh the true one against [items]."""
    return np.array([bool(item.wrong_answers) for item in bench.corpus(split).items])


def has_end(bench: Bench, role: Role, split: Split) -> bool:
    """Whether a subject's tokenizer has an end-of-text token: without one no number that counts it exists."""
    return bool(bench.likelihood(role, split)["end_logprob"].notna().all())


def control_words(panel: Panel, form: str = ".0%") -> str:
    """The null's number in words, to end a sentence about the candidate and the original."""
    null = f"{panel.null_candidate.value:{form}}"
    return f"the reference {null}" if panel.null == "reference" else f"and on facts that it never saw {null}"
