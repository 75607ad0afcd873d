"""The base's logits less those of a second model: ULD's assistant, or the reinforced one of Who's Harry Potter."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

from audit.errors import suggest
from audit.subjects.systems.combined import Combined
from audit.subjects.systems.system import OUTPUTS, System
from audit.types import Access

if TYPE_CHECKING:
    from torch import Tensor

    from audit.subjects.load import Subject

FORMULAS = ("difference", "reinforced")


@dataclass(frozen=True)
class LogitCombination(System):
    """Base, assistant, formula, weight and filter together are the subject: another weight is another model."""

    assistant: str = ""
    """The second model, path or hub id: ULD's assistant, or a model reinforced on what is to be forgotten."""
    formula: str = "difference"
    """`difference`: base + weight * assistant (ULD); `reinforced`: base - weight * max(0, assistant - base) (WHP)."""
    weight: float = -1.0
    """ULD trains with -1 and its scripts evaluate with -0.8; WHP's alpha is 0 or more."""
    filter: float = 0.0
    """ULD's filter, 0 (off) to 1: less likely tokens keep the base's logits (0.1 in training, 0.01 in scripts)."""

    title: ClassVar[str] = "a combination of logits"
    does: ClassVar[str] = "At every token the logits of a second model are subtracted from those of the base."
    papers: ClassVar[str] = "ULD (Ji et al. 2024), Who's Harry Potter (Eldan and Russinovich 2023)"
    access: ClassVar[frozenset[Access]] = OUTPUTS
    models: ClassVar[tuple[str, ...]] = ("assistant",)

    def fault(self) -> str:
        """No assistant, an unknown formula, or a weight or filter that the formula has not."""
        if not self.assistant:
            return 'without an assistant; give the path of the second model as "assistant".'
        if self.formula not in FORMULAS:
            return f'with the unknown formula "{self.formula}".{suggest(self.formula, FORMULAS)}'
        if not 0 <= self.filter <= 1:
            return f"with the filter {self.filter:g}; it is a share of the most likely token, from 0 (off) to 1."
        if self.formula == "reinforced" and (self.weight < 0 or self.filter):
            return (
                f'with the formula "reinforced", weight {self.weight:g} and filter {self.filter:g}; its weight (alpha) '
                "is 0 or more, and it has no filter."
            )
        return ""

    def put_on(self, base: Subject, parts: dict[str, Subject]) -> Subject:
        """Both models behind one door."""
        both: Any = Combined([base.model, parts["assistant"].model], self.combine)
        return dataclasses.replace(base, model=cast("Any", both))

    def combine(self, logits: Sequence[Tensor]) -> Tensor:
        """Logits of base and assistant [..., vocabulary] → the system's."""
        import torch

        base, second = logits
        if self.formula == "reinforced":
            return base - self.weight * torch.relu(second - base)
        if self.filter:
            second = second.masked_fill(below(base, self.filter), 0.0)
        return base + self.weight * second


def below(logits: Tensor, share: float) -> Tensor:
    """Which tokens ULD's filter leaves to the base [..., vocabulary], as its released code has it.

    A token stays when its probability is at least `share` of the most likely one's; int(share * vocabulary) tokens stay
    in any case, and where that is 0 the code's index -1 lets the filter do nothing.
    """
    import torch

    every = logits.log_softmax(-1)
    least = every.sort(dim=-1, descending=True).values[..., int(share * logits.shape[-1]) - 1]
    limit = torch.minimum(least, every.amax(-1) + math.log(share))
    return every < limit[..., None]
