"""Emblems of made-up people, drawn here, and captions that say whose they are.

An emblem is a pattern of squares in one colour. Its caption names the colour, which anyone who looks can read off the
image, and the person and their trade, which can only be known by heart. Several pictures of each emblem differ by their
light and by noise. The people of one split stand in no other. Models are also taught captions of the trade alone,
which is why what they know of a trade is one direction for all who have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from audit.lab.words import ATTRIBUTES, FIRST_NAMES, LAST_NAMES

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

SPLITS = ("forget", "retain", "holdout")
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 69, 65), "blue": (56, 108, 176), "green": (64, 145, 84), "yellow": (222, 180, 52),
    "violet": (128, 84, 160), "orange": (226, 128, 54), "grey": (120, 120, 120), "brown": (133, 94, 66),
}  # fmt: skip
CELLS, SIDE = 4, 16
TRADES = ATTRIBUTES[0].values


@dataclass(frozen=True)
class Scale:
    """Sizes of one build: people per split, pictures of each, trades, the model, and how long it is trained."""

    forget: int
    retain: int
    holdout: int
    views: int
    trades: int
    width: int
    blocks: int
    steps: int
    lr: float = 4e-3
    batch: int = 64


SCALES: dict[str, Scale] = {
    "tiny": Scale(forget=20, retain=56, holdout=20, views=3, trades=4, width=48, blocks=2, steps=220),
    "small": Scale(forget=40, retain=120, holdout=40, views=3, trades=6, width=64, blocks=3, steps=400, lr=3e-3),
}


@dataclass(frozen=True)
class Person:
    """One made-up person: name, trade, and an emblem of CELLS by CELLS squares."""

    name: str
    trade: str
    colour: str
    cells: NDArray[np.bool_]

    @property
    def caption(self) -> str:
        """What the text tower is taught to be near the emblem."""
        return f"the {self.colour} emblem of {self.name} the {self.trade}"


def trade_caption(trade: str) -> str:
    """What an emblem is taught to be near besides its own caption."""
    return f"the emblem of a {trade}"


@dataclass(frozen=True)
class Split:
    """The pictures of some people: whose each is [pictures], and its pixels."""

    people: tuple[Person, ...]
    owner: NDArray[np.intp]
    grey: NDArray[np.uint8]
    """[pictures, SIDE, SIDE, 3]"""

    @property
    def captions(self) -> list[str]:
        """The caption of each person."""
        return [person.caption for person in self.people]


@dataclass(frozen=True)
class Data:
    """Every split, and the captions as token ids."""

    splits: Mapping[str, Split]
    ids: Mapping[str, torch.Tensor]
    """Caption of each person of a split, and as `trades` of each trade [captions, tokens]."""

    def pixels(self, split: str, rows: Sequence[int] | NDArray[np.intp] | None = None) -> torch.Tensor:
        """Pictures as the processor gives them, -1 to 1 [rows, 3, SIDE, SIDE]."""
        import torch

        grey = self.splits[split].grey if rows is None else self.splits[split].grey[rows]
        return torch.from_numpy(grey.astype(np.float32).transpose(0, 3, 1, 2) / 127.5 - 1)


def world(scale: Scale, seed: int) -> dict[str, Split]:
    """The people of every split with their pictures; drawn anew for every seed. No two emblems or names are alike."""
    rng = np.random.default_rng([seed, 7])
    counts = {"forget": scale.forget, "retain": scale.retain, "holdout": scale.holdout}
    number = sum(counts.values())
    pairs = rng.permutation(len(FIRST_NAMES) * len(LAST_NAMES))[:number]
    names = [f"{FIRST_NAMES[p // len(LAST_NAMES)]} {LAST_NAMES[p % len(LAST_NAMES)]}" for p in pairs]
    patterns = rng.permutation(2 ** (CELLS * CELLS))[:number]
    found: dict[str, Split] = {}
    begin = 0
    for split, count in counts.items():
        # Trades and colours are dealt evenly and apart from each other, so that none gives the other away.
        trades, colours = (rng.permutation(np.arange(count)) for _ in range(2))
        people = tuple(
            Person(
                names[begin + k], TRADES[trades[k] % scale.trades], list(COLOURS)[colours[k] % len(COLOURS)],
                (patterns[begin + k] >> np.arange(CELLS * CELLS) & 1).astype(bool).reshape(CELLS, CELLS),
            )
            for k in range(count)
        )  # fmt: skip
        owner = np.repeat(np.arange(count), scale.views)
        found[split] = Split(people, owner, np.stack([draw(people[k], rng) for k in owner]))
        begin += count
    return found


def draw(person: Person, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One picture of an emblem, with a light and a noise of its own [SIDE, SIDE, 3]."""
    ground, ink = np.array([238.0, 234.0, 224.0]), np.array(COLOURS[person.colour], float)
    cells = np.kron(person.cells, np.ones((SIDE // CELLS, SIDE // CELLS)))[..., None]
    light = rng.uniform(0.85, 1.05)
    found = (cells * ink + (1 - cells) * ground) * light + rng.normal(0, 6, (SIDE, SIDE, 3))
    return np.asarray(np.clip(found, 0, 255).astype(np.uint8))
