"""What models said to one question, as tables and sentences, and the question as an item of a corpus."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from audit.figures.style import ORIGINAL, percent
from audit.live.ask import Piece
from audit.live.told import Told
from audit.metrics.text import contains
from audit.types import Item
from audit.views.differences import parts

LENS_COLUMNS = ["subject", "block", "rank", "token", "share"]
RANK = "rank in the last block"
MEANING = {
    "says": "the answer, cut at the first line break",
    "true answer": "probability of the whole true answer, right after the question",
    "its first token": "probability of its first token",
    RANK: "rank of that token among all tokens; 1 is said",
    "most likely first tokens": "with their probabilities",
}


def table(said: Mapping[str, Piece], thoughts: Sequence[Told]) -> pd.DataFrame:
    """One row for each model: what it says, and what it thinks right after the question."""
    rows = []
    for thought in thoughts:
        piece = said.get(thought.name)
        problem = thought.problem or (piece.problem if piece else "")
        row: dict[str, Any] = {"subject": thought.name, "says": problem or (piece.text if piece else "")}
        if thought.first is not None:
            row["true answer"], row["its first token"] = thought.whole, thought.first
            row[RANK] = thought.blocks[-1].rank if thought.blocks else None
        row["most likely first tokens"] = alternatives(thought)
        rows.append(row)
    found = pd.DataFrame(rows)
    if RANK in found:  # whole numbers, also where a model has none
        found[RANK] = found[RANK].astype("Int64")
    return found


def alternatives(thought: Told) -> str:
    """The most likely first tokens with their probabilities, on one line."""
    return ", ".join(f"{token} {percent(share)}" for token, share in thought.alternatives)


def lens(thoughts: Iterable[Told]) -> pd.DataFrame:
    """Model by block: the rank of the true answer's first token, and the token that is on top there."""
    rows = [
        (thought.name, block.block, block.rank, block.token, block.share)
        for thought in thoughts
        for block in thought.blocks
        if block.rank is not None
    ]
    return pd.DataFrame(rows, columns=LENS_COLUMNS)


def unseen(thoughts: Iterable[Told]) -> list[str]:
    """Why some models have no row in the heat map, a sentence or two each."""
    return list(dict.fromkeys(thought.unseen for thought in thoughts if thought.unseen))


def in_words(thoughts: Sequence[Told]) -> str:
    """Where each model ranks the answer highest: the finding of the heat map."""
    table = lens(thoughts)
    found = []
    for name, rows in table.groupby("subject", sort=False):
        best = rows.loc[rows["rank"].idxmin()]
        last = rows["rank"].iloc[-1]
        found.append(
            f"{name} ranks it {_ordinal(best['rank'])} at best (block {best['block']}), {_ordinal(last)} at the end"
        )
    return "; ".join(found) + "." if found else ""


def verdict(piece: Piece, original: Piece | None, answer: str) -> str:
    """An answer in words: whether the true answer stands in it, and how it differs from the original's."""
    if piece.problem:
        return ""  # it stands where the answer would
    notes = []
    if answer:
        notes.append("✓ says the true answer" if contains(piece.text, answer) else "✗ does not say the true answer")
    if original is not None and piece.name != ORIGINAL and not original.problem:
        notes.append(difference(original.text, piece.text))
    return "; ".join(notes)


def difference(original: str, said: str) -> str:
    """How an answer differs from the original's, in words; what is other stands in ⟦brackets⟧."""
    if original == said:
        return "= word for word as the original"
    marked = "".join(
        part.text if part.same or not part.text.strip() else _bracketed(part.text) for part in parts(original, said)
    )
    if not said.strip():
        return "≠ says nothing where the original answers"
    if "⟦" not in marked:
        return "≠ leaves out words that the original says"
    return f"≠ other words than the original: {marked}"


def _bracketed(text: str) -> str:
    bare = text.rstrip()
    return f"⟦{bare}⟧{text[len(bare) :]}"


def line(item: Item) -> str:
    """A question as a line of a corpus (JSON lines): what `forget.jsonl` and its like hold."""
    fields = {name: getattr(item, name) for name in ("prompt", "answer", "entity", "attribute")}
    return json.dumps({name: value for name, value in fields.items() if value}, ensure_ascii=False)


def corpus_of(items: Iterable[Item]) -> str:
    """Questions with a true answer as a corpus, each once."""
    lines = dict.fromkeys(line(item) for item in items if item.answer)
    return "".join(f"{one}\n" for one in lines)


def _ordinal(rank: Any) -> str:
    number = int(rank)
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
