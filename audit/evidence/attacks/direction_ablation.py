"""Does taking one direction out of the hidden states bring it back?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from audit import stats
from audit.errors import CaseError, NotIdentifiable
from audit.evidence.attacks._edit import outputs
from audit.evidence.attacks._variations import Ask, Variations
from audit.types import Access, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from audit.activations.states import States
    from audit.bench import Bench
    from audit.subjects.load import Subject

RANDOM = "random direction"
FEWEST = 3
Directions = dict[int, "NDArray[np.float64]"]
"""Block, from 1 → unit vector [width]."""


@dataclass(frozen=True)
class DirectionAblation(Variations):
    """Project a direction out of the states of some blocks at every token, and ask again.

    Two directions for each block, both differences of means at the last prompt token: from the original to the subject
    on forget prompts, and from retain to forget prompts within the subject. Each is taken out of one middle block, of
    the last half, and of all. Directions are made from the prompts of one half of the entities and taken out for the
    other half, both ways; which direction and blocks count is chosen on one half and scored on the other as well.
    Random directions, taken out of all blocks, are the control.
    """

    items: int = 60
    """Most facts of a corpus that are asked, spread evenly over its entities."""
    retain_items: int = 25
    """Most retain facts that are asked under each variation, to see what it breaks; 0 asks none."""
    controls: int = 3
    """Random directions tried beside the others; at least 3."""

    title: ClassVar[str] = "Direction ablation"
    question: ClassVar[str] = "Does taking one direction out of the hidden states bring the answers back?"
    blind_to: ClassVar[str] = (
        "Suppression that takes more than one direction, or another one for each fact. A direction found with the "
        "original's help is more than an attacker without it can find; the table shows both kinds apart."
    )
    formula: ClassVar[str] = (
        "recall with h - (h . d) d in place of h after each chosen block, d the unit vector along mean(h of subject) - "
        "mean(h of original) on forget prompts, or mean(h, forget) - mean(h, retain) in the subject, over the entities "
        "of the other half"
    )
    source: ClassVar[str] = (
        "Orthogonalisation in Lucki et al. 2024 (arXiv:2409.18025), after Arditi et al. 2024, Refusal is mediated by a "
        "single direction (arXiv:2406.11717)"
    )
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN, Access.WEIGHTS})
    cost: ClassVar[float] = 3.0
    COMPUTED: ClassVar[str] = ", directions from the other half"
    WORDS: ClassVar[str] = "With one direction taken out"
    CONTROL: ClassVar[str] = "With random directions taken out"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.controls < FEWEST:
            raise CaseError(f"controls = {self.controls}: expected at least {FEWEST} random directions.")

    def is_control(self, variation: str) -> bool:
        """Random directions are never the result."""
        return variation.startswith(RANDOM)

    def attack(self, bench: Bench, role: Role, split: Split, run: int, ask: Ask) -> None:
        """Ask without each direction."""
        states = bench.states(role, split)
        none = {block: np.zeros(states.width) for block in range(1, states.layers)}
        found = [directions(bench, role, split, first) for first in (True, False)]
        with bench.model(role) as subject:
            for words in dict.fromkeys(words for half in found for words in half):
                for half, asked in zip(found, (False, True), strict=True):
                    directed, whom = half.get(words, none), half_of(bench, split, asked)
                    for where, blocks in places(len(directed)).items():
                        with without(subject, {block: directed[block] for block in blocks}):
                            ask(f"{words}, {where}", subject, whom)
            for k in range(self.controls):
                rng = bench.rng("random direction", k)
                drawn = {block: _unit(rng.normal(size=states.width)) for block in range(1, states.layers)}
                with without(subject, {block: d for block, d in drawn.items() if d is not None}):
                    ask(f"{RANDOM} {k + 1}, all blocks", subject)


def half_of(bench: Bench, split: Split, first: bool) -> set[str]:
    """Ids of the items of one half of the entities, of a corpus and of retain.

    Raises NotIdentifiable when the corpus has one entity only.
    """
    found: set[str] = set()
    corpora: tuple[Split, ...] = (split, "retain") if bench.has("retain") else (split,)
    for name in corpora:
        corpus = bench.corpus(name)
        mine = stats.halves(corpus.entities, bench.seed) == first
        if name == split and not 0 < mine.sum() < len(mine):
            raise NotIdentifiable("A direction needs at least two entities: one to find it on, one to score.")
        found |= {corpus.items[i].id for i in np.flatnonzero(mine)}
    return found


def directions(bench: Bench, role: Role, split: Split, first: bool) -> dict[str, Directions]:
    """Each kind of direction, made from one half of the entities, for all blocks; none where two means are the same."""
    found = {}
    kinds: dict[str, tuple[Role, Split]] = {"original to subject": ("original", split)}
    if bench.has("retain"):
        kinds["retain to forget"] = (role, "retain")
    half = half_of(bench, split, first)

    def mean(states: States, block: int) -> NDArray:
        return states.at(block, "prompt_last")[[item in half for item in states.items]].mean(0)

    mine = bench.states(role, split)
    for words, (other, corpus) in kinds.items():
        theirs = bench.states(other, corpus)
        if not half & set(theirs.items):
            continue
        units = {block: _unit(mean(mine, block) - mean(theirs, block)) for block in range(1, mine.layers)}
        if any(unit is not None for unit in units.values()):
            found[words] = {b: np.zeros(mine.width) if unit is None else unit for b, unit in units.items()}
    return found


def places(blocks: int) -> dict[str, list[int]]:
    """Sets of blocks that a direction is taken out of, from 1."""
    wanted = {
        "middle block": [(blocks + 1) // 2],
        "last half": list(range(blocks // 2 + 1, blocks + 1)),
        "all blocks": list(range(1, blocks + 1)),
    }
    return {words: line for k, (words, line) in enumerate(wanted.items()) if line not in list(wanted.values())[:k]}


@contextmanager
def without(subject: Subject, directed: Mapping[int, NDArray[np.float64]]) -> Iterator[None]:
    """While open, the output of each block (from 1) has no part along its unit vector; a zero vector takes nothing."""
    import torch

    def removing(vector: NDArray[np.float64]) -> Callable[[Tensor], Tensor]:
        direction = torch.from_numpy(np.asarray(vector, np.float32))

        def change(hidden: Tensor) -> Tensor:
            d = direction.to(hidden.device)
            wide = hidden.float()
            return (wide - (wide @ d)[..., None] * d).to(hidden.dtype)

        return change

    with outputs(subject.model, {block: removing(vector) for block, vector in directed.items()}):
        yield


def _unit(vector: NDArray) -> NDArray[np.float64] | None:
    """The vector at length 1; None for one of no length."""
    length = float(np.linalg.norm(np.asarray(vector, np.float64)))
    return np.asarray(vector, np.float64) / length if length > 1e-9 else None
