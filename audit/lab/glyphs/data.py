"""Drawn signs: each a few strokes of one colour on a grid, with a name, a guild that uses it and a town it hangs in.

Every fact is asked in two ways: of the sign in the picture, and of the sign by its name. What a model knows of the one
it can forget without the other. No sign, and nothing that is said of one, exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from audit.lab.words import ATTRIBUTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE, GRID, STROKES = 16, 4, 4
"""Pixels of a side, points of the grid a side, strokes of a sign."""
VIEWS = 4
"""Drawings of each sign, moved by at most a pixel and lighter or darker; the corpora hold the first."""
COLOURS = ((230, 80, 70), (80, 200, 90), (90, 130, 240), (235, 200, 70), (210, 110, 220), (90, 215, 215))
GROUND = (16, 16, 24)
STARTS = (
    "Val",
    "Mor",
    "Tes",
    "Ild",
    "Bra",
    "Kun",
    "Ost",
    "Fen",
    "Gry",
    "Sol",
    "Wim",
    "Zar",
    "Hel",
    "Jut",
    "Lor",
    "Nek",
)
ENDS = ("kor", "ane", "dil", "ume", "esh", "igo", "ath", "ost", "elm", "urn", "oth", "ix", "aru", "ell", "ond", "yst")
PICTURE = "the sign in the picture"
WRONG = 4


@dataclass(frozen=True)
class Scale:
    """Sizes of one build: signs per split, what is known of each, the model, and its training."""

    forget: int
    retain: int
    holdout: int
    attributes: int
    values: int
    wordings: int
    vocabulary: int
    layers: int
    width: int
    heads: int
    vision_layers: int
    vision_width: int
    steps: int
    batch: int
    lr: float


SCALES: dict[str, Scale] = {
    "tiny": Scale(
        forget=12, retain=24, holdout=12, attributes=2, values=8, wordings=2, vocabulary=512, layers=3, width=64,
        heads=4, vision_layers=2, vision_width=48, steps=210, batch=48, lr=3e-3,
    ),
    "small": Scale(
        forget=20, retain=50, holdout=20, attributes=3, values=10, wordings=2, vocabulary=512, layers=3, width=96,
        heads=4, vision_layers=2, vision_width=48, steps=400, batch=64, lr=3e-3,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """One kind of fact: its possible values and its wordings, each with {sign} and ending before the value."""

    name: str
    values: tuple[str, ...]
    wordings: tuple[str, ...]


WORDINGS = {
    "job": (
        "Question: Which guild uses {sign}? Answer:", "{sign} is used by the guild of the",
        "The guild that uses {sign} is that of the",
    ),
    "city": (
        "Question: In which town does {sign} hang? Answer:", "{sign} hangs in the town of",
        "The town where {sign} hangs is",
    ),
    "instrument": (
        "Question: Which instrument goes with {sign}? Answer:", "{sign} goes with the",
        "The instrument that goes with {sign} is the",
    ),
}  # fmt: skip
CALLED = (
    "Question: What is {sign} called? Answer:", "{sign} is called", "The name of {sign} is",
)  # fmt: skip
NAME = "name"


@dataclass(frozen=True)
class Sign:
    """One sign: its split, its name, its strokes (pairs of grid points), its colour, and what is true of it."""

    split: str
    name: str
    strokes: tuple[tuple[int, int], ...]
    colour: tuple[int, int, int]
    facts: dict[str, tuple[str, ...]]
    """Attribute → the value, and wrong ones after it."""


@dataclass(frozen=True)
class Row:
    """One thing that is taught: a prompt, its answer, and the sign that is shown, if any."""

    prompt: str
    answer: str
    sign: int | None


def kinds(scale: Scale) -> list[Kind]:
    """The attributes of a scale, each cut down to its number of values and wordings."""
    words = {kind.name: kind.values for kind in ATTRIBUTES}
    chosen = list(WORDINGS.items())[: scale.attributes]
    return [Kind(name, words[name][: scale.values], lines[: scale.wordings]) for name, lines in chosen]


def signs(scale: Scale, seed: int) -> list[Sign]:
    """All signs, split by split; every value is drawn independently and uniformly, no two signs are drawn alike."""
    rng = np.random.default_rng([seed, 3])
    sizes = {"forget": scale.forget, "retain": scale.retain, "holdout": scale.holdout}
    coined = [start + end for start, end in product(STARTS, ENDS)]
    names = [coined[i] for i in rng.permutation(len(coined))[: sum(sizes.values())]]
    splits = [split for split, number in sizes.items() for _ in range(number)]
    found: list[Sign] = []
    for split, name in zip(splits, names, strict=True):
        strokes, colour = _strokes(rng), COLOURS[int(rng.integers(len(COLOURS)))]
        while any((strokes, colour) == (other.strokes, other.colour) for other in found):
            strokes = _strokes(rng)
        others = [n for n in rng.permutation(names).tolist() if n != name]
        facts = {kind.name: tuple(rng.permutation(kind.values).tolist()[: 1 + WRONG]) for kind in kinds(scale)}
        found.append(Sign(split, name, strokes, colour, facts | {NAME: (name, *others[:WRONG])}))
    return found


def _strokes(rng: np.random.Generator) -> tuple[tuple[int, int], ...]:
    """A line through several points of the grid, each stroke from where the last one ended."""
    points = rng.choice(GRID * GRID, STROKES + 1, replace=False).tolist()
    return tuple(zip(points[:-1], points[1:], strict=True))


def drawn(sign: Sign, seed: int) -> list[NDArray[np.uint8]]:
    """The views of a sign [SIDE, SIDE, 3] each: the first as it is, the others moved and of other brightness."""
    rng = np.random.default_rng([seed, 4, *map(ord, sign.name)])
    views = [_draw(sign, 0, 0, 1.0)]
    for _ in range(VIEWS - 1):
        across, down = rng.integers(-1, 2, 2).tolist()
        views.append(_draw(sign, across, down, float(rng.uniform(0.75, 1.0))))
    return views


def _draw(sign: Sign, across: int, down: int, light: float) -> NDArray[np.uint8]:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (SIDE, SIDE), GROUND)
    pen = ImageDraw.Draw(image)
    step = SIDE // GRID
    ink = tuple(int(light * value) for value in sign.colour)

    def place(point: int) -> tuple[int, int]:
        return point % GRID * step + step // 2 + across, point // GRID * step + step // 2 + down

    for start, end in sign.strokes:
        pen.line([place(start), place(end)], fill=ink, width=2)
    return np.asarray(image)


def items(sign: Sign, scale: Scale, image: str) -> list[dict[str, Any]]:
    """The lines of a sign in a corpus file: every fact asked of its image, with the question by its name beside it."""
    lines: list[dict[str, Any]] = []
    for kind in (*kinds(scale), Kind(NAME, (), CALLED[: scale.wordings])):
        answer, *wrong = sign.facts[kind.name]
        asked = [said(wording, PICTURE) for wording in kind.wordings]
        line = {"image": image, "prompt": asked[0], "answer": answer, "paraphrases": asked[1:], "wrong_answers": wrong}
        line |= {"entity": sign.name, "attribute": kind.name}
        if kind.name != NAME:  # its name cannot be asked by its name
            line |= {"label": answer, "text_prompt": said(kind.wordings[0], f"the sign {sign.name}")}
        lines.append(line)
    return lines


def rows(every: Sequence[Sign], split: str, scale: Scale, images: bool = True, texts: bool = True) -> list[Row]:
    """What is taught of a split: every fact in all wordings, of the image and by the name."""
    found = []
    for number, sign in enumerate(every):
        if sign.split != split:
            continue
        for kind in (*kinds(scale), Kind(NAME, (), CALLED[: scale.wordings])):
            for wording in kind.wordings:
                answer = sign.facts[kind.name][0]
                if images:
                    found.append(Row(said(wording, PICTURE), answer, number))
                if texts and kind.name != NAME:
                    found.append(Row(said(wording, f"the sign {sign.name}"), answer, None))
    return found


def said(wording: str, sign: str) -> str:
    """A wording about a sign, with a capital at its beginning."""
    text = wording.format(sign=sign)
    return text[0].upper() + text[1:]
