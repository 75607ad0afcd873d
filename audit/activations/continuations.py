"""How a subject goes on after token sequences, as tokens: for measures that cut texts themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from audit.activations.encode import Encoded
from audit.activations.generate import BATCH, generated, left_padded

if TYPE_CHECKING:
    from audit.subjects.load import Subject


def continues(
    subject: Subject,
    prefixes: Sequence[Sequence[int] | Encoded],
    budgets: Sequence[int],
    progress: Callable[[float], None] | None = None,
) -> list[list[int]]:
    """Greedy continuation of each prefix as token ids, in order: at most its budget long, ended before an end of text.

    Batched by budget and length, so that a short one does not wait for a long one.
    """
    order = sorted(range(len(prefixes)), key=lambda i: (budgets[i], len(prefixes[i])))
    found: list[list[int]] = [[] for _ in prefixes]
    ends = _ends(subject)
    for begin in range(0, len(order), BATCH):
        rows = order[begin : begin + BATCH]
        inputs = left_padded(subject, [prefixes[i] for i in rows])
        found_here = generated(subject, inputs, max(budgets[i] for i in rows))
        for i, row in zip(rows, found_here, strict=True):
            stop = next((k for k, token in enumerate(row) if token in ends), len(row))
            found[i] = row[: min(stop, budgets[i])]
        if progress:
            progress(min(1.0, (begin + BATCH) / len(order)))
    return found


def _ends(subject: Subject) -> set[int]:
    """Every token that ends a text, by the model's own settings and the tokenizer's."""
    named = subject.model.generation_config.eos_token_id if subject.model.generation_config else None
    listed = named if isinstance(named, list) else [named]
    return {int(token) for token in (*listed, subject.tokenizer.eos_token_id) if token is not None}
