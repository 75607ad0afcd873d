"""Reading back what a pass stored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from audit.activations.batch import TOKEN
from audit.activations.capture import POSITIONS
from audit.errors import StoreError

MOST_KEPT = 64
"""Passes of which the layout and the scores stay in memory: every evidence of a candidate asks for the same few."""


@dataclass(frozen=True)
class States:
    """Hidden states of one subject over some rows of one pass, read from disk layer by layer."""

    folder: Path
    rows: np.ndarray
    """Which sequence of the pass each row is [rows]."""
    items: list[str]
    entities: list[str]
    index: np.ndarray
    """Which wrong answer or paraphrase of its item a row is; 0 for the answer itself [rows]."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(positions, layers + 1, sequences of the pass, width)."""
        positions, layers, rows, width = self._layout["shape"]
        return positions, layers, rows, width

    @property
    def layers(self) -> int:
        """Number of states: blocks + 1. State 0 is the input of the first block."""
        return self.shape[1]

    @property
    def width(self) -> int:
        """Size of a hidden state."""
        return self.shape[3]

    def at(self, layer: int, position: str = "prompt_last") -> np.ndarray:
        """The states of one layer at one position, in corpus order [rows, width] float32."""
        mapped = np.memmap(self.folder / "states.bin", np.float32, "r", shape=self.shape)
        block = mapped[POSITIONS.index(position), layer]
        return np.ascontiguousarray(block[self._place[self.rows]])

    @property
    def array(self) -> np.ndarray:
        """Everything [positions, layers + 1, rows, width]; for small corpora."""
        return np.stack([[self.at(layer, position) for layer in range(self.layers)] for position in POSITIONS])

    @property
    def _layout(self) -> dict[str, Any]:
        return _layout(self.folder)

    @property
    def _place(self) -> np.ndarray:
        order = np.asarray(self._layout["order"])
        place = np.empty(len(order), np.intp)
        place[order] = np.arange(len(order))
        return place


@dataclass(frozen=True)
class WholeStates:
    """Hidden states of every token of some sequences at a few layers, one sequence after the other."""

    folder: Path
    width: int
    layers: tuple[int, ...]
    sequence: np.ndarray
    """Which sequence of the pass each token belongs to [tokens]."""
    ids: np.ndarray
    """Token ids [tokens]."""
    place: np.ndarray
    """Place of each token in its sequence, 0 is the first [tokens]."""

    def at(self, layer: int) -> np.ndarray:
        """The states of one layer [tokens, width] float32; KeyError for a layer that was not kept."""
        if layer not in self.layers:
            raise KeyError(layer)
        shape = (len(self.layers), len(self.ids), self.width)
        mapped = np.memmap(self.folder / "whole.bin", np.float32, "r", shape=shape)
        return np.array(mapped[self.layers.index(layer)])


def read_whole(folder: Path) -> WholeStates:
    """Every token that a pass kept."""
    layout = _layout(folder)
    rows, ids = layout["whole"]["rows"], layout["whole"]["ids"]
    lengths = [len(line) for line in ids]
    return WholeStates(
        folder,
        layout["shape"][3],
        tuple(layout["whole"]["layers"]),
        np.repeat(np.asarray(rows, np.intp), lengths),
        np.asarray([token for line in ids for token in line], np.int64),
        np.concatenate([np.arange(length) for length in lengths]) if lengths else np.empty(0, np.intp),
    )


def _layout(folder: Path) -> dict[str, Any]:
    try:
        return _parsed(folder, (folder / "layout.json").stat().st_mtime_ns)
    except (OSError, ValueError) as error:
        raise StoreError(f"The cached pass {folder} cannot be read ({error}); delete it and run again.") from error


@lru_cache(maxsize=MOST_KEPT)
def _parsed(folder: Path, stamp: int) -> dict[str, Any]:
    return json.loads((folder / "layout.json").read_text())  # type: ignore[no-any-return]


def read_scores(folder: Path) -> dict[str, np.ndarray]:
    """Numbers of every sequence's answer, in corpus order [sequences]: see `Bench.likelihood`; nobody changes them."""
    return _scores(folder, (folder / "layout.json").stat().st_mtime_ns)


@lru_cache(maxsize=MOST_KEPT)
def _scores(folder: Path, stamp: int) -> dict[str, np.ndarray]:
    lengths = np.fromfile(folder / "lengths.bin", np.int64)
    tokens = read_tokens(folder, lengths.tolist())
    ends = read_ends(folder)["logprob"].astype(np.float64)
    mean = np.array([float(t["logprob"].mean()) for t in tokens])
    scores = {
        "tokens": lengths,
        "mean_logprob": mean,
        "first_logprob": np.array([float(t["logprob"][0]) for t in tokens]),
        "first_token": np.array([int(t["id"][0]) for t in tokens], np.int64),
        "top1": np.array([float(t["top1"].mean()) for t in tokens]),
        "end_logprob": ends,
        "published_logprob": (lengths * mean + ends) / (lengths + 1),
    }
    for values in scores.values():
        values.flags.writeable = False
    return scores


def read_tokens(folder: Path, lengths: Sequence[int]) -> list[np.ndarray]:
    """The answer tokens of every sequence, in corpus order, as TOKEN records; `lengths` counts them."""
    order = _layout(folder)["order"]
    flat = np.fromfile(folder / "tokens.bin", TOKEN)
    result: list[np.ndarray] = [flat[:0]] * len(order)
    begin = 0
    for i in order:
        result[i] = flat[begin : begin + lengths[i]]
        begin += lengths[i]
    if begin != len(flat):
        raise StoreError(
            f"The cached pass {folder} holds {len(flat)} answer tokens, expected {begin}; delete it and run again."
        )
    return result


def read_ends(folder: Path) -> np.ndarray:
    """The end-of-text token after the answer of every sequence, in corpus order, one TOKEN record each [sequences].

    NO_END where the tokenizer has none.
    """
    order = _layout(folder)["order"]
    flat = np.fromfile(folder / "ends.bin", TOKEN)
    if len(flat) != len(order):
        raise StoreError(
            f"The cached pass {folder} holds {len(flat)} end tokens, expected {len(order)}; delete it and run again."
        )
    result = np.empty_like(flat)
    result[order] = flat
    return result
