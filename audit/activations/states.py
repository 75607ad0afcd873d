"""Reading back what a pass stored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audit.activations.batch import TOKEN
from audit.activations.capture import POSITIONS
from audit.errors import StoreError


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
    def _layout(self) -> dict[str, list[int]]:
        try:
            return json.loads((self.folder / "layout.json").read_text())  # type: ignore[no-any-return]
        except (OSError, ValueError) as error:
            raise StoreError(
                f"The cached pass {self.folder} cannot be read ({error}); delete it and run again."
            ) from error

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
    layout = json.loads((folder / "layout.json").read_text())
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


def read_tokens(folder: Path, lengths: Sequence[int]) -> list[np.ndarray]:
    """The answer tokens of every sequence, in corpus order, as TOKEN records; `lengths` counts them."""
    order = json.loads((folder / "layout.json").read_text())["order"]
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
    order = json.loads((folder / "layout.json").read_text())["order"]
    flat = np.fromfile(folder / "ends.bin", TOKEN)
    if len(flat) != len(order):
        raise StoreError(
            f"The cached pass {folder} holds {len(flat)} end tokens, expected {len(order)}; delete it and run again."
        )
    result = np.empty_like(flat)
    result[order] = flat
    return result
