"""What was said beside the true answer, word by word: which words are the answer's, in their order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

MOST_WORDS = 300
"""A text is compared and shown up to here: alignment costs the product of both lengths."""
WORD = re.compile(r"\S+\s*|\s+")
PUNCTUATION = re.compile(r"^\W+|\W+$")


@dataclass(frozen=True)
class Part:
    """A stretch of a text, and whether it stands in the true answer too."""

    text: str
    same: bool


def parts(truth: str, said: str) -> list[Part]:
    """What was said in stretches; joined, they are the text itself (its first MOST_WORDS words, then an ellipsis).

    Words are compared without case and without punctuation at their ends; a word counts as the answer's only in the
    answer's order (longest matching blocks).
    """
    words = WORD.findall(said)
    cut = len(words) > MOST_WORDS
    words = words[:MOST_WORDS]
    match = SequenceMatcher(None, [_plain(w) for w in WORD.findall(truth)], [_plain(w) for w in words], autojunk=False)
    same = [False] * len(words)
    for block in match.get_matching_blocks():
        same[block.b : block.b + block.size] = [True] * block.size
    found = list(_merged(words, same))
    return [*found, Part("…", True)] if cut else found


def share_said(truth: str, said: str) -> float:
    """Share of the true answer's words that were said, in their order, of whole texts; nan for an answer of no word."""
    wanted, heard = ([word for word in map(_plain, WORD.findall(text)) if word] for text in (truth, said))
    if not wanted:
        return float("nan")
    blocks = SequenceMatcher(None, wanted, heard, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) / len(wanted)


def _plain(word: str) -> str:
    """A word as it is compared; one of punctuation alone stays as it is."""
    bare = word.strip().casefold()
    return PUNCTUATION.sub("", bare) or bare


def _merged(words: list[str], same: list[bool]) -> Iterator[Part]:
    start = 0
    for place in range(1, len(words) + 1):
        if place == len(words) or same[place] != same[start]:
            yield Part("".join(words[start:place]), same[start])
            start = place
