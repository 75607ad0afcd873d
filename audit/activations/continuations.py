"""How a subject goes on after token sequences, as tokens: for measures that cut texts themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from audit.activations.encode import Encoded, check_reads
from audit.activations.generate import generated, left_padded, planned, rooms

if TYPE_CHECKING:
    from audit.subjects.load import Subject


def continues(
    subject: Subject,
    prefixes: Sequence[Sequence[int] | Encoded],
    budgets: Sequence[int],
    progress: Callable[[float], None] | None = None,
) -> list[list[int]]:
    """Greedy continuation of each prefix as token ids, in order: at most its budget long, ended before an end of text.

    Batched by budget and length, so that a short one does not wait for a long one. It ends where the model reads no
    further; raises TooLong for a prefix after which it reads nothing at all.
    """
    lengths = [len(prefix) for prefix in prefixes]
    check_reads(subject.tokenizer, max(lengths, default=0) + 1, "A text with the first token after it")
    budgets = rooms(subject, lengths, budgets)
    found: list[list[int]] = [[] for _ in prefixes]
    ends, done = _ends(subject), 0
    for rows in planned(subject, lengths, budgets):
        inputs = left_padded(subject, [prefixes[i] for i in rows])
        found_here = generated(subject, inputs, max(budgets[i] for i in rows))
        for i, row in zip(rows, found_here, strict=True):
            stop = next((k for k, token in enumerate(row) if token in ends), len(row))
            found[i] = row[: min(stop, budgets[i])]
        done += len(rows)
        if progress:
            progress(done / len(prefixes))
    return found


def _ends(subject: Subject) -> set[int]:
    """Every token that ends a text, by the model's own settings and the tokenizer's."""
    named = subject.model.generation_config.eos_token_id if subject.model.generation_config else None
    listed = named if isinstance(named, list) else [named]
    return {int(token) for token in (*listed, subject.tokenizer.eos_token_id) if token is not None}
