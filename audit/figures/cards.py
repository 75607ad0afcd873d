"""Cards that fold, with names and what is said of them: one element on a page where it would need hundreds.

Folded cards are plain HTML: a browser's own search finds what is in them and opens them. Every text is escaped; no
script, no external resource.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from audit.figures.style import escape


@dataclass(frozen=True)
class Card:
    """What one card says: its name, what stands beside it, terms with their descriptions, tables by caption."""

    title: str
    words: str
    facts: Mapping[str, str]
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)


def cards_html(cards: Sequence[Card]) -> str:
    """Cards below each other, all folded; `assets/style.css` styles them."""
    return "".join(_card(card) for card in cards)


def facts_html(facts: Mapping[str, str]) -> str:
    """A list of terms with their descriptions."""
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(words)}</dd></div>" for name, words in facts.items())
    return f'<dl class="facts">{items}</dl>'


def table_html(caption: str, table: pd.DataFrame) -> str:
    """A short table whose texts are read in full; its first column names the rows."""
    head = "".join(f'<th scope="col">{escape(str(name))}</th>' for name in table.columns)
    lines = [
        f'<tr><th scope="row">{escape(str(first))}</th>{"".join(f"<td>{escape(str(cell))}</td>" for cell in rest)}</tr>'
        for first, *rest in table.itertuples(index=False)
    ]
    return (
        f'<table class="said"><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def _card(card: Card) -> str:
    tables = "".join(table_html(caption, table) for caption, table in card.tables.items() if len(table))
    return (
        f'<details class="card"><summary><strong>{escape(card.title)}</strong> {escape(card.words)}</summary>'
        f"{facts_html(card.facts)}{tables}</details>"
    )
