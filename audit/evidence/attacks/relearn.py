"""Does training on some of the forgotten facts bring back the others?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from audit.evidence.attacks._curves import Material, chosen_items, questions, untested
from audit.evidence.attacks._facts import facts_split
from audit.evidence.attacks._relearning import Relearning
from audit.types import ANSWERING, Modality, Split

if TYPE_CHECKING:
    from audit.bench import Bench


@dataclass(frozen=True)
class Relearn(Relearning):
    """Fine-tune on some forgotten facts and ask for the others; the same attack on the reference is the null.

    The headline step is chosen on one half of the tested entities and scored on the other half, run by run.
    """

    title: ClassVar[str] = "Relearning"
    question: ClassVar[str] = "Does training on some of the forgotten facts bring back the others?"
    blind_to: ClassVar[str] = (
        "Attackers with more facts, more steps, another learning rate or the whole forgotten text; knowledge that "
        "comes back only when the very same fact is trained cannot be told from learning it anew."
    )
    formula: ClassVar[str] = (
        "recall of untrained forget facts after fine-tuning on the others; "
        "residual = (candidate attacked - reference attacked) / (original before the attack - reference attacked)"
    )
    source: ClassVar[str] = "Hu et al. 2024, Jogging the Memory of Unlearned Models; control as in Lynch et al. 2024"
    reads: ClassVar[frozenset[Modality]] = ANSWERING

    def material(self, bench: Bench, split: Split, seed: int) -> Material:
        """Some of the corpus's facts, with retain text mixed in; the others are tested."""
        items = bench.corpus(split).items
        facts = facts_split(items, seed, bench.seed)
        tested = chosen_items(bench, split, facts.tested, self.items)
        taught = [items[i] for i in np.flatnonzero(facts.trained)]
        kept = untested(bench, questions(bench, self.retain_items), [items[i] for i in np.flatnonzero(tested)])
        return Material(taught, kept, tested, facts.by)
