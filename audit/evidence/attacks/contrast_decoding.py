"""Does holding the model against one that was misled bring it back?"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from audit.errors import CaseError, NotApplicable, suggest
from audit.evidence.attacks._contrast import contrasted, other_model
from audit.evidence.attacks._curves import untested
from audit.evidence.attacks._facts import facts_split
from audit.evidence.attacks._finetune import METHODS, Recipe, finetune
from audit.evidence.attacks._variations import Ask, Variations
from audit.types import Access, Item, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

FEWEST = 3


@dataclass(frozen=True)
class ContrastDecoding(Variations):
    """Decode with the subject's log-probabilities pushed away from those of an amateur that was misled.

    The amateur is a copy of the subject trained to give wrong answers to some of the forgotten facts; only the other
    facts are tested, and no true answer is trained on: an amateur trained on the tested facts seems to bring most of
    them back even from a model that never saw them, which is a leak. The strength is chosen on one half of the entities
    and scored on the other.
    """

    strengths: tuple[float, ...] = (0.5, 2.0)
    """Weights of the contrast."""
    floor: float = 0.01
    """Tokens less likely than this share of the best one are never chosen."""
    steps: int = 10
    """Training steps of the amateur."""
    batch: int = 16
    """Sequences in a batch, half of them retain text where there is any."""
    lr: float = 0.0
    """Learning rate; 0 chooses it by the model's size."""
    method: str = "auto"
    """`full`, `lora`, or `auto`: every weight up to 3 billion parameters, adapters above."""
    seeds: int = 3
    """Amateurs, each misled about other facts; at least 3."""
    items: int = 60
    """Most facts of a corpus that are asked, spread evenly over its entities."""
    retain_items: int = 20
    """Most retain facts that are asked under each variation, to see what it breaks; 0 asks none."""

    title: ClassVar[str] = "Contrast decoding"
    question: ClassVar[str] = "Do answers come back when the model is decoded against a misled copy of itself?"
    blind_to: ClassVar[str] = (
        "Amateurs of other kinds, and answers that the subject itself finds very unlikely: the contrast only chooses "
        "among tokens above the floor."
    )
    formula: ClassVar[str] = (
        "recall of greedy answers that maximise log p + strength (log p - log p_amateur) among tokens with p >= floor "
        "max p; residual = (candidate contrasted - reference contrasted) / (original as it is - reference contrasted)"
    )
    source: ClassVar[str] = (
        "Contrastive decoding: Li et al. 2023 (arXiv:2210.15097); amateurs trained to err: Chen et al. 2024, Lower "
        "Layer Matters (arXiv:2408.08769)"
    )
    needs: ClassVar[frozenset[Access]] = frozenset({Access.WEIGHTS})
    cost: ClassVar[float] = 5.0
    COMPUTED: ClassVar[str] = ", no sentence that tells a tested fact among the retain text"
    WORDS: ClassVar[str] = "Held against misled copies of itself"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method not in METHODS:
            raise CaseError(f'Unknown training method "{self.method}".{suggest(self.method, METHODS)}')
        if self.seeds < FEWEST:
            raise CaseError(f"seeds = {self.seeds}: an attack needs at least {FEWEST} runs to show its spread.")
        if self.steps < 1 or self.batch < 1 or not self.strengths or not 0 < self.floor <= 1:
            raise CaseError("steps, batch and strengths must be at least 1, and floor above 0 and at most 1.")

    @property
    def runs(self) -> int:  # type: ignore[override]
        """One run for each amateur."""
        return self.seeds

    def tests(self, bench: Bench, split: Split, run: int) -> NDArray[np.bool_]:
        """The facts that the amateur of a run was not misled about."""
        return facts_split(bench.corpus(split).items, run, bench.seed).tested

    def attack(self, bench: Bench, role: Role, split: Split, run: int, ask: Ask) -> None:
        """Train an amateur and ask against it with every strength."""
        items = bench.corpus(split).items
        facts = facts_split(items, run, bench.seed)
        wrong = misled([items[i] for i in np.flatnonzero(facts.trained)], bench.rng("misled", split, run))
        limit = self.retain_items if bench.has("retain") else 0
        asked = [bench.corpus("retain").items[i] for i in bench.subset("retain", limit)] if limit else []
        kept = untested(bench, asked, [items[i] for i in np.flatnonzero(facts.tested)])
        recipe = Recipe(self.steps, self.batch, self.lr, self.method, 0.5)
        with bench.private_model(role) as amateur, bench.model(role) as subject:

            def look(step: int, trained: object) -> None:
                message = f"misleading a copy of the {role} ({split}), step {step} of {self.steps}"
                bench.progress(run / self.runs / 2, message)

            seed = bench.torch_seed("contrast", split, run)
            finetune(amateur, wrong, kept, bench.case.template, recipe, seed, look)
            for strength in self.strengths:
                with contrasted(subject, other_model(amateur), strength, self.floor):
                    ask(f"strength {strength:g}", subject)


def misled(items: Sequence[Item], rng: np.random.Generator) -> list[Item]:
    """The items with wrong answers: one of their own, else another item's of the same attribute.

    Raises NotApplicable when there is no wrong answer to be had.
    """
    found = []
    for item in items:
        truth = item.answer.casefold().strip()
        pool = item.wrong_answers or tuple(sorted({o.answer for o in items if o.attribute == item.attribute}))
        wrong = [answer for answer in pool if answer.casefold().strip() != truth]
        if wrong:
            found.append(dataclasses.replace(item, answer=wrong[int(rng.integers(len(wrong)))]))
    if not found:
        raise NotApplicable("No wrong answer can be had for the facts to mislead about: all have the same answer.")
    return found
