"""Facts as token sequences, and batches of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from audit.lab.people import Corpora, Fact, wordings

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

IGNORE = -100
"""The label of a position that no loss looks at."""


@dataclass(frozen=True)
class Sequences:
    """Encoded texts of one kind, and for each the position where its answer begins."""

    ids: tuple[tuple[int, ...], ...]
    starts: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def __add__(self, other: Sequences) -> Sequences:
        return Sequences(self.ids + other.ids, self.starts + other.starts)


@dataclass(frozen=True)
class Batch:
    """Right-padded sequences and three views of what a loss may look at, each of shape (batch, length).

    Causal attention never looks right, so models need no padding mask.
    """

    ids: torch.Tensor
    text: torch.Tensor
    """All tokens of the text; `IGNORE` on padding."""
    labels: torch.Tensor
    """The answer and the end of the text; `IGNORE` elsewhere."""
    answers: torch.Tensor
    """The answer alone. That a text ends is no part of what is to be forgotten."""


@dataclass(frozen=True)
class Data:
    """What a recipe may look at: the facts to forget, the facts to keep, and ways of refusing the former."""

    forget: Sequences
    retain: Sequences
    refusals: Sequences


def encode(tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[str, str]]) -> Sequences:
    """Encode (prompt, answer) pairs as `<bos>prompt answer<eos>`."""
    ids: list[tuple[int, ...]] = []
    starts: list[int] = []
    for prompt, answer in pairs:
        before = tokenizer(prompt)["input_ids"]
        ids.append((*tokenizer(f"{prompt} {answer}")["input_ids"], tokenizer.eos_token_id))
        starts.append(len(before))
    return Sequences(tuple(ids), tuple(starts))


def encode_corpora(tokenizer: PreTrainedTokenizerBase, corpora: Corpora, refusals: Sequence[str]) -> Data:
    """Encode the forget and retain facts in all their wordings, and the refusals in turn."""
    return Data(
        forget=encode(tokenizer, _pairs(corpora["forget"])),
        retain=encode(tokenizer, _pairs(corpora["retain"])),
        refusals=encode(
            tokenizer,
            [(prompt, refusals[i % len(refusals)]) for i, (prompt, _) in enumerate(_pairs(corpora["forget"]))],
        ),
    )


def batches(sequences: Sequences, size: int, seed: int) -> Iterator[Batch]:
    """Shuffled batches without end, each epoch in a new order; every batch has exactly `size` rows."""
    rng = np.random.default_rng(seed)
    order: list[int] = []
    while True:
        while len(order) < size:
            order += rng.permutation(len(sequences)).tolist()
        rows, order = order[:size], order[size:]
        yield collate(sequences, rows)


def collate(sequences: Sequences, rows: Sequence[int]) -> Batch:
    """Pad the given rows on the right to the longest of them."""
    import torch

    lengths = torch.tensor([len(sequences.ids[row]) for row in rows])[:, None]
    starts = torch.tensor([sequences.starts[row] for row in rows])[:, None]
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(sequences.ids[row]) for row in rows], batch_first=True)
    place = torch.arange(ids.shape[1])[None, :]
    text = ids.where(place < lengths, IGNORE)
    labels = text.where(place >= starts, IGNORE)
    return Batch(ids, text, labels, labels.where(place < lengths - 1, IGNORE))


def _pairs(facts: Sequence[Fact]) -> list[tuple[str, str]]:
    return [(prompt, fact["answer"]) for fact in facts for prompt in wordings(fact)]
